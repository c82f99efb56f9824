// ckpt/tensor/sparse.hpp: sparse tensors as dense ones.
//
// SPDX-License-Identifier: MIT
// In:      a sparse tensor of any layout, of a type that torch can add.
// Out:     its elements in row-major order, as torch's to_dense() gives them.
// Refuses: indices that contradict the shape (rule V3); other types; parts far larger than their storages.
#pragma once

#include <ckpt/tensor/indices.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace detail {

/// Adds `n` elements to others, as torch's to_dense() does where an index is there twice.
template <class T> inline void add_numbers(const std::byte* in, std::byte* out, std::uint64_t n) noexcept {
    for (std::uint64_t i = 0; i < n; ++i) {
        T sum;
        T more;
        std::memcpy(&sum, out + i * sizeof(T), sizeof(T));
        std::memcpy(&more, in + i * sizeof(T), sizeof(T));
        if constexpr (std::is_same_v<T, f16> || std::is_same_v<T, bf16>)
            sum = T::from_float(static_cast<float>(sum) + static_cast<float>(more));
        else if constexpr (std::is_same_v<T, bool>) sum = sum || more;
        else sum = static_cast<T>(sum + more);
        std::memcpy(out + i * sizeof(T), &sum, sizeof(T));
    }
}
/// False for types that torch has no sum for.
[[nodiscard]] bool add_elements(ckpt::dtype type, const std::byte* in, std::byte* out, std::uint64_t n) noexcept;

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
