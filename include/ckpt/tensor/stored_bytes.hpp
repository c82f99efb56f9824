// ckpt/tensor/stored_bytes.hpp: the bytes of a tensor's values, as files and digests have them.
//
// SPDX-License-Identifier: MIT
// In:      a tensor of any dtype and strides, whose storage is in memory, in a file, compressed, or gathered.
// Out:     its elements in row-major order, little-endian, without lazy bits; those of packed types as they are stored.
// Refuses: tensors without elements of their own; packed ones that do not begin at a byte or are not contiguous;
//          expanded ones whose elements are far more than their storage has.
#pragma once

#include <ckpt/core/function_ref.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/tensor/geometry.hpp>
#include <ckpt/tensor/parts.hpp>
#include <ckpt/tensor/storage.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Whether `for_each_stored_bytes` would begin; reads nothing. Fails with `no_data`, `not_strided`, `lazy_bit`,
/// `packed`, `output_limit` or the tensor's own refusal.
[[nodiscard]] result<void> check_stored_bytes(const tensor_data* handle, const storage_source* source);

/// Whether the bytes of a tensor that passed `check_stored_bytes` are one range of its storage, unchanged. `offset`
/// and `length`: that range.
[[nodiscard]] bool is_stored_range(const tensor_data& data, const storage_source& source, std::uint64_t& offset,
                                   std::uint64_t& length);

/// Calls `f` for pieces until all bytes were seen, or one fails. Pieces are of a bounded size, but one of all bytes
/// where these are in memory as they are wanted and nobody asks for progress. `readers`: as of `copy_tensor`.
[[nodiscard]] result<void> for_each_stored_bytes(const tensor_data* handle, const storage_source* source,
                                                 storage_readers* readers,
                                                 function_ref<result<void>(std::span<const std::byte>)> f);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/tensor/impl/stored_bytes.ipp>
#endif
