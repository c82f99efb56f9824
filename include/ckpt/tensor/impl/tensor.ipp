// ckpt/tensor/impl/tensor.ipp: the definitions of tensor.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/checked.hpp>
#include <ckpt/core/digest.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/tensor/access.hpp>
#include <ckpt/tensor/convert.hpp>
#include <ckpt/tensor/geometry.hpp>
#include <ckpt/tensor/parts.hpp>
#include <ckpt/tensor/storage.hpp>
#include <ckpt/tensor/stored_bytes.hpp>
#include <ckpt/tensor/strided.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <algorithm>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE error packed_error(ckpt::dtype type) {
    return {.code = errc::packed,
            .detail = str_cat("a byte of ", name(type), " holds several values"),
            .hint = bits(type) < 8
                        ? std::string_view("bytes() gives the packed bytes, copy_as with std::uint8_t the values")
                        : std::string_view("bytes() and copy_to with std::uint8_t give the packed bytes")};
}

[[nodiscard]] CKPT_DETAIL_COLD inline error not_fitting(std::uint64_t element, ckpt::dtype to) {
    return {.code = errc::conversion, .detail = str_cat("element ", element, " does not fit into ", name(to))};
}

/// Converts elements in the order of their storage, whatever the strides are: each read is a large one, and of elements
/// in memory each line is loaded once.
CKPT_DETAIL_COLD inline result<void> convert_stored(const tensor_data& data, storage_access& access, const box& whole,
                                                    ckpt::dtype to, std::byte* out) {
    const std::size_t in_size = itemsize(data.type);
    const std::size_t out_size = itemsize(to);
    const byte_order order = access.from.source->order(data.storage);
    const bool scattered = access.from.reader && access.from.reader->is_scattered();
    const std::uint64_t most_bytes = scattered                                     ? unordered_part_bytes
                                     : access.memory != nullptr && is_dense(whole) ? part_bytes
                                                                                   : stored_part_bytes;
    const std::uint64_t most = most_bytes / (std::max)(in_size, out_size);
    std::vector<std::byte> stored;
    std::vector<std::byte> made;
    return for_each_stored_part(whole, most, [&](const stored_part& part) -> result<void> {
        stored.resize((std::max)(stored.size(), static_cast<std::size_t>(part.count * in_size)));
        if (auto read = access.gather_part(part.elements, in_size, stored.data()); !read) return read;
        finish_elements(data.type, order, native_order(), data.neg, data.conj, stored.data(), part.count);
        const bool in_place = part.is_in_place();
        if (!in_place) made.resize((std::max)(made.size(), static_cast<std::size_t>(part.count * out_size)));
        std::byte* const there = out + part.first * out_size;
        std::byte* const converted = in_place ? there : made.data();
        const std::uint64_t fit = convert(data.type, stored.data(), to, converted, part.count);
        if (fit < part.count) return not_fitting(part.place(fit), to);
        if (!in_place) copy_axes(part.axes, out_size, converted, there, count(whole) * out_size);
        return {};
    });
}

/// Gives `each(in, first, n)` the elements of a dense tensor in memory, in steps that progress is told of.
template <class Each>
inline result<void> each_step(const storage_access& access, const box& whole, std::uint64_t numel, std::size_t size,
                              const Each& each) {
    const std::uint64_t most = access.from.most_at_once() / size;
    for (std::uint64_t first = 0; first < numel; first += most) {
        const std::uint64_t n = (std::min)(numel - first, most);
        if (auto done = each(access.memory + (whole.offset + first) * size, first, n); !done) return done;
        if (auto going = access.from.count(n * size); !going) return going;
    }
    return {};
}

