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
[[nodiscard]] inline result<void> check_access(const tensor_data* data, const storage_source* source) {
    if (data == nullptr) return error{.code = errc::no_data, .detail = "the tensor handle is empty"};
    if (data->refusal != nullptr) return *data->refusal;
    if (data->kind == layout::meta)
        return error{.code = errc::no_data, .detail = "a meta tensor was saved without its values"};
    if (data->kind != layout::strided)
        return error{.code = errc::not_strided,
                     .detail = "the tensor's layout is " + std::string(name(data->kind)),
                     .hint = "its parts are tensors of their own: use them"};
    if (source == nullptr) return error{.code = errc::no_data, .detail = "the tensor has no storage"};
    return {};
}

[[nodiscard]] inline error not_contiguous() {
    return {.code = errc::needs_copy,
            .detail = "the tensor is not contiguous: its elements do not lie one after another",
            .hint = "use a view, or copy it with copy_to"};
}

[[nodiscard]] inline error lazy_bit_error(const tensor_data& data) {
    return {.code = errc::lazy_bit,
            .detail = std::string("the tensor has its ") +
                      (data.neg ? data.conj ? "neg and conj bits" : "neg bit" : "conj bit") +
                      " set, so its bytes are not its values",
            .hint = "copy_to and copy_as give the values"};
}

[[nodiscard]] inline error packed_error(ckpt::dtype type) {
    return {.code = errc::packed,
            .detail = "a byte of " + std::string(name(type)) + " holds several values",
            .hint = bits(type) < 8
                        ? std::string_view("bytes() gives the packed bytes, copy_as with std::uint8_t the values")
                        : std::string_view("bytes() and copy_to with std::uint8_t give the packed bytes")};
}

[[nodiscard]] inline error rank_error(const tensor_data& data, std::size_t rank) {
    return {.code = errc::rank_mismatch,
            .detail = "the tensor has " + decimal(std::uint64_t{data.rank}) + " dimensions, asked for were " +
                      decimal(std::uint64_t{rank}) + "; its shape is " + list_of(data.sizes())};
}

/// A storage as a copy sees it: all its bytes, or, where they are not in memory, a way to read them.
struct storage_access {
    const storage_source* source{};
    std::uint32_t storage{};
    const std::byte* memory{};        ///< null: by reads
    std::vector<std::byte> staging{}; ///< of reads; or what `memory` points to

    [[nodiscard]] result<void> gather_part(const box& part, std::size_t size, std::byte* out) {
        if (memory == nullptr) return gather(*source, storage, part, size, out, staging);
        gather(memory, part, size, out);
        return {};
    }
    [[nodiscard]] result<void> copy(std::uint64_t offset, std::span<std::byte> out) const {
        if (memory == nullptr) return source->read(storage, offset, out);
        std::memcpy(out.data(), memory + offset, out.size());
        return {};
    }
};

/// Opens the storage of a tensor with elements. That its geometry fits was checked when it was made, and is again here.
/// `inflate`: for one copy of it; a compressed storage is then inflated once, into memory of the access.
[[nodiscard]] inline result<storage_access> open_storage(const tensor_data& data, const storage_source& source,
                                                         bool inflate = false) {
    storage_access out;
    out.source = &source;
    out.storage = data.storage;
    std::uint64_t have = source.nbytes(data.storage);
    auto bytes = source.bytes(data.storage);
    if (bytes) {
        have = bytes->size();
        out.memory = bytes->data();
    } else if (inflate && source.is_compressed(data.storage)) {
        if (auto there = source.read(data.storage, 0, {}); !there) return std::move(there).error();
        std::size_t length = 0;
        if (!checked_narrow(have, length))
            return error{.code = errc::limit,
                         .detail = "a storage of " + decimal(have) + " bytes does not fit into memory"};
        out.staging.resize(length);
        if (auto read = source.read(data.storage, 0, out.staging); !read) return std::move(read).error();
        out.memory = out.staging.data();
    } else if (bytes.error().code != errc::not_mapped && bytes.error().code != errc::needs_copy) {
        return std::move(bytes).error();
    }
    std::uint64_t needed{};
    if (!bytes_needed(data, needed) || needed > have)
        return error{.code = errc::internal, .detail = "a tensor that was never checked against its storage"};
    return out;
}

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
[[nodiscard]] inline result<void> copy_unpacked(const tensor_data& data, storage_access& access, std::byte* out) {
    if (!is_contiguous(data)) return packed_error(data.type);
    return unpack_parts(data, access, part_bytes, [out](const std::byte* values, std::uint64_t first, std::uint64_t n) {
        std::memcpy(out + first, values, static_cast<std::size_t>(n));
    });
}

