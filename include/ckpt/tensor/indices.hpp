// ckpt/tensor/indices.hpp: checks the indices of sparse tensors and the offsets of nested ones.
//
// SPDX-License-Identifier: MIT
// In:      a tensor whose parts were checked against each other when it was made, without reading them.
// Out:     success, or the first fault.
// Refuses: indices outside the shape; indices out of order or duplicate, where the layout forbids it; offsets and sizes
//          outside the buffer.
//
// Opening a file reads no values. `verify` and dense copies make these checks.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/tensor/tensor.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// Checks what opening does not read: the indices of a sparse tensor, the sizes and offsets of a nested or jagged one,
/// and of all parts of a wrapper. Reads all of them, in bounded memory. Tensors of other kinds pass. Fails with
/// `indices_invalid`, and with `output_limit` for an expanded part that is far larger than its storage.
[[nodiscard]] result<void> check_values(const tensor& of);

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/tensor/impl/indices.ipp>
#endif
