// ckpt/tensor/quantized.hpp: the numbers of a quantised tensor.
//
// SPDX-License-Identifier: MIT
// In:      a quantised tensor, per tensor or per channel, packed ones too.
// Out:     float32 values, bit for bit what torch's dequantize() gives on x86-64.
// Refuses: tensors that are not quantised; packed ones that are not contiguous.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// Copies the numbers of a quantised tensor, (q - zero_point) * scale, in row-major order; `out` has `numel()`
/// elements. `bytes`, `view` and `copy_to` give the integers q (of packed types: `copy_as` with std::uint8_t). Fails
/// with `dtype_mismatch` for a tensor that is not quantised, `size_mismatch`, and `packed` for a packed tensor that is
/// not contiguous.
[[nodiscard]] result<void> copy_dequantized(const tensor& from, std::span<float> out);

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/tensor/impl/quantized.ipp>
#endif
