// ckpt/tensor/tensor.hpp: a tensor of a checkpoint.
//
// SPDX-License-Identifier: MIT
// In:      a geometry that was checked against its storage, and the storages of the file.
// Out:     dtype, shape, strides; bytes, typed views, copies, a digest; the parts of a tensor that is not one array.
// Refuses: views that would show wrong numbers; the hint names a call that works.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/tensor/dtype.hpp>
#include <ckpt/tensor/half.hpp>
#include <ckpt/tensor/layout.hpp>
#include <ckpt/tensor/view.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {

struct tensor_data;    // tensor/geometry.hpp
struct named_data;     // tensor/parts.hpp
class storage_readers; // tensor/access.hpp
class storage_source;  // tensor/storage.hpp
struct tensor_access;

/// The members of a view: its first element (null without elements), and a size and a stride for each dimension.
struct view_parts {
    const std::byte* address{nullptr};
    const std::int64_t* shape{nullptr};
    const std::int64_t* strides{nullptr};
};

/// The members of a view as type `as` with `rank` dimensions, whose elements are aligned to `alignment` bytes.
[[nodiscard]] result<view_parts> view_of(const tensor_data* handle, const storage_source* source, ckpt::dtype as,
                                         std::size_t rank, std::size_t alignment);

/// Copies all elements to `out` as type `to`, in row-major order and native byte order. `exact`: no conversions.
/// `readers`: for copies of several tensors, which go on in the compressed storages that they share.
[[nodiscard]] result<void> copy_tensor(const tensor_data* handle, const storage_source* source, ckpt::dtype to,
                                       bool exact, std::byte* out, std::uint64_t room,
                                       storage_readers* readers = nullptr);

/// The same for a destination that is given as bytes.
[[nodiscard]] result<void> copy_values(const tensor_data* handle, const storage_source* source, ckpt::dtype to,
                                       bool exact, std::span<std::byte> out);

/// The first element of a tensor of any rank whose elements lie one after another.
[[nodiscard]] result<const std::byte*> flat_view_of(const tensor_data* handle, const storage_source* source,
                                                    ckpt::dtype as, std::size_t alignment);

/// Copies some of the rows, converted to type `to`.
[[nodiscard]] result<void> copy_rows(const tensor_data* handle, const storage_source* source, std::uint64_t first,
                                     std::uint64_t count, ckpt::dtype to, std::span<std::byte> out);

/// Takes the rows from `first` on, whose values are at `values`, `n` of them.
using row_visitor = result<void> (*)(void* context, std::uint64_t first, const std::byte* values, std::size_t n);

struct row_block; // tensor/access.hpp

/// Calls `visit` for all rows, at most `rows` at once, with their values as type `to` in a buffer that is reused: in
/// `block`, where there is one. `readers`: as of `copy_tensor`.
[[nodiscard]] result<void> visit_rows(const tensor_data* handle, const storage_source* source, ckpt::dtype to,
                                      std::uint64_t rows, row_visitor visit, void* context, row_block* block = nullptr,
                                      storage_readers* readers = nullptr);

/// CRC-32 of the values, each little-endian, in row-major order; of the stored bytes where several values share one.
/// `readers`: as of `copy_tensor`.
[[nodiscard]] result<std::uint32_t> digest_tensor(const tensor_data* handle, const storage_source* source,
                                                  storage_readers* readers = nullptr);

/// The only cast from bytes to a typed pointer; null where the bytes are not aligned.
template <class T> [[nodiscard]] const T* typed_pointer(const std::byte* at) noexcept {
    if (reinterpret_cast<std::uintptr_t>(at) % alignof(T) != 0) return nullptr;
    return reinterpret_cast<const T*>(at);
}

template <class R> using range_element = std::remove_pointer_t<decltype(std::declval<R&>().data())>;

/// What can be filled with elements: `data()` and `size()` of a std::span, std::vector, std::array or another class
/// give memory that can be written.
template <class R>
concept element_range = element<range_element<R>> && requires(R& r) { static_cast<std::size_t>(r.size()); };

template <element_range R> [[nodiscard]] std::span<std::byte> bytes_of_range(R& r) noexcept {
    static_assert(sizeof(range_element<R>) * 8 == bits(dtype_of<range_element<R>>::value));
    return {reinterpret_cast<std::byte*>(r.data()), static_cast<std::size_t>(r.size()) * sizeof(range_element<R>)};
}

} // namespace detail

