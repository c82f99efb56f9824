// ckpt/torch/nested.hpp: builders of nested tensors.
//
// SPDX-License-Identifier: MIT
// In:      the arguments of torch._utils._rebuild_nested_tensor (a buffer, and what each tensor in it has for sizes),
//          and of torch.nested._internal.nested_tensor._rebuild_njt (values, and where each row of the batch begins).
// Out:     tensors of the layouts nested and jagged; a size that differs from row to row is -1.
// Refuses: dtypes, dimensions and counts of parts that disagree. Sizes and offsets themselves are checked when they
//          are used (tensor/indices.hpp).
#pragma once

#include <ckpt/torch/rebuild.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

namespace rebuild {

/// A strided part of a nested tensor.
[[nodiscard]] result<void> read_part(call& c, std::uint32_t index, named_data& out);

/// Gives `t` this shape, and strides of 0: there is no one array.
[[nodiscard]] bool set_shape(call& c, tensor_data& t, std::span<const std::int64_t> shape);

} // namespace rebuild

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/nested.ipp>
#endif
