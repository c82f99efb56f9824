// ckpt/tensor/tensor.hpp: a tensor of a checkpoint.
//
// SPDX-License-Identifier: MIT
// In:      a geometry that was checked against its storage, and the storages of the file.
// Out:     dtype, shape, strides; bytes, typed views, copies, a digest; the parts of one that is no single array.
// Refuses: a view that would show wrong numbers; the hint says what works instead.
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/core/digest.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/tensor/convert.hpp>
#include <ckpt/tensor/dtype.hpp>
#include <ckpt/tensor/geometry.hpp>
#include <ckpt/tensor/half.hpp>
#include <ckpt/tensor/parts.hpp>
#include <ckpt/tensor/storage.hpp>
#include <ckpt/tensor/strided.hpp>
#include <ckpt/tensor/view.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {

/// What is common to every access to elements.
[[nodiscard]] result<void> check_access(const tensor_data* data, const storage_source* source);

[[nodiscard]] error not_contiguous();

[[nodiscard]] error lazy_bit_error(const tensor_data& data);

[[nodiscard]] error packed_error(ckpt::dtype type);

[[nodiscard]] error rank_error(const tensor_data& data, std::size_t rank);

/// A storage as a copy sees it: all its bytes, or, where they are not in memory, a way to read them.
struct storage_access {
    const storage_source* source{};
    std::uint32_t storage{};
    const std::byte* memory{};        ///< null: by reads
    std::vector<std::byte> staging{}; ///< of reads; or what `memory` points to

    [[nodiscard]] result<void> gather_part(const box& part, std::size_t size, std::byte* out);
    [[nodiscard]] result<void> copy(std::uint64_t offset, std::span<std::byte> out) const;
};

/// Opens the storage of a tensor with elements. That its geometry fits was checked when it was made, and is again here.
/// `inflate`: for one copy of it; a compressed storage is then inflated once, into memory of the access.
[[nodiscard]] result<storage_access> open_storage(const tensor_data& data, const storage_source& source,
                                                  bool inflate = false);

/// Bytes that are in memory at once while elements are converted or summed, beside the staging of reads.
inline constexpr std::uint64_t part_bytes = std::uint64_t{1} << 17;

/// Calls `f(values, first, count)` with the values of a packed type of less than 8 bits, one in a byte, in parts of at
/// most `most`. The tensor is contiguous.
template <class F>
[[nodiscard]] inline result<void> unpack_parts(const tensor_data& data, storage_access& access, std::uint64_t most,
                                               F&& f) {
    const std::size_t width = bits(data.type);
    const std::uint64_t per_byte = 8 / width;
    std::vector<std::byte> buffer(static_cast<std::size_t>(bytes_of(data.type, most) + 1));
    std::vector<std::byte> values(static_cast<std::size_t>(most));
    for (std::uint64_t done = 0; done < data.numel;) {
        const std::uint64_t first = data.storage_offset + done;
        const std::uint64_t skip = first % per_byte;
        const std::uint64_t n = data.numel - done < most ? data.numel - done : most;
        auto read =
            access.copy(first / per_byte, {buffer.data(), static_cast<std::size_t>(bytes_of(data.type, skip + n))});
        if (!read) return read;
        unpack(width, buffer.data(), skip, n, values.data());
        f(static_cast<const std::byte*>(values.data()), done, n);
        done += n;
    }
    return {};
}

/// The values of a packed type with less than 8 bits, one in a byte.
[[nodiscard]] result<void> copy_unpacked(const tensor_data& data, storage_access& access, std::byte* out);

/// Whether the elements are copied as they are: `to` is their type, or what it is stored as. `exact`: no conversions.
[[nodiscard]] constexpr bool is_plain_copy(ckpt::dtype type, ckpt::dtype to, bool exact) noexcept {
    return type == to || (stored_integer(type) == to && !(type == ckpt::dtype::bool_ && !exact));
}

/// What a copy of all elements as type `to` asks of a tensor; nothing is read.
[[nodiscard]] result<void> check_copy(const tensor_data* handle, const storage_source* source, ckpt::dtype to,
                                      bool exact);

