// ckpt/tensor/impl/stored_bytes.ipp: the definitions of stored_bytes.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/tensor/access.hpp>
#include <ckpt/tensor/shape_text.hpp>
#include <ckpt/tensor/stored_bytes.hpp>

#include <string>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_RARE result<void> check_stored_bytes(const tensor_data* handle, const storage_source* source) {
    if (auto usable = check_access(handle, source); !usable) return usable;
    const tensor_data& data = *handle;
    if (data.neg && !has_negation(data.type))
        return error{.code = errc::lazy_bit,
                     .detail =
                         str_cat("the neg bit is set on a tensor of ", name(data.type), ", which has no negation")};
    if (data.numel == 0) return {};
    const std::size_t width = bits(data.type);
    if (width < 8 && (!is_contiguous(data) || data.storage_offset % (8 / width) != 0)) return packed_error(data.type);
    return check_output(data, *source);
}

/// The elements of a tensor that has some; bytes where elements are smaller.
inline result<box> stored_box(const tensor_data& data) {
    box whole;
    if (const std::size_t width = bits(data.type); width < 8) {
        whole.rank = 1;
        whole.offset = data.storage_offset / (8 / width);
        whole.sizes[0] = bytes_of(data.type, data.numel);
        whole.strides[0] = 1;
    } else if (!make_box(data.sizes(), data.steps(), data.storage_offset, whole)) {
        return error{.code = errc::internal, .detail = "a tensor that was never checked against its storage"};
    }
    return whole;
}

CKPT_DETAIL_RARE bool is_stored_range(const tensor_data& data, const storage_source& source, std::uint64_t& offset,
                                      std::uint64_t& length) {
    if (data.numel == 0) return false;
    const auto whole = stored_box(data);
    offset = whole ? whole->offset * itemsize(data.type) : 0;
    length = bytes_of(data.type, data.numel);
    return whole && is_dense(*whole) &&
           is_finished(data.type, source.order(data.storage), byte_order::little, data.neg, data.conj);
}

CKPT_DETAIL_RARE result<void> for_each_stored_bytes(const tensor_data* handle, const storage_source* source,
                                                    storage_readers* readers,
                                                    function_ref<result<void>(std::span<const std::byte>)> f) {
    if (auto usable = check_stored_bytes(handle, source); !usable) return usable;
    const tensor_data& data = *handle;
    if (data.numel == 0) return {};
    const auto whole = stored_box(data);
    if (!whole) return whole.error();
    auto access = open_storage(data, *source, true, readers);
    if (!access) return std::move(access).failure();
    const std::size_t size = itemsize(data.type);
    const byte_order order = source->order(data.storage);
    const bool finished = is_finished(data.type, order, byte_order::little, data.neg, data.conj);
    if (access->memory != nullptr && is_dense(*whole) && finished) {
        const std::byte* const first = access->memory + whole->offset * size;
        const std::uint64_t total = bytes_of(data.type, data.numel);
        for (std::uint64_t at = 0; at < total;) {
            const std::uint64_t left = total - at, most = access->from.most_at_once();
            const std::uint64_t n = left < most ? left : most;
            if (auto done = f({first + at, static_cast<std::size_t>(n)}); !done) return done;
            if (auto going = access->from.count(n); !going) return going;
            at += n;
        }
        return {};
    }
    std::vector<std::byte> buffer(access->part_size(*whole, size));
    auto all = for_each_part(
        *whole, buffer.size() / size, [&](const box& part, std::uint64_t, std::uint64_t n) -> result<void> {
            if (auto read = access->gather_part(part, size, buffer.data()); !read) return read;
            if (!finished) finish_elements(data.type, order, byte_order::little, data.neg, data.conj, buffer.data(), n);
            return f({buffer.data(), static_cast<std::size_t>(n * size)});
        });
    return all ? access->from.finish() : all;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
