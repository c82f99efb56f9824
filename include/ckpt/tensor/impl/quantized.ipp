// ckpt/tensor/impl/quantized.ipp: the definitions of quantized.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/str_cat.hpp>
#include <ckpt/tensor/access.hpp>
#include <ckpt/tensor/parts.hpp>
#include <ckpt/tensor/pieces.hpp>
#include <ckpt/tensor/quantized.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <cstddef>
#include <cstring>
#include <string>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

inline result<void> copy_dequantized(const tensor_data* handle, const storage_source* source, std::span<float> out) {
    if (auto usable = check_access(handle, source); !usable) return usable;
    const tensor_data& data = *handle;
    if (!is_quantised(data))
        return error{.code = errc::dtype_mismatch,
                     .detail = str_cat("the tensor is ", name(data.type), ", not quantised"),
                     .hint = "copy_to and copy_as give its values"};
    if (out.size() != data.numel)
        return error{.code = errc::size_mismatch,
                     .detail = str_cat("the tensor has ", data.numel, " elements, the destination ", out.size())};
    return for_each_piece(handle, source, [&](const value_piece& piece) {
        std::memcpy(out.data() + static_cast<std::size_t>(piece.first), piece.values, piece.count * sizeof(float));
    });
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_RARE result<void> copy_dequantized(const tensor& from, std::span<float> out) {
    return detail::copy_dequantized(detail::tensor_access::data(from), detail::tensor_access::source(from), out);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