class part_range;
struct quantizer;

/// A tensor of a checkpoint. A borrowed handle, cheap to copy: it is valid as long as the checkpoint or state_dict that
/// it came from. Values are read by the calls that return them, not before. An empty handle has the shape [], no
/// elements, and fails every access with `no_data`.
class tensor {
  public:
    tensor() noexcept = default;

    [[nodiscard]] explicit operator bool() const noexcept { return data_ != nullptr; }

    /// The type of the elements.
    [[nodiscard]] ckpt::dtype dtype() const noexcept;
    [[nodiscard]] ckpt::layout layout() const noexcept;
    /// The sizes, one for each dimension; valid as long as the checkpoint, as are the strides.
    [[nodiscard]] std::span<const std::int64_t> shape() const noexcept;
    /// The distances between neighbours in each dimension, in elements; never negative.
    [[nodiscard]] std::span<const std::int64_t> strides() const noexcept;
    [[nodiscard]] std::size_t rank() const noexcept;
    /// The number of elements of the shape; of a nested or jagged tensor, of those that are stored.
    [[nodiscard]] std::uint64_t numel() const noexcept;
    /// The bytes of `numel()` elements, also where an expanded tensor stores fewer; of a tensor that consists of parts,
    /// of all its parts.
    [[nodiscard]] std::uint64_t nbytes() const noexcept;
    /// The place of the first element in the storage, in elements.
    [[nodiscard]] std::uint64_t storage_offset() const noexcept;
    [[nodiscard]] bool requires_grad() const noexcept;
    /// Whether the values are the stored ones negated; copies resolve it.
    [[nodiscard]] bool is_neg() const noexcept;
    /// Whether the values are the stored ones conjugated; copies resolve it.
    [[nodiscard]] bool is_conj() const noexcept;
    /// Whether the elements lie one after another, the last index fastest.
    [[nodiscard]] bool is_contiguous() const noexcept;

    /// Equal for tensors of one file that share their bytes (tied weights, views).
    [[nodiscard]] std::uint32_t storage_id() const noexcept;
    /// The storage's key in the archive ("0", "1", or an old file's address); empty where it has none.
    [[nodiscard]] std::string_view storage_key() const noexcept;
    /// The size of the whole storage in bytes, which other tensors may share; 0 without a storage.
    [[nodiscard]] std::uint64_t storage_nbytes() const noexcept;
    /// Whether the values are gathered from other tensors when they are copied: there are no bytes to view.
    [[nodiscard]] bool is_gathered() const noexcept;
    /// The file that holds the storage, by its name in the folder; empty where no folder was opened. Of a tensor
    /// that consists of parts, or is gathered from several files, the one with its first elements.
    [[nodiscard]] std::string_view file() const noexcept;
    /// The offset of the first element in the file, after a check of its record's header. Fails with `no_data` for
    /// bytes that a pickle has as text.
    [[nodiscard]] result<std::uint64_t> file_offset() const;

    /// The tensors that this one consists of, by name, where it is not one array. Sparse: `indices` or `crow_indices`,
    /// `col_indices` (`ccol_indices`, `row_indices`), and `values`. Nested: `buffer`, `sizes`, `strides`, `offsets`.
    /// Jagged: `values`, `offsets`, `lengths`, `min_seqlen`, `max_seqlen`, those that there are. Wrapper: the tensors
    /// among its attributes. Quantised per channel: `scales` and `zero_points`. Empty for others. Parts may have parts
    /// of their own.
    [[nodiscard]] part_range parts() const noexcept;
    /// The part of this name; of a part of a part, the names joined by dots. Fails with `key_missing`.
    [[nodiscard]] result<tensor> part(std::string_view name) const;
    /// The scale and zero point of a quantised tensor; nothing for others.
    [[nodiscard]] std::optional<ckpt::quantizer> quantizer() const;
    /// The dotted name of a tensor subclass ("torch.distributed.tensor.DTensor"); empty for plain tensors.
    [[nodiscard]] std::string_view class_name() const noexcept;
    /// How a distributed tensor is laid out over its processes ("Shard(0), Replicate() on cpu mesh [2, 2]"), or where a
    /// shard lies in the whole ("offsets [0, 4]"). Text for people, whose form may change. Empty for others.
    [[nodiscard]] std::string_view placement() const noexcept;

    /// The error for a tensor that could not be built, which every access to its values returns; null for others. Valid
    /// as long as the checkpoint.
    [[nodiscard]] const ckpt::error* refusal() const noexcept;