/// Whether the elements are copied as they are: `to` is their type, or what it is stored as. `exact`: no conversions.
[[nodiscard]] constexpr bool is_plain_copy(ckpt::dtype type, ckpt::dtype to, bool exact) noexcept {
    return type == to || (stored_integer(type) == to && !(type == ckpt::dtype::bool_ && !exact));
}

/// What a copy of all elements as type `to` asks of a tensor; nothing is read.
[[nodiscard]] inline result<void> check_copy(const tensor_data* handle, const storage_source* source, ckpt::dtype to,
                                             bool exact) {
    if (auto usable = check_access(handle, source); !usable) return usable;
    const tensor_data& data = *handle;
    const bool unpacks = bits(data.type) < 8;
    if (unpacks && (exact || to != ckpt::dtype::uint8 || !is_contiguous(data))) return packed_error(data.type);
    if (!is_plain_copy(data.type, to, exact) && !unpacks && (exact || !is_convertible(data.type, to)))
        return error{.code = exact ? errc::dtype_mismatch : errc::conversion,
                     .detail =
                         "the tensor is " + std::string(name(data.type)) + ", asked for was " + std::string(name(to)),
                     .hint = is_convertible(data.type, to) ? std::string_view("copy_as converts")
                                                           : std::string_view("ask for the tensor's own type")};
    if (data.neg && !has_negation(data.type))
        return error{.code = errc::lazy_bit,
                     .detail = "the neg bit is set on a tensor of " + std::string(name(data.type)) +
                               ", which has no negation"};
    return {};
}

/// Copies all elements to `out` as type `to`, in row-major order and native byte order. `exact`: no conversions.
[[nodiscard]] inline result<void> copy_tensor(const tensor_data* handle, const storage_source* source, ckpt::dtype to,
                                              bool exact, std::byte* out, std::uint64_t room) {
    if (auto usable = check_copy(handle, source, to, exact); !usable) return usable;
    const tensor_data& data = *handle;
    if (room != data.numel)
        return error{.code = errc::size_mismatch,
                     .detail = "the tensor has " + decimal(data.numel) + " elements, the destination " + decimal(room)};
    if (data.numel == 0) return {};

    auto access = open_storage(data, *source, true);
    if (!access) return std::move(access).error();
    if (bits(data.type) < 8) return copy_unpacked(data, *access, out);

    box whole;
    if (!make_box(data.sizes(), data.steps(), data.storage_offset, whole))
        return error{.code = errc::internal, .detail = "a tensor that was never checked against its storage"};
    const std::size_t size = itemsize(data.type);
    const byte_order order = source->order(data.storage);
    if (is_plain_copy(data.type, to, exact)) {
        if (auto done = access->gather_part(whole, size, out); !done) return done;
        finish_elements(data.type, order, native_order(), data.neg, data.conj, out, data.numel);
        return {};
    }
    if (access->memory != nullptr && is_dense(whole) &&
        is_finished(data.type, order, native_order(), data.neg, data.conj)) {
        const std::uint64_t fit = convert(data.type, access->memory + whole.offset * size, to, out, data.numel);
        if (fit == data.numel) return {};
        return error{.code = errc::conversion,
                     .detail = "element " + decimal(fit) + " does not fit into " + std::string(name(to))};
    }
    std::vector<std::byte> buffer(static_cast<std::size_t>(part_bytes));
    return for_each_part(
        whole, part_bytes / size, [&](const box& part, std::uint64_t first, std::uint64_t n) -> result<void> {
            if (auto read = access->gather_part(part, size, buffer.data()); !read) return read;
            finish_elements(data.type, order, native_order(), data.neg, data.conj, buffer.data(), n);
            const std::uint64_t fit = convert(data.type, buffer.data(), to, out + first * itemsize(to), n);
            if (fit < n)
                return error{.code = errc::conversion,
                             .detail =
                                 "element " + decimal(first + fit) + " does not fit into " + std::string(name(to))};
            return {};
        });
}

/// Whether reading all values is in proportion to what is stored: an expanded tensor may claim any shape.
[[nodiscard]] inline result<void> check_output(const tensor_data& data, const storage_source& source) {
    const std::uint64_t total = bytes_of(data.type, data.numel);
    const std::uint64_t have = source.nbytes(data.storage);
    if (total / 16 > have || (total / 16 == have && total % 16 != 0))
        return error{.code = errc::output_limit,
                     .detail = "the values are " + decimal(total) + " bytes, more than 16 times the storage's " +
                               decimal(have)};
    constexpr std::uint64_t always = std::uint64_t{1} << 20;
    if (source.is_compressed(data.storage) && have > always && have / 16 > total)
        return error{.code = errc::output_limit,
                     .detail = "the values are " + decimal(total) + " bytes of a compressed storage of " +
                               decimal(have) + ", all of which would be inflated for them",
                     .hint = "open the file with storages = owned, which inflates each storage once"};
    return {};
}