/// Copies all elements through an access that is open.
CKPT_DETAIL_COLD inline result<void> copy_opened(const tensor_data& data, storage_access& access, ckpt::dtype to,
                                                 bool exact, std::byte* out) {
    if (bits(data.type) < 8) return copy_unpacked(data, access, out);

    box whole;
    if (!make_box(data.sizes(), data.steps(), data.storage_offset, whole))
        return error{.code = errc::internal, .detail = "a tensor that was never checked against its storage"};
    const std::size_t size = itemsize(data.type);
    const byte_order order = access.from.source->order(data.storage);
    const bool finished = is_finished(data.type, order, native_order(), data.neg, data.conj);
    const bool dense_in_memory = access.memory != nullptr && is_dense(whole);
    if (is_plain_copy(data.type, to, exact)) {
        const bool finished_but_for_order = is_finished(data.type, order, order, data.neg, data.conj);
        if (dense_in_memory && !finished && finished_but_for_order)
            return each_step(access, whole, data.numel, size,
                             [&](const std::byte* in, std::uint64_t first, std::uint64_t n) -> result<void> {
                                 swap_units(info(data.type).component_bytes, in, out + first * size, n * size, true);
                                 return {};
                             });
        // What has to be finished is copied in parts, each of which is still in the cache then. Large tensors are
        // finished beside their place and go there around the cache, as memcpy brings them.
        const bool at_once = access.memory == nullptr || finished;
        const bool beside = !at_once && data.numel * size >= streamed_bytes;
        constexpr std::uint64_t first_cache = std::uint64_t{1} << 13;
        const std::uint64_t most = is_dense(whole) ? first_cache : part_bytes;
        row_block room;
        auto done =
            for_each_part(whole, at_once ? data.numel : most / size,
                          [&](const box& part, std::uint64_t first, std::uint64_t n) -> result<void> {
                              std::byte* const there = out + first * size;
                              std::byte* const made = beside ? room.of_size(most) : there;
                              if (auto got = access.gather_part(part, size, made); !got) return got;
                              if (!finished)
                                  finish_elements(data.type, order, native_order(), data.neg, data.conj, made, n);
                              if (beside) stream_copy(there, made, n * size, 0);
                              return {};
                          });
        if (beside) end_streams();
        return done;
    }
    if (dense_in_memory && finished)
        return each_step(access, whole, data.numel, size,
                         [&](const std::byte* in, std::uint64_t first, std::uint64_t n) -> result<void> {
                             const std::uint64_t fit = convert(data.type, in, to, out + first * itemsize(to), n);
                             if (fit < n) return not_fitting(first + fit, to);
                             return {};
                         });
    return convert_stored(data, access, whole, to, out);
}

/// Refuses memory that holds a part of an element.
inline result<void> check_room(ckpt::dtype to, std::span<const std::byte> out) {
    if (out.size() % itemsize(to) == 0) return {};
    return error{.code = errc::size_mismatch,
                 .detail = str_cat("the destination has ", out.size(), " bytes, an element of ", name(to), " has ",
                                   itemsize(to))};
}

CKPT_DETAIL_RARE result<void> copy_tensor(const tensor_data* handle, const storage_source* source, ckpt::dtype to,
                                          bool exact, std::byte* out, std::uint64_t room, storage_readers* readers) {
    if (auto usable = check_copy(handle, source, to, exact); !usable) return usable;
    const tensor_data& data = *handle;
    if (room != data.numel)
        return error{.code = errc::size_mismatch,
                     .detail = str_cat("the tensor has ", data.numel, " elements, the destination ", room)};
    if (data.numel == 0) return {};

    auto access = open_storage(data, *source, true, readers);
    if (!access) return std::move(access).failure();
    auto copied = copy_opened(data, *access, to, exact, out);
    return copied ? access->from.finish() : copied;
}

CKPT_DETAIL_RARE result<void> copy_values(const tensor_data* handle, const storage_source* source, ckpt::dtype to,
                                          bool exact, std::span<std::byte> out) {
    if (auto usable = check_copy(handle, source, to, exact); !usable) return usable;
    if (auto whole = check_room(to, out); !whole) return whole;
    return copy_tensor(handle, source, to, exact, out.data(), out.size() / itemsize(to));
}

/// The rows of a tensor that has some; `row` is the number of elements of each.
inline result<std::uint64_t> rows_of(const tensor_data* handle, const storage_source* source, ckpt::dtype to,
                                     std::uint64_t& row) {
    if (auto usable = check_copy(handle, source, to, false); !usable) return std::move(usable).failure();
    if (handle->rank == 0)
        return error{.code = errc::rank_mismatch, .detail = "a tensor without dimensions has no rows"};
    const auto rows = static_cast<std::uint64_t>(handle->shape[0]);
    row = rows != 0 ? handle->numel / rows : 0;
    return rows;
}

/// Some rows of a tensor as a tensor. `sizes` is its shape, and outlives it.
inline tensor_data narrow(const tensor_data& data, std::uint64_t row, std::uint64_t first, std::uint64_t count,
                          std::vector<std::int64_t>& sizes) {
    tensor_data out = data;
    sizes.assign(data.sizes().begin(), data.sizes().end());
    sizes.front() = static_cast<std::int64_t>(count);
    out.shape = sizes.data();
    out.numel = row * count;
    if (out.numel != 0) out.storage_offset += first * static_cast<std::uint64_t>(data.strides[0]);
    return out;
}

