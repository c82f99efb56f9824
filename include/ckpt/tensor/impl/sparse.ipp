// ckpt/tensor/impl/sparse.ipp: the definitions of sparse.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/tensor/access.hpp>
#include <ckpt/tensor/index_walk.hpp>
#include <ckpt/tensor/sparse.hpp>

#include <cstring>
#include <type_traits>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Adds `n` elements to those of `out`, as torch's to_dense() does for a duplicate index.
template <class T> inline void add_numbers(const std::byte* in, std::byte* out, std::uint64_t n) noexcept {
    for (std::uint64_t i = 0; i < n; ++i) {
        T sum;
        T more;
        std::memcpy(&sum, out + i * sizeof(T), sizeof(T));
        std::memcpy(&more, in + i * sizeof(T), sizeof(T));
        if constexpr (std::is_same_v<T, f16> || std::is_same_v<T, bf16>)
            sum = T::from_float(static_cast<float>(sum) + static_cast<float>(more));
        else if constexpr (std::is_same_v<T, bool>) sum = sum || more;
        else sum = static_cast<T>(sum + more);
        std::memcpy(out + i * sizeof(T), &sum, sizeof(T));
    }
}
/// False for types that torch has no sum for.
inline bool add_elements(ckpt::dtype type, const std::byte* in, std::byte* out, std::uint64_t n) noexcept {
    switch (type) {
    case ckpt::dtype::float32: add_numbers<float>(in, out, n); return true;
    case ckpt::dtype::complex64: add_numbers<float>(in, out, 2 * n); return true;
    case ckpt::dtype::float64: add_numbers<double>(in, out, n); return true;
    case ckpt::dtype::complex128: add_numbers<double>(in, out, 2 * n); return true;
    case ckpt::dtype::float16: add_numbers<f16>(in, out, n); return true;
    case ckpt::dtype::bfloat16: add_numbers<bf16>(in, out, n); return true;
    case ckpt::dtype::bool_: add_numbers<bool>(in, out, n); return true;
    case ckpt::dtype::uint8:
    case ckpt::dtype::int8: add_numbers<std::uint8_t>(in, out, n); return true;
    case ckpt::dtype::uint16:
    case ckpt::dtype::int16: add_numbers<std::uint16_t>(in, out, n); return true;
    case ckpt::dtype::uint32:
    case ckpt::dtype::int32: add_numbers<std::uint32_t>(in, out, n); return true;
    case ckpt::dtype::uint64:
    case ckpt::dtype::int64: add_numbers<std::uint64_t>(in, out, n); return true;
    default: return false;
    }
}

CKPT_DETAIL_RARE result<void> copy_dense(const tensor_data* handle, const storage_source* source, ckpt::dtype to,
                                         std::byte* out, std::uint64_t room) {
    if (handle != nullptr && handle->refusal == nullptr &&
        (handle->kind < layout::sparse_coo || handle->kind > layout::sparse_bsc))
        return copy_tensor(handle, source, to, true, out, room);
    if (handle == nullptr || handle->refusal != nullptr || source == nullptr) return check_access(handle, source);
    const tensor_data& data = *handle;
    const tensor_data& values = data.extra->parts().back().data;
    if (data.type != to)
        return error{.code = errc::dtype_mismatch,
                     .detail = str_cat("the tensor is ", name(data.type), ", asked for was ", name(to)),
                     .hint = "ask for the tensor's own type"};
    if (room != data.numel)
        return error{.code = errc::size_mismatch,
                     .detail = str_cat("the tensor has ", data.numel, " elements, the destination ", room)};
    if (auto bounded = check_output(values, *source); values.numel != 0 && !bounded) return bounded;
    std::byte none[16]{};
    if (!add_elements(to, none, none, 1))
        return error{.code = errc::unsupported_tensor,
                     .detail = str_cat("a dense copy of a sparse tensor of ", name(to)),
                     .hint = "its parts can be read"};
    const std::size_t size = itemsize(to);
    std::vector<std::byte> stored(static_cast<std::size_t>(bytes_of(to, values.numel)));
    if (auto read = copy_tensor(&values, source, to, true, stored.data(), values.numel); !read) return read;
    // The elements of one index: a block in a block layout, times the dense dimensions.
    const bool blocks = data.kind == layout::sparse_bsr || data.kind == layout::sparse_bsc;
    const std::uint32_t leading = data.kind == layout::sparse_coo
                                      ? static_cast<std::uint32_t>(data.extra->first[0].data.shape[0])
                                      : data.extra->first[0].data.rank + 1;
    std::uint64_t dense = 1;
    for (std::uint32_t i = leading; i < data.rank; ++i) dense *= static_cast<std::uint64_t>(data.shape[i]);
    const std::uint32_t block_at = data.extra->first[0].data.rank; // of the values' dimensions
    const std::uint64_t height = blocks ? static_cast<std::uint64_t>(values.shape[block_at]) : 1;
    const std::uint64_t width = blocks ? static_cast<std::uint64_t>(values.shape[block_at + 1]) : 1;
    const std::uint64_t columns = blocks ? static_cast<std::uint64_t>(data.shape[leading - 1]) / width : 1; // of blocks
    std::memset(out, 0, static_cast<std::size_t>(bytes_of(to, data.numel)));
    return index_walk{data, source}.run([&](std::uint64_t position, std::uint64_t k) {
        const std::byte* from = stored.data() + k * height * width * dense * size;
        if (!blocks) {
            (void)add_elements(to, from, out + position * dense * size, dense);
            return;
        }
        const std::uint64_t row = position / columns;
        const std::uint64_t column = position % columns;
        for (std::uint64_t i = 0; i < height; ++i)
            (void)add_elements(to, from + i * width * dense * size,
                               out + ((row * height + i) * columns * width + column * width) * dense * size,
                               width * dense);
    });
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