/// CRC-32 of the values, each little-endian, in row-major order; of the stored bytes where several values share one.
[[nodiscard]] inline result<std::uint32_t> digest_tensor(const tensor_data* handle, const storage_source* source) {
    if (auto usable = check_access(handle, source); !usable) return std::move(usable).error();
    const tensor_data& data = *handle;
    if (data.neg && !has_negation(data.type))
        return error{.code = errc::lazy_bit,
                     .detail = "the neg bit is set on a tensor of " + std::string(name(data.type)) +
                               ", which has no negation"};
    if (data.numel == 0) return std::uint32_t{0};
    if (auto bounded = check_output(data, *source); !bounded) return std::move(bounded).error();
    const std::uint64_t total = bytes_of(data.type, data.numel);
    const std::size_t width = bits(data.type);
    const bool whole_bytes = width >= 8;
    if (!whole_bytes && (!is_contiguous(data) || data.storage_offset % (8 / width) != 0))
        return packed_error(data.type);

    auto access = open_storage(data, *source, true);
    if (!access) return std::move(access).error();
    box whole;
    if (whole_bytes) {
        if (!make_box(data.sizes(), data.steps(), data.storage_offset, whole))
            return error{.code = errc::internal, .detail = "a tensor that was never checked against its storage"};
    } else { // bytes instead of values
        whole.rank = 1;
        whole.offset = data.storage_offset / (8 / width);
        whole.sizes[0] = total;
        whole.strides[0] = 1;
    }
    const std::size_t size = itemsize(data.type);
    const byte_order order = source->order(data.storage);
    const bool finished = is_finished(data.type, order, byte_order::little, data.neg, data.conj);
    if (access->memory != nullptr && is_dense(whole) && finished)
        return crc32({access->memory + whole.offset * size, static_cast<std::size_t>(total)});
    std::vector<std::byte> buffer(static_cast<std::size_t>(total < part_bytes ? total : part_bytes));
    std::uint32_t crc = 0;
    auto all =
        for_each_part(whole, part_bytes / size, [&](const box& part, std::uint64_t, std::uint64_t n) -> result<void> {
            if (auto read = access->gather_part(part, size, buffer.data()); !read) return read;
            if (!finished) finish_elements(data.type, order, byte_order::little, data.neg, data.conj, buffer.data(), n);
            crc = crc32({buffer.data(), static_cast<std::size_t>(n * size)}, crc);
            return {};
        });
    if (!all) return std::move(all).error();
    return crc;
}

/// Why there is no pointer to the elements: the file is read, or the tensor is the result of a gather.
[[nodiscard]] inline error not_in_memory(const tensor_data& data, const storage_source& source) {
    if (auto bytes = source.bytes(data.storage); !bytes && bytes.error().code == errc::needs_copy)
        return std::move(bytes).error();
    return {.code = errc::not_mapped,
            .detail = "the storage is not in memory",
            .hint = "copy_to reads it, or open the file with storages = owned"};
}

/// The first element of a tensor in memory, for a view of `as` and `rank`; null where there are no elements.
[[nodiscard]] inline result<const std::byte*> view_address(const tensor_data* handle, const storage_source* source,
                                                           ckpt::dtype as, std::size_t rank) {
    if (auto usable = check_access(handle, source); !usable) return std::move(usable).error();
    const tensor_data& data = *handle;
    if (info(data.type).packed) return packed_error(data.type);
    if (data.type != as && stored_integer(data.type) != as)
        return error{.code = errc::dtype_mismatch,
                     .detail =
                         "the tensor is " + std::string(name(data.type)) + ", asked for was " + std::string(name(as)),
                     .hint = is_convertible(data.type, as) ? std::string_view("copy_as converts")
                                                           : std::string_view("ask for the tensor's own type")};
    if (data.rank != rank) return rank_error(data, rank);
    if (has_lazy_bit(data)) return lazy_bit_error(data);
    if (data.numel == 0) return static_cast<const std::byte*>(nullptr);
    if (info(data.type).component_bytes > 1 && source->order(data.storage) != native_order())
        return error{.code = errc::byte_order,
                     .detail = std::string("the elements are ") +
                               (native_order() == byte_order::little ? "big-endian" : "little-endian"),
                     .hint = "copy_to swaps, or open the file with storages = owned"};
    auto access = open_storage(data, *source);
    if (!access) return std::move(access).error();
    if (access->memory == nullptr) return not_in_memory(data, *source);
    return access->memory + data.storage_offset * itemsize(data.type);
}

