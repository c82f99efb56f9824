// ckpt/torch/quantized.hpp: builder of quantised tensors.
//
// SPDX-License-Identifier: MIT
// In:      the arguments of torch._utils._rebuild_qtensor, as Python and C++ write them (torch 1.3 to 2.15).
// Out:     strided tensors of qint8, quint8, qint32, quint4x2 or quint2x4 with a quantizer; per channel, the scales and
//          the zero points are parts.
// Refuses: rule V3: a storage of another type, an axis outside the shape, as many scales or zero points as the axis has
//          not, geometry outside the storage.
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

/// torch.per_tensor_affine and its kin, as a global; false for anything else.
[[nodiscard]] bool read_scheme(const graph& g, const node& n, qscheme& out) noexcept;

[[nodiscard]] bool read_number(const node& n, double& out) noexcept;

/// Scales or zero points as a list of numbers, as early versions wrote them: a tensor over memory of the graph.
[[nodiscard]] bool tensor_of_list(call& c, const node& list, bool integers, tensor_data& out);

/// The quantizer of (scheme, scale, zero point) or (scheme, scales, zero points, axis).
[[nodiscard]] result<void> read_quantizer(call& c, std::uint32_t parameters, tensor_extra& out, named_data (&parts)[2]);

} // namespace rebuild

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/quantized.ipp>
#endif
