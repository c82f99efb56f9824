// ckpt/torch/nested.hpp: builders of nested tensors.
//
// SPDX-License-Identifier: MIT
// In:      the arguments of torch._utils._rebuild_nested_tensor (a buffer, and sizes, strides and offset of each tensor
//          in it), and of torch.nested._internal.nested_tensor._rebuild_njt (values, and the offset of each row).
// Out:     tensors of the layouts nested and jagged; a size that differs from row to row is -1.
// Refuses: dtypes, dimensions and counts of parts that disagree. tensor/indices.hpp checks the values of sizes and
//          offsets.
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

/// Reads a node that must be a plain strided tensor, as a part of a nested tensor.
[[nodiscard]] result<void> read_part(call& c, std::uint32_t index, named_data& out);

/// Makes a jagged tensor of its parts, which are named values, offsets, lengths (may be missing) and whatever follows.
/// Checks their dtypes and shapes against each other. `ragged`: the dimension whose size differs from row to row.
[[nodiscard]] result<value> make_jagged(call& c, std::span<const named_data> parts, std::int64_t ragged,
                                        bool requires_grad);

/// Sets the shape of `t`, with strides of 0, because it is not one array. False where the budget is spent.
[[nodiscard]] bool set_shape(call& c, tensor_data& t, std::span<const std::int64_t> shape);

} // namespace rebuild

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/nested.ipp>
#endif