/// The one place that makes a typed pointer of bytes: null where they are not aligned.
template <class T> [[nodiscard]] inline const T* typed_pointer(const std::byte* at) noexcept {
    if (reinterpret_cast<std::uintptr_t>(at) % alignof(T) != 0) return nullptr;
    return reinterpret_cast<const T*>(at);
}

[[nodiscard]] inline error misaligned_error(ckpt::dtype type, std::size_t alignment) {
    return {.code = errc::misaligned,
            .detail = "the first element does not lie at a multiple of " + decimal(std::uint64_t{alignment}) +
                      " bytes, as a view of " + std::string(name(type)) + " needs it",
            .hint = "copy_to works, or open the file with storages = owned"};
}

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
    [[nodiscard]] std::string_view file() const noexcept {
        if (has_storage()) return source_->file(data_->storage);
        if (data_ == nullptr || data_->extra == nullptr || data_->extra->count == 0) return {};
        return tensor{&data_->extra->first->data, source_}.file();
    }
    /// Where the first element lies in the file, after the header of its record was validated.
    [[nodiscard]] result<std::uint64_t> file_offset() const {
        if (auto usable = detail::check_access(data_, source_); !usable) return std::move(usable).error();
        auto start = source_->file_offset(data_->storage);
        if (!start) return start;
        // The offset of a tensor without elements may lie anywhere: it stays inside the storage here.
        const std::uint64_t most = source_->nbytes(data_->storage);
        std::uint64_t in_bits{};
        std::uint64_t skip = most;
        if (detail::checked_mul(data_->storage_offset, bits(data_->type), in_bits) && in_bits / 8 < most)
            skip = in_bits / 8;
        std::uint64_t out{};
        if (!detail::checked_add(*start, skip, out))
            return error{.code = errc::internal, .detail = "a storage past the end of 64 bits"};
        return out;
    }

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
    [[nodiscard]] result<std::span<const std::byte>> bytes() const {
        if (auto usable = detail::check_access(data_, source_); !usable) return std::move(usable).error();
        if (detail::has_lazy_bit(*data_)) return detail::lazy_bit_error(*data_);
        const std::size_t width = bits(data_->type);
        if (data_->numel == 0) return std::span<const std::byte>{};
        if (!detail::is_contiguous(*data_) || (width < 8 && data_->storage_offset % (8 / width) != 0))
            return detail::not_contiguous();
        auto access = detail::open_storage(*data_, *source_);
        if (!access) return std::move(access).error();
        if (access->memory == nullptr) return detail::not_in_memory(*data_, *source_);
        return std::span<const std::byte>{access->memory + data_->storage_offset * width / 8,
                                          static_cast<std::size_t>(nbytes())};
    }

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

    [[nodiscard]] bool has_storage() const noexcept {
        return data_ != nullptr && data_->refusal == nullptr && data_->kind == ckpt::layout::strided &&
               source_ != nullptr;
    }
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

inline named_part part_range::iterator::operator*() const noexcept {
    return {at_->name, detail::tensor_access::make(&at_->data, source_)};
}

inline part_range tensor::parts() const noexcept {
    if (data_ == nullptr || data_->extra == nullptr) return {};
    return {data_->extra->parts(), source_};
}

inline result<tensor> tensor::part(std::string_view name) const {
    if (const ckpt::error* own = refusal()) return *own;
    for (const named_part p : parts()) {
        if (p.name == name) return p.tensor;
        if (name.size() <= p.name.size() || name[p.name.size()] != '.' || !name.starts_with(p.name)) continue;
        if (auto below = p.tensor.part(name.substr(p.name.size() + 1)); below) return below;
    }
    ckpt::error missing{.code = errc::key_missing,
                        .detail = "no part " + detail::quoted(name) + " among " +
                                  detail::decimal(std::uint64_t{parts().size()})};
    std::size_t shown = 0;
    for (const named_part p : parts()) {
        if (++shown > 3) break;
        missing.detail += (shown == 1 ? ": " : ", ") + detail::quoted(p.name);
    }
    return missing;
}

inline std::optional<quantizer> tensor::quantizer() const {
    if (data_ == nullptr || !detail::is_quantised(*data_)) return std::nullopt;
    const detail::tensor_extra& extra = *data_->extra;
    ckpt::quantizer out{extra.scheme, extra.scale, extra.zero_point, extra.axis, {}, {}};
    if (detail::is_per_channel(extra.scheme)) {
        out.scales = {&extra.first[0].data, source_};
        out.zero_points = {&extra.first[1].data, source_};
    }
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
