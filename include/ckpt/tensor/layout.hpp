// ckpt/tensor/layout.hpp: layouts of tensors, and schemes of quantisation.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/config.hpp>

#include <cstdint>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// How a tensor is stored, as `torch.layout`, and three kinds more: `nested` (a strided nested tensor), `meta` (no
/// values) and `wrapper` (a tensor subclass that holds others). Only `strided` tensors have elements of their own;
/// others have parts (`tensor::parts`), or nothing. A size of a `jagged` or `nested` tensor that differs from row to
/// row is -1.
enum class layout : std::uint8_t {
    strided,
    sparse_coo,
    sparse_csr,
    sparse_csc,
    sparse_bsr,
    sparse_bsc,
    jagged,
    nested,
    meta,
    wrapper
};

/// "strided", "sparse_coo" and so on; NUL-terminated.
[[nodiscard]] constexpr std::string_view name(layout kind) noexcept {
    switch (kind) {
    case layout::strided: return "strided";
    case layout::sparse_coo: return "sparse_coo";
    case layout::sparse_csr: return "sparse_csr";
    case layout::sparse_csc: return "sparse_csc";
    case layout::sparse_bsr: return "sparse_bsr";
    case layout::sparse_bsc: return "sparse_bsc";
    case layout::jagged: return "jagged";
    case layout::nested: return "nested";
    case layout::meta: return "meta";
    case layout::wrapper: return "wrapper";
    }
    return "unknown";
}

/// How integers q of a quantised tensor are converted to numbers: (q - zero_point) * scale. Per tensor there is one
/// scale and zero point, per channel one for each index of an axis. As `torch.qscheme`.
enum class qscheme : std::uint8_t {
    per_tensor_affine,
    per_tensor_symmetric,
    per_channel_affine,
    per_channel_symmetric,
    per_channel_affine_float_qparams ///< scales and zero points are float32
};

/// PyTorch's name without "torch."; NUL-terminated.
[[nodiscard]] constexpr std::string_view name(qscheme scheme) noexcept {
    switch (scheme) {
    case qscheme::per_tensor_affine: return "per_tensor_affine";
    case qscheme::per_tensor_symmetric: return "per_tensor_symmetric";
    case qscheme::per_channel_affine: return "per_channel_affine";
    case qscheme::per_channel_symmetric: return "per_channel_symmetric";
    case qscheme::per_channel_affine_float_qparams: return "per_channel_affine_float_qparams";
    }
    return "unknown";
}

/// How the integers q of a quantised tensor become numbers, (q - zero_point) * scale. Without `scales` one scale is
/// that of all; else each index of one dimension is a channel with a scale of its own. Where torch multiplies as
/// float32, scales are rounded to that. Borrows its arrays, which lie in the memory of whoever computes: for
/// `device_kernels` in that of the device.
struct dequantization {
    double scale{1};            ///< without `scales`
    std::int32_t zero_point{};  ///< without `scales`
    const double* scales{};     ///< one for each channel; null: all elements have one scale
    const float* zero_points{}; ///< one for each channel
    std::uint64_t channels{1};  ///< the size of their dimension, at least 1
    std::uint64_t inner{1};     ///< elements of each index of it: the product of the sizes behind it, at least 1
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