/// Copies all elements to `out` as type `to`, in row-major order and native byte order. `exact`: no conversions.
[[nodiscard]] result<void> copy_tensor(const tensor_data* handle, const storage_source* source, ckpt::dtype to,
                                       bool exact, std::byte* out, std::uint64_t room);

/// Whether reading all values is in proportion to what is stored: an expanded tensor may claim any shape.
[[nodiscard]] result<void> check_output(const tensor_data& data, const storage_source& source);

/// CRC-32 of the values, each little-endian, in row-major order; of the stored bytes where several values share one.
[[nodiscard]] result<std::uint32_t> digest_tensor(const tensor_data* handle, const storage_source* source);

/// Why there is no pointer to the elements: the file is read, or the tensor is the result of a gather.
[[nodiscard]] error not_in_memory(const tensor_data& data, const storage_source& source);

/// The first element of a tensor in memory, for a view of `as` and `rank`; null where there are no elements.
[[nodiscard]] result<const std::byte*> view_address(const tensor_data* handle, const storage_source* source,
                                                    ckpt::dtype as, std::size_t rank);

/// The one place that makes a typed pointer of bytes: null where they are not aligned.
template <class T> [[nodiscard]] inline const T* typed_pointer(const std::byte* at) noexcept {
    if (reinterpret_cast<std::uintptr_t>(at) % alignof(T) != 0) return nullptr;
    return reinterpret_cast<const T*>(at);
}

[[nodiscard]] error misaligned_error(ckpt::dtype type, std::size_t alignment);

struct tensor_access;

} // namespace detail

class part_range;
struct quantizer;

/// A tensor of a checkpoint. A borrowed handle, cheap to copy: the checkpoint or state_dict must live on.
/// Nothing of its values is read before they are asked for. An empty handle answers with zeros and errors.
class tensor {
  public:
    tensor() noexcept = default;

    [[nodiscard]] explicit operator bool() const noexcept { return data_ != nullptr; }

    [[nodiscard]] ckpt::dtype dtype() const noexcept { return data_ != nullptr ? data_->type : ckpt::dtype{}; }
    [[nodiscard]] ckpt::layout layout() const noexcept { return data_ != nullptr ? data_->kind : ckpt::layout{}; }
    [[nodiscard]] std::span<const std::int64_t> shape() const noexcept {
        return data_ != nullptr ? data_->sizes() : std::span<const std::int64_t>{};
    }
    /// In elements.
    [[nodiscard]] std::span<const std::int64_t> strides() const noexcept {
        return data_ != nullptr ? data_->steps() : std::span<const std::int64_t>{};
    }
    [[nodiscard]] std::size_t rank() const noexcept { return data_ != nullptr ? data_->rank : 0; }
    /// Elements of the shape; of a nested or jagged tensor, those that are stored.
    [[nodiscard]] std::uint64_t numel() const noexcept { return data_ != nullptr ? data_->numel : 0; }
    /// Bytes of the elements, each counted once for every place that it has in the shape; of a tensor that consists of
    /// parts, those of its parts.
    [[nodiscard]] std::uint64_t nbytes() const noexcept { return data_ != nullptr ? detail::bytes_of(*data_) : 0; }
    /// In elements.
    [[nodiscard]] std::uint64_t storage_offset() const noexcept { return data_ != nullptr ? data_->storage_offset : 0; }
    [[nodiscard]] bool requires_grad() const noexcept { return data_ != nullptr && data_->requires_grad; }
    /// Whether the values are the stored ones negated; copies resolve it.
    [[nodiscard]] bool is_neg() const noexcept { return data_ != nullptr && data_->neg; }
    /// Whether the values are the stored ones conjugated; copies resolve it.
    [[nodiscard]] bool is_conj() const noexcept { return data_ != nullptr && data_->conj; }
    [[nodiscard]] bool is_contiguous() const noexcept { return data_ != nullptr && detail::is_contiguous(*data_); }

