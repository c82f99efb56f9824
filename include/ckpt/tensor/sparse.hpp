// ckpt/tensor/sparse.hpp: dense copies of sparse tensors.
//
// SPDX-License-Identifier: MIT
// In:      a sparse tensor of any layout, of an element type that torch can add.
// Out:     its elements in row-major order, as torch's to_dense() gives them.
// Refuses: indices that contradict the shape; other element types; parts far larger than their storages.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {

[[nodiscard]] result<void> copy_dense(const tensor_data* handle, const storage_source* source, ckpt::dtype to,
                                      std::byte* out, std::uint64_t room);

} // namespace detail

/// Copies a sparse tensor as a dense one, in row-major order; `out` has `numel()` elements of the tensor's own type.
/// Values with the same index are added, as torch's to_dense() does. Indices are checked while they are read. Needs
/// memory for a copy of the values. A strided tensor is copied as by `copy_to`. Fails with `dtype_mismatch`,
/// `size_mismatch`, `indices_invalid`, `output_limit`, and `unsupported_tensor` for a type that torch cannot add; the
/// content of `out` is unspecified then.
template <element T> [[nodiscard]] result<void> copy_dense(const tensor& from, std::span<T> out) {
    static_assert(sizeof(T) * 8 == bits(dtype_of<T>::value));
    return detail::copy_dense(detail::tensor_access::data(from), detail::tensor_access::source(from),
                              dtype_of<T>::value, reinterpret_cast<std::byte*>(out.data()), out.size());
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/tensor/impl/sparse.ipp>
#endif