CKPT_DETAIL_RARE result<void> copy_rows(const tensor_data* handle, const storage_source* source, std::uint64_t first,
                                        std::uint64_t count, ckpt::dtype to, std::span<std::byte> out) {
    std::uint64_t row{};
    const auto rows = rows_of(handle, source, to, row);
    if (!rows) return rows.error();
    if (first > *rows || count > *rows - first)
        return error{.code = errc::size_mismatch,
                     .detail = str_cat(count, " rows from row ", first, " on, of a tensor that has ", *rows)};
    std::vector<std::int64_t> sizes;
    const tensor_data part = narrow(*handle, row, first, count, sizes);
    return copy_values(&part, source, to, false, out);
}

CKPT_DETAIL_RARE result<void> visit_rows(const tensor_data* handle, const storage_source* source, ckpt::dtype to,
                                         std::uint64_t rows, row_visitor visit, void* context, row_block* block,
                                         storage_readers* readers) {
    std::uint64_t row{};
    const auto all = rows_of(handle, source, to, row);
    if (!all) return all.error();
    if (rows == 0) return error{.code = errc::size_mismatch, .detail = "at most 0 rows at once"};
    const auto bytes = copy_bytes(*handle, *source, to);
    if (!bytes) return bytes.error();
    if (*bytes == 0) return {};
    auto access = open_storage(*handle, *source, true, readers);
    if (!access) return std::move(access).failure();
    const std::uint64_t most = rows < *all ? rows : *all;
    row_block own;
    std::byte* const values = (block != nullptr ? *block : own).of_size(static_cast<std::size_t>(*bytes / *all * most));
    std::vector<std::int64_t> sizes;
    for (std::uint64_t first = 0; first < *all; first += most) {
        const std::uint64_t count = *all - first < most ? *all - first : most;
        const tensor_data part = narrow(*handle, row, first, count, sizes);
        if (auto copied = copy_opened(part, *access, to, false, values); !copied) return copied;
        if (auto done = visit(context, first, values, static_cast<std::size_t>(part.numel)); !done) return done;
    }
    return access->from.finish();
}

CKPT_DETAIL_RARE result<std::uint32_t> digest_tensor(const tensor_data* handle, const storage_source* source,
                                                     storage_readers* readers) {
    std::uint32_t crc = 0;
    auto all = for_each_stored_bytes(handle, source, readers, [&crc](std::span<const std::byte> bytes) -> result<void> {
        crc = crc32(bytes, crc);
        return {};
    });
    if (!all) return std::move(all).failure();
    return crc;
}

CKPT_DETAIL_RARE result<view_parts> view_of(const tensor_data* handle, const storage_source* source, ckpt::dtype as,
                                            std::size_t rank, std::size_t alignment) {
    const auto address = view_address(handle, source, as, rank);
    if (!address) return address.error();
    if (reinterpret_cast<std::uintptr_t>(*address) % alignment != 0) return misaligned_error(handle->type, alignment);
    return view_parts{*address, handle->shape, handle->strides};
}

