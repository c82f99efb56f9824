// ckpt/tensor/sparse.hpp: sparse tensors as dense ones.
//
// SPDX-License-Identifier: MIT
// In:      a sparse tensor of any layout, of a type that torch can add.
// Out:     its elements in row-major order, as torch's to_dense() gives them.
// Refuses: indices that contradict the shape (rule V3); other types; parts far larger than their storages.
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
/// Values of one index are added, as torch's to_dense() does; indices are checked on the way. Needs memory for the
/// values beside `out`, which holds anything where it fails. Of a strided tensor it is `copy_to`.
template <element T> [[nodiscard]] result<void> copy_dense(const tensor& from, std::span<T> out) {
    static_assert(sizeof(T) * 8 == bits(dtype_of<T>::value));
    return detail::copy_dense(detail::tensor_access::data(from), detail::tensor_access::source(from),
                              dtype_of<T>::value, reinterpret_cast<std::byte*>(out.data()), out.size());
}

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/tensor/impl/sparse.ipp>
#endif