    /// Equal for tensors of one file that share their bytes (tied weights, views).
    [[nodiscard]] std::uint32_t storage_id() const noexcept { return data_ != nullptr ? data_->storage : 0; }
    /// The storage's key in the archive ("0", "1", or an old file's address); empty where it has none.
    [[nodiscard]] std::string_view storage_key() const noexcept {
        return has_storage() ? source_->key(data_->storage) : std::string_view{};
    }
    [[nodiscard]] std::uint64_t storage_nbytes() const noexcept {
        return has_storage() ? source_->nbytes(data_->storage) : 0;
    }
    /// Whether the values are gathered from other tensors when they are copied: there are no bytes to view.
    [[nodiscard]] bool is_gathered() const noexcept { return has_storage() && source_->is_gathered(data_->storage); }
    /// The file that holds the storage, by its name in the folder; empty where the checkpoint is one file. Of a tensor
    /// that consists of parts, or is gathered from several files, the one with its first elements.
    [[nodiscard]] std::string_view file() const noexcept;
    /// Where the first element lies in the file, after the header of its record was validated.
    [[nodiscard]] result<std::uint64_t> file_offset() const;

    /// What a tensor consists of that is no single array, by name. Sparse: `indices` or `crow_indices`, `col_indices`
    /// (`ccol_indices`, `row_indices`), and `values`. Nested: `buffer`, `sizes`, `strides`, `offsets`. Jagged:
    /// `values`, `offsets`, `lengths`, `min_seqlen`, `max_seqlen`, those that there are. Wrapper: the tensors among its
    /// attributes. Quantised per channel: `scales` and `zero_points`. Empty for others. Parts may have parts of their
    /// own.
    [[nodiscard]] part_range parts() const noexcept;
    /// The part of this name; of a part of a part, the names joined by dots. Fails with `key_missing`.
    [[nodiscard]] result<tensor> part(std::string_view name) const;
    /// How the integers of a quantised tensor stand for numbers; nothing for others.
    [[nodiscard]] std::optional<ckpt::quantizer> quantizer() const;
    /// The dotted name of a tensor subclass ("torch.distributed.tensor.DTensor"); empty for plain tensors.
    [[nodiscard]] std::string_view class_name() const noexcept {
        return data_ != nullptr && data_->extra != nullptr ? data_->extra->class_name : std::string_view{};
    }
    /// How a distributed tensor is laid out over its processes ("Shard(0), Replicate() on cpu mesh [2, 2]"), or where a
    /// shard lies in the whole ("offsets [0, 4]"); for people. Empty for others.
    [[nodiscard]] std::string_view placement() const noexcept {
        return data_ != nullptr && data_->extra != nullptr ? data_->extra->placement : std::string_view{};
    }

    /// Why the tensor could not be built; null where it was. Every access to the values returns this error.
    [[nodiscard]] const ckpt::error* refusal() const noexcept { return data_ != nullptr ? data_->refusal : nullptr; }

    /// The bytes of the elements as stored, in the file's byte order.
    /// Fails with `needs_copy` where they do not lie one after another, `lazy_bit` where they are not the values,
    /// and `not_mapped` where they are not in memory.
    [[nodiscard]] result<std::span<const std::byte>> bytes() const;

    /// A view of the elements, without a copy. `T` is the tensor's own type, or the integer that a bool, quantised
    /// or opaque element is stored as. Fails where the view would show wrong numbers; the hint says what works instead.
    template <class T, std::size_t Rank> [[nodiscard]] result<tensor_view<T, Rank>> view() const {
        tensor_view<T, Rank> out{};
        auto address = detail::view_address(data_, source_, dtype_of<T>::value, Rank);
        if (!address) return std::move(address).error();
        out.data = detail::typed_pointer<T>(*address);
        if (out.data == nullptr && *address != nullptr) return detail::misaligned_error(data_->type, alignof(T));
        for (std::size_t i = 0; i != Rank; ++i) {
            out.shape[i] = data_->shape[i];
            out.strides[i] = data_->strides[i];
        }
        return out;
    }

    /// Copies the values in row-major order; `out` has `numel()` elements of the tensor's own type (or the integer it
    /// is stored as; bools come out as 0 and 1). Strides, byte order, neg and conj bits are resolved.
    template <element T> [[nodiscard]] result<void> copy_to(std::span<T> out) const {
        return detail::copy_tensor(data_, source_, dtype_of<T>::value, true, writable(out), out.size());
    }
    template <element T, std::size_t N>
        requires(N != std::dynamic_extent)
    [[nodiscard]] result<void> copy_to(std::span<T, N> out) const {
        return copy_to(std::span<T>{out});
    }

