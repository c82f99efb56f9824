// ckpt/tensor/indices.hpp: the values that say where others lie: indices of sparse tensors, offsets of nested ones.
//
// SPDX-License-Identifier: MIT
// In:      a tensor whose parts were checked against each other when it was made, without reading them.
// Out:     a verdict on its indices.
// Refuses: indices outside the shape, out of order or there twice where the layout forbids it (rule V3); offsets and
//          sizes outside the buffer.
//
// Opening a file reads no values, so this is done where they are used: by `verify`, by strict listings, before a dense
// copy.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/tensor/tensor.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// Checks what opening leaves for later: the indices of a sparse tensor, the sizes and offsets of a nested or jagged
/// one, those of the parts of a wrapper. Reads them all, in bounded memory. Tensors of other kinds pass. Fails with
/// `indices_invalid`.
[[nodiscard]] result<void> check_values(const tensor& of);

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/tensor/impl/indices.ipp>
#endif
