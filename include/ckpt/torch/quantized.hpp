// ckpt/torch/quantized.hpp: builder of quantised tensors.
//
// SPDX-License-Identifier: MIT
// In:      the arguments of torch._utils._rebuild_qtensor, as Python and C++ write them (torch 1.3 to 2.15).
// Out:     strided tensors of qint8, quint8, qint32, quint4x2 or quint2x4 with a quantizer; per channel, the scales and
//          the zero points are parts.
// Refuses: a storage of another type, an axis outside the shape, a number of scales or zero points that is not the size
//          of the axis, geometry outside the storage.
#pragma once

#include <ckpt/tensor/half.hpp>
#include <ckpt/torch/rebuild.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

namespace rebuild {

/// Reads a scheme, which is a global such as torch.per_tensor_affine; false for another node.
[[nodiscard]] bool read_scheme(const graph& g, const node& n, qscheme& out) noexcept;

[[nodiscard]] bool read_number(const node& n, double& out) noexcept;

/// Makes a tensor in memory of the graph from a list of numbers: early versions wrote scales and zero points like this.
[[nodiscard]] bool tensor_of_list(call& c, const node& list, bool integers, tensor_data& out);

/// Reads the tuple (scheme, scale, zero point) or (scheme, scales, zero points, axis).
[[nodiscard]] result<void> read_quantizer(call& c, std::uint32_t parameters, tensor_extra& out, named_data (&parts)[2]);

} // namespace rebuild

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/quantized.ipp>
#endif