    /// The bytes of the elements as stored, in the file's byte order. Valid as long as the checkpoint. Fails with
    /// `needs_copy` where they do not lie one after another, or are gathered; with `lazy_bit` where the values differ
    /// from them, and with `not_mapped` where they are not in memory.
    [[nodiscard]] result<std::span<const std::byte>> bytes() const;

    /// A view of the elements, without a copy, valid as long as the checkpoint. `T` is the tensor's own type, or the
    /// integer in which a bool, quantised or opaque type is stored. Fails with `dtype_mismatch`, `rank_mismatch`,
    /// `byte_order`, `lazy_bit`, `misaligned`, `not_mapped`, `needs_copy`, `packed`, `not_strided` or `no_data`; the
    /// hint names a call that works.
    template <class T, std::size_t Rank> [[nodiscard]] result<tensor_view<T, Rank>> view() const {
        auto parts = detail::view_of(data_, source_, dtype_of<T>::value, Rank, alignof(T));
        if (!parts) return std::move(parts).failure();
        tensor_view<T, Rank> out{};
        out.data = detail::typed_pointer<T>(parts->address);
        for (std::size_t i = 0; i != Rank; ++i) {
            out.shape[i] = parts->shape[i];
            out.strides[i] = parts->strides[i];
        }
        return out;
    }

    /// All elements of a tensor of any rank, in row-major order, without a copy. Fails as `view<T, Rank>()` does, and
    /// with `needs_copy` where the elements do not lie one after another.
    template <class T> [[nodiscard]] result<std::span<const T>> view() const {
        auto at = detail::flat_view_of(data_, source_, dtype_of<T>::value, alignof(T));
        if (!at) return std::move(at).failure();
        return tensor_view<T, 1>{detail::typed_pointer<T>(*at), {static_cast<std::int64_t>(numel())}, {1}}.span();
    }

    /// Copies the values in row-major order to a std::span, std::vector, std::array or another range that has
    /// `numel()` elements of the tensor's own type, or of the integer type in which it is stored (a bool becomes 0 or
    /// 1). Resolves strides, byte order, neg and conj bits. Fails with `dtype_mismatch`, `size_mismatch`, `packed`,
    /// `not_strided`, `no_data`, or the error of a read.
    template <detail::element_range R> [[nodiscard]] result<void> copy_to(R&& out) const {
        constexpr ckpt::dtype type = dtype_of<detail::range_element<R>>::value;
        return detail::copy_values(data_, source_, type, true, detail::bytes_of_range(out));
    }
    /// The same for a dtype that only the file knows: `out` has `nbytes()` bytes, and gets elements of `dtype()` in
    /// this machine's byte order.
    [[nodiscard]] result<void> copy_to(std::span<std::byte> out) const {
        return detail::copy_values(data_, source_, dtype(), true, out);
    }

    /// The same with a conversion to the type of the range, with the results of PyTorch's `.to()`. Fails with
    /// `conversion` where an integer does not fit, and for floating to integer, complex to real, real to complex. The
    /// content of `out` is then unspecified.
    template <detail::element_range R> [[nodiscard]] result<void> copy_as(R&& out) const {
        constexpr ckpt::dtype type = dtype_of<detail::range_element<R>>::value;
        return detail::copy_values(data_, source_, type, false, detail::bytes_of_range(out));
    }
    /// The same for a dtype that is known at run time: `out` has `numel()` times `itemsize(to)` bytes.
    [[nodiscard]] result<void> copy_as(ckpt::dtype to, std::span<std::byte> out) const {
        return detail::copy_values(data_, source_, to, false, out);
    }

    /// Copies `count` rows from row `first` on, converted as `copy_as` does. A row is what one index of the first
    /// dimension leads to. Fails as `copy_as` does, with `size_mismatch` for rows that there are not, and with
    /// `rank_mismatch` for a tensor without dimensions. Where a storage is compressed, each call inflates it again up
    /// to the rows: `for_rows` does it once.
    template <detail::element_range R>
    [[nodiscard]] result<void> copy_rows(std::uint64_t first, std::uint64_t count, R&& out) const {
        constexpr ckpt::dtype type = dtype_of<detail::range_element<R>>::value;
        return detail::copy_rows(data_, source_, first, count, type, detail::bytes_of_range(out));
    }
    /// The same for a dtype that is known at run time.
    [[nodiscard]] result<void> copy_rows(std::uint64_t first, std::uint64_t count, ckpt::dtype to,
                                         std::span<std::byte> out) const {
        return detail::copy_rows(data_, source_, first, count, to, out);
    }

