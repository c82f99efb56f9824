// ckpt/torch/sparse.hpp: builders of sparse tensors.
//
// SPDX-License-Identifier: MIT
// In:      the arguments of torch._utils._rebuild_sparse_tensor, as Python and as TorchScript write them, of
//          _rebuild_sparse_csr_tensor (torch 1.8 to 1.13), and of the classes themselves (torch 0.1 to 0.4).
// Out:     tensors of the layouts sparse_coo, sparse_csr, sparse_csc, sparse_bsr and sparse_bsc; indices and values
//          are parts.
// Refuses: rule V3, as far as it can be told without reading values: dtypes, dimensions, counts, blocks that do not
//          divide the shape. The indices themselves are checked when they are used (tensor/indices.hpp).
//
// Sources: torch/_utils.py, aten/src/ATen/native/sparse/ValidateCompressedIndicesCommon.h, SparseTensor.cpp; layouts by
// number: c10/core/Layout.h.
#pragma once

#include <ckpt/torch/rebuild.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

namespace rebuild {

/// A layout as torch.serialization._get_layout('torch.sparse_coo') or as its number in C++; `strided` for any other.
[[nodiscard]] layout read_sparse_layout(const graph& g, std::uint32_t index);

[[nodiscard]] inline bool is_index_type(ckpt::dtype type) noexcept {
    return type == ckpt::dtype::int64 || type == ckpt::dtype::int32;
}

/// What is wrong with the parts of a COO tensor of the shape of `t`; nothing where they agree.
[[nodiscard]] std::string coo_fault(const tensor_data& t, const tensor_data& indices, const tensor_data& values);

/// The same of a compressed layout: batch dimensions, then rows and columns, then dense ones.
[[nodiscard]] std::string compressed_fault(const tensor_data& t, const tensor_data& compressed,
                                           const tensor_data& plain, const tensor_data& values);

/// The shape of a tensor whose elements are none of its own: strides as if it were dense.
[[nodiscard]] result<void> read_shape(call& c, std::uint32_t size, tensor_data& t);

/// A sparse tensor of `kind`; `indices` and `plain` are one for COO.
[[nodiscard]] result<value> make_sparse(call& c, layout kind, std::uint32_t size, std::uint32_t indices,
                                        std::uint32_t plain, std::uint32_t values, bool requires_grad, bool coalesced);

} // namespace rebuild

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/sparse.ipp>
#endif
