// ckpt/core/progress.hpp: how far a call has come, and a way to stop it.
//
// SPDX-License-Identifier: MIT
// In:      a function of the program's.
// Out:     one type for all calls that read much: loads, checks, digests, comparisons, uploads.
// Refuses: at compile time, a temporary as callback.
#pragma once

#include <ckpt/core/callback.hpp>
#include <ckpt/core/config.hpp>

#include <cstdint>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// How far a call has come. `done` never goes back, and is `total` in the last call of one that reads everything.
struct progress {
    std::uint64_t done{};  ///< bytes that are through; each function says of what
    std::uint64_t total{}; ///< bytes when all is through
};

/// `bool(const progress&)`. It is called about once for 4 MiB, or for a larger piece that is read at once, only by the
/// thread that made the call. Where it returns false, it is not called again, and the call ends with `cancelled`.
using progress_callback = callback<bool(const progress&)>;

} // namespace ckpt::inline CKPT_DETAIL_ABI
