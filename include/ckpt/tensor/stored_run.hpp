// ckpt/tensor/stored_run.hpp: tensors whose values lie in a storage one after another, as they are.
//
// SPDX-License-Identifier: MIT
// In:      a tensor.
// Out:     where its bytes are, for several threads that read them in pieces.
// Refuses: nothing: what is no such tensor has no run, and is read in another way.
#pragma once

#include <ckpt/tensor/geometry.hpp>
#include <ckpt/tensor/storage.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// The bytes of a tensor in its storage. They are its values in row-major order, little-endian.
struct stored_run {
    const storage_source* source{}; ///< null where the tensor is no run
    const std::byte* memory{};      ///< where they are in memory, else null
    std::uint64_t offset{};         ///< in the storage
    std::uint64_t length{};
    std::uint32_t storage{};

    /// Bytes from `at` on, in memory or read to the buffer, as many as fit there; none where that fails.
    [[nodiscard]] std::span<const std::byte> read(std::uint64_t at, std::span<std::byte> buffer) const;
};

/// The run of a tensor with elements whose bytes are, as `for_each_stored_bytes` gives them, one range of a storage
/// that is neither compressed nor gathered.
[[nodiscard]] stored_run find_stored_run(const tensor_data* handle, const storage_source* source);

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

#if !defined(CKPT_COMPILED)
#include <ckpt/tensor/impl/stored_run.ipp>
#endif