    /// The same, converting as PyTorch's `.to()` does. Fails with `conversion` where an integer does not fit, and for
    /// floating to integer, complex to real, real to complex. `out` then holds anything.
    template <element T> [[nodiscard]] result<void> copy_as(std::span<T> out) const {
        return detail::copy_tensor(data_, source_, dtype_of<T>::value, false, writable(out), out.size());
    }
    template <element T, std::size_t N>
        requires(N != std::dynamic_extent)
    [[nodiscard]] result<void> copy_as(std::span<T, N> out) const {
        return copy_as(std::span<T>{out});
    }

    /// CRC-32 of the values, little-endian, in row-major order. Needs a bounded buffer at most.
    /// Fails with `output_limit` for more than 16 times the storage's bytes: an expanded tensor may claim any shape.
    [[nodiscard]] result<std::uint32_t> crc32() const { return detail::digest_tensor(data_, source_); }

  private:
    friend struct detail::tensor_access;
    tensor(const detail::tensor_data* data, const detail::storage_source* source) noexcept
        : data_{data}, source_{source} {}

    [[nodiscard]] bool has_storage() const noexcept;
    template <class T> [[nodiscard]] static std::byte* writable(std::span<T> out) noexcept {
        static_assert(sizeof(T) * 8 == ckpt::bits(dtype_of<T>::value));
        return reinterpret_cast<std::byte*>(out.data());
    }

    const detail::tensor_data* data_{nullptr};
    const detail::storage_source* source_{nullptr};
};

/// One part of a tensor.
struct named_part {
    std::string_view name{};
    ckpt::tensor tensor{};
};

/// The parts of a tensor, in their order. Borrows what the tensor borrows.
class part_range {
  public:
    class iterator {
      public:
        using value_type = named_part;
        using difference_type = std::ptrdiff_t;
        iterator() noexcept = default;
        iterator(const detail::named_data* at, const detail::storage_source* source) noexcept
            : at_{at}, source_{source} {}
        [[nodiscard]] named_part operator*() const noexcept;
        iterator& operator++() noexcept { return ++at_, *this; }
        iterator operator++(int) noexcept { return {at_++, source_}; }
        [[nodiscard]] bool operator==(const iterator& other) const noexcept { return at_ == other.at_; }

      private:
        const detail::named_data* at_{nullptr};
        const detail::storage_source* source_{nullptr};
    };

    part_range() noexcept = default;
    part_range(std::span<const detail::named_data> parts, const detail::storage_source* source) noexcept
        : parts_{parts}, source_{source} {}
    [[nodiscard]] iterator begin() const noexcept { return {parts_.data(), source_}; }
    [[nodiscard]] iterator end() const noexcept { return {parts_.data() + parts_.size(), source_}; }
    [[nodiscard]] std::size_t size() const noexcept { return parts_.size(); }
    [[nodiscard]] bool empty() const noexcept { return parts_.empty(); }

  private:
    std::span<const detail::named_data> parts_{};
    const detail::storage_source* source_{nullptr};
};

/// What quantised integers stand for. Borrows what the tensor borrows.
struct quantizer {
    qscheme scheme{};
    double scale{1};           ///< per tensor
    std::int64_t zero_point{}; ///< per tensor
    std::size_t axis{};        ///< per channel: the dimension that has a scale for each index
    tensor scales{};           ///< per channel: [shape[axis]]; empty otherwise
    tensor zero_points{};      ///< likewise
};

namespace detail {

/// How the rest of the library makes tensors and looks into them.
struct tensor_access {
    [[nodiscard]] static tensor make(const tensor_data* data, const storage_source* source) noexcept {
        return {data, source};
    }
    [[nodiscard]] static const tensor_data* data(const tensor& t) noexcept { return t.data_; }
    [[nodiscard]] static const storage_source* source(const tensor& t) noexcept { return t.source_; }
};

} // namespace detail

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/tensor/impl/tensor.ipp>
#endif
