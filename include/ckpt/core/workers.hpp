// ckpt/core/workers.hpp: threads that a program lends to a call that reads much.
//
// SPDX-License-Identifier: MIT
// In:      a function of the program's, or `ckpt::threads` (threads.hpp).
// Out:     plain data for the options of calls.
// Refuses: nothing.
#pragma once

#include <ckpt/core/config.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// Threads that a program lends to a call; without any everything is done by the thread that calls. The result does not
/// depend on them.
struct workers {
    /// How many there are, the thread that calls among them.
    unsigned count{1};
    /// Calls `work(argument, 0)` in the thread that calls it, and at the same time `work(argument, n)` for n in
    /// [1, count) in others, each at most once. Returns when all of these have returned. `work` throws only in the
    /// thread that calls. Null: `count` is ignored.
    void (*run)(void* context, unsigned count, void (*work)(void* argument, unsigned number), void* argument){nullptr};
    void* context{nullptr}; ///< for `run`
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
