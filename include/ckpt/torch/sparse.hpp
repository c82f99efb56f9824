// ckpt/torch/sparse.hpp: builders of sparse tensors.
//
// SPDX-License-Identifier: MIT
// In:      the arguments of torch._utils._rebuild_sparse_tensor, as Python and as TorchScript write them, of
//          _rebuild_sparse_csr_tensor (torch 1.8 to 1.13), and of the classes themselves (torch 0.1 to 0.4).
// Out:     tensors of the layouts sparse_coo, sparse_csr, sparse_csc, sparse_bsr and sparse_bsc; indices and values
//          are parts.
// Refuses: dtypes, dimensions and counts of parts that disagree, blocks that do not divide the shape. Reads no values:
//          tensor/indices.hpp checks the indices.
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

/// Reads a layout, which is the call torch.serialization._get_layout('torch.sparse_coo') or its number in C++.
/// `strided` for other nodes.
[[nodiscard]] layout read_sparse_layout(const graph& g, std::uint32_t index);

[[nodiscard]] inline bool is_index_type(ckpt::dtype type) noexcept {
    return type == ckpt::dtype::int64 || type == ckpt::dtype::int32;
}

/// What is wrong with the parts of a COO tensor with the shape of `t`; empty where they agree.
[[nodiscard]] std::string coo_fault(const tensor_data& t, const tensor_data& indices, const tensor_data& values);

/// The same for a compressed layout: the shape has batch dimensions, then rows and columns, then dense dimensions.
[[nodiscard]] std::string compressed_fault(const tensor_data& t, const tensor_data& compressed,
                                           const tensor_data& plain, const tensor_data& values);

/// Reads the shape of a tensor without elements of its own, and sets the strides of a dense one.
[[nodiscard]] result<void> read_shape(call& c, std::uint32_t size, tensor_data& t);

/// Makes a sparse tensor of `kind`. For COO `indices` and `plain` are the same node.
[[nodiscard]] result<value> make_sparse(call& c, layout kind, std::uint32_t size, std::uint32_t indices,
                                        std::uint32_t plain, std::uint32_t values, bool requires_grad, bool coalesced);

} // namespace rebuild

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/sparse.ipp>
#endif