CKPT_DETAIL_RARE result<const std::byte*> flat_view_of(const tensor_data* handle, const storage_source* source,
                                                       ckpt::dtype as, std::size_t alignment) {
    auto parts = view_of(handle, source, as, handle != nullptr ? handle->rank : 0, alignment);
    if (!parts) return std::move(parts).failure();
    if (!is_contiguous(*handle)) return not_contiguous();
    return parts->address;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_RARE std::string_view tensor::file() const noexcept {
    if (has_storage()) return source_->file(data_->storage);
    if (data_ == nullptr || data_->extra == nullptr || data_->extra->count == 0) return {};
    return tensor{&data_->extra->first->data, source_}.file();
}

CKPT_DETAIL_RARE result<std::uint64_t> tensor::file_offset() const {
    if (auto usable = detail::check_access(data_, source_); !usable) return std::move(usable).failure();
    auto start = source_->file_offset(data_->storage);
    if (!start) return start;
    // The offset of a tensor without elements may lie past the storage: the result does not.
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

CKPT_DETAIL_RARE result<std::span<const std::byte>> tensor::bytes() const {
    if (auto usable = detail::check_access(data_, source_); !usable) return std::move(usable).failure();
    if (detail::has_lazy_bit(*data_)) return detail::lazy_bit_error(*data_);
    const std::size_t width = bits(data_->type);
    if (data_->numel == 0) return std::span<const std::byte>{};
    if (!detail::is_contiguous(*data_) || (width < 8 && data_->storage_offset % (8 / width) != 0))
        return detail::not_contiguous();
    auto access = detail::open_storage(*data_, *source_);
    if (!access) return std::move(access).failure();
    if (access->memory == nullptr) return detail::not_in_memory(*data_, *source_);
    return std::span<const std::byte>{access->memory + data_->storage_offset * width / 8,
                                      static_cast<std::size_t>(nbytes())};
}

CKPT_DETAIL_RARE bool tensor::has_storage() const noexcept {
    return data_ != nullptr && data_->refusal == nullptr && data_->kind == ckpt::layout::strided && source_ != nullptr;
}

CKPT_DETAIL_RARE named_part part_range::iterator::operator*() const noexcept {
    return {first_[at_].name, detail::tensor_access::make(&first_[at_].data, source_)};
}

CKPT_DETAIL_RARE part_range tensor::parts() const noexcept {
    if (data_ == nullptr || data_->extra == nullptr) return {};
    return {data_->extra->first, data_->extra->count, source_};
}

CKPT_DETAIL_RARE result<tensor> tensor::part(std::string_view name) const {
    if (const ckpt::error* own = refusal()) return *own;
    for (const named_part p : parts()) {
        if (p.name == name) return p.tensor;
        if (name.size() <= p.name.size() || name[p.name.size()] != '.' || !name.starts_with(p.name)) continue;
        if (auto below = p.tensor.part(name.substr(p.name.size() + 1)); below) return below;
    }
    ckpt::error missing{.code = errc::key_missing,
                        .detail = detail::str_cat("no part ", detail::quoted(name), " among ", parts().size())};
    std::size_t shown = 0;
    for (const named_part p : parts()) {
        if (++shown > 3) break;
        missing.detail += (shown == 1 ? ": " : ", ") + detail::quoted(p.name);
    }
    return missing;
}

CKPT_DETAIL_RARE std::optional<quantizer> tensor::quantizer() const {
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

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_RARE ckpt::dtype tensor::dtype() const noexcept { return data_ != nullptr ? data_->type : ckpt::dtype{}; }

CKPT_DETAIL_RARE ckpt::layout tensor::layout() const noexcept {
    return data_ != nullptr ? data_->kind : ckpt::layout{};
}

CKPT_DETAIL_RARE std::span<const std::int64_t> tensor::shape() const noexcept {
    return data_ != nullptr ? data_->sizes() : std::span<const std::int64_t>{};
}

CKPT_DETAIL_RARE std::span<const std::int64_t> tensor::strides() const noexcept {
    return data_ != nullptr ? data_->steps() : std::span<const std::int64_t>{};
}

CKPT_DETAIL_RARE std::size_t tensor::rank() const noexcept { return data_ != nullptr ? data_->rank : 0; }

CKPT_DETAIL_RARE std::uint64_t tensor::numel() const noexcept { return data_ != nullptr ? data_->numel : 0; }

CKPT_DETAIL_RARE std::uint64_t tensor::nbytes() const noexcept {
    return data_ != nullptr ? detail::bytes_of(*data_) : 0;
}

CKPT_DETAIL_RARE std::uint64_t tensor::storage_offset() const noexcept {
    return data_ != nullptr ? data_->storage_offset : 0;
}

CKPT_DETAIL_RARE bool tensor::requires_grad() const noexcept { return data_ != nullptr && data_->requires_grad; }

CKPT_DETAIL_RARE bool tensor::is_neg() const noexcept { return data_ != nullptr && data_->neg; }

CKPT_DETAIL_RARE bool tensor::is_conj() const noexcept { return data_ != nullptr && data_->conj; }

CKPT_DETAIL_RARE bool tensor::is_contiguous() const noexcept {
    return data_ != nullptr && detail::is_contiguous(*data_);
}

CKPT_DETAIL_RARE std::uint32_t tensor::storage_id() const noexcept { return data_ != nullptr ? data_->storage : 0; }

CKPT_DETAIL_RARE std::string_view tensor::storage_key() const noexcept {
    return has_storage() ? source_->key(data_->storage) : std::string_view{};
}

CKPT_DETAIL_RARE std::uint64_t tensor::storage_nbytes() const noexcept {
    return has_storage() ? source_->nbytes(data_->storage) : 0;
}

CKPT_DETAIL_RARE bool tensor::is_gathered() const noexcept {
    return has_storage() && source_->is_gathered(data_->storage);
}

CKPT_DETAIL_RARE std::string_view tensor::class_name() const noexcept {
    return data_ != nullptr && data_->extra != nullptr ? data_->extra->class_name : std::string_view{};
}

CKPT_DETAIL_RARE std::string_view tensor::placement() const noexcept {
    return data_ != nullptr && data_->extra != nullptr ? data_->extra->placement : std::string_view{};
}

CKPT_DETAIL_RARE const ckpt::error* tensor::refusal() const noexcept {
    return data_ != nullptr ? data_->refusal : nullptr;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
