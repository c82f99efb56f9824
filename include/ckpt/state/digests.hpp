// ckpt/state/digests.hpp: the checksums of many tensors, by several threads.
//
// SPDX-License-Identifier: MIT
// In:      tensors; threads that the program lends.
// Out:     for each tensor what `tensor::crc32` returns.
// Refuses: nothing as a whole: a tensor that has no checksum has an error of its own.
#pragma once

#include <ckpt/core/progress.hpp>
#include <ckpt/core/result.hpp>
#include <ckpt/core/workers.hpp>
#include <ckpt/tensor/tensor.hpp>

#include <cstdint>
#include <span>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// How `digests` reads.
struct digest_options {
    ckpt::workers workers{};      ///< threads for what lies in a file as it is; by default only the calling one
    progress_callback progress{}; ///< gets the bytes of all tensors
};

/// What `tensor::crc32` returns, of each tensor. Tensors that lie in a file as they are, which are nearly all, are read
/// in pieces by all threads; others one after another, so that a compressed storage which several lie in is inflated
/// once: `output_limit` where their order would inflate one more than 64 times. Tensors that are left where `progress`
/// stops the call are `cancelled`.
[[nodiscard]] std::vector<result<std::uint32_t>> digests(std::span<const tensor> of,
                                                         const digest_options& options = {});

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/digests.ipp>
#endif