    /// Calls `fn(first, values)` for all rows in their order, at most `rows` at once: `first` is the number of the
    /// first of them, `values` a `std::span<const T>` of their elements, converted as `copy_as` does, in a block of
    /// memory that is used again for the next rows. `fn` returns nothing, or a `result<void>`, whose failure ends it.
    /// Fails as `copy_rows` does, and with `output_limit` for values of more than 16 times the storage's bytes plus 64
    /// MiB.
    template <element T, class F> [[nodiscard]] result<void> for_rows(std::uint64_t rows, F&& fn) const {
        static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);
        const auto visit = [](void* context, std::uint64_t first, const std::byte* at, std::size_t n) -> result<void> {
            const std::span<const T> values{detail::typed_pointer<T>(at), n};
            auto& call = **static_cast<std::remove_reference_t<F>**>(context);
            if constexpr (std::is_void_v<decltype(call(first, values))>) return call(first, values), result<void>{};
            else return call(first, values);
        };
        std::remove_reference_t<F>* context = &fn;
        return detail::visit_rows(data_, source_, dtype_of<T>::value, rows, visit, &context);
    }

    /// CRC-32 (as zlib's crc32) of the values, little-endian, in row-major order; of packed types, of the stored bytes.
    /// Needs a bounded buffer. Fails with `output_limit` for values of more than 16 times the storage's bytes: an
    /// expanded tensor may have any shape.
    [[nodiscard]] result<std::uint32_t> crc32() const { return detail::digest_tensor(data_, source_); }

  private:
    friend struct detail::tensor_access;
    tensor(const detail::tensor_data* data, const detail::storage_source* source) noexcept
        : data_{data}, source_{source} {}

    [[nodiscard]] bool has_storage() const noexcept;

    const detail::tensor_data* data_{nullptr};
    const detail::storage_source* source_{nullptr};
};

/// One part of a tensor. Borrows what the tensor borrows.
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
        [[nodiscard]] named_part operator*() const noexcept;
        iterator& operator++() noexcept {
            ++at_;
            return *this;
        }
        iterator operator++(int) noexcept { return {first_, at_++, source_}; }
        [[nodiscard]] bool operator==(const iterator& other) const noexcept { return at_ == other.at_; }

      private:
        friend class part_range;
        iterator(const detail::named_data* first, std::size_t at, const detail::storage_source* source) noexcept
            : first_{first}, at_{at}, source_{source} {}

        const detail::named_data* first_{nullptr};
        std::size_t at_{0};
        const detail::storage_source* source_{nullptr};
    };

    part_range() noexcept = default;
    [[nodiscard]] iterator begin() const noexcept { return {first_, 0, source_}; }
    [[nodiscard]] iterator end() const noexcept { return {first_, size_, source_}; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

  private:
    friend class tensor;
    part_range(const detail::named_data* first, std::size_t size, const detail::storage_source* source) noexcept
        : first_{first}, size_{size}, source_{source} {}

    const detail::named_data* first_{nullptr};
    std::size_t size_{0};
    const detail::storage_source* source_{nullptr};
};

/// How integers q of a quantised tensor are converted: (q - zero_point) * scale. Borrows what the tensor borrows.
struct quantizer {
    qscheme scheme{};
    double scale{1};           ///< per tensor
    std::int64_t zero_point{}; ///< per tensor
    std::size_t axis{};        ///< per channel: the dimension that has a scale for each index
    tensor scales{};           ///< per channel: [shape[axis]]; empty otherwise
    tensor zero_points{};      ///< per channel: [shape[axis]]; empty otherwise
};

namespace detail {

/// For the library: makes tensors, and gives access to their members.
struct tensor_access {
    [[nodiscard]] static tensor make(const tensor_data* data, const storage_source* source) noexcept {
        return {data, source};
    }
    [[nodiscard]] static const tensor_data* data(const tensor& t) noexcept { return t.data_; }
    [[nodiscard]] static const storage_source* source(const tensor& t) noexcept { return t.source_; }
};

/// The error for access to single elements of a type that has several in a byte.
[[nodiscard]] error packed_error(ckpt::dtype type);

} // namespace detail

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/tensor/impl/tensor.ipp>
#endif
