// ckpt/threads.hpp: threads for calls that read much, `file.verify({.workers = ckpt::threads()})`.
//
// SPDX-License-Identifier: MIT
// In:      a number.
// Out:     `workers` that start threads for a call, and join them before it returns.
// Refuses: nothing: where the system starts no more threads, fewer do the work.
#pragma once

#include <ckpt/core/workers.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// `count` threads, the calling one among them; 0: as many as the machine runs at once.
[[nodiscard]] workers threads(unsigned count = 0) noexcept;

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/impl/threads.ipp>
#endif
