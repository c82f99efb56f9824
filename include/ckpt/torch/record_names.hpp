// ckpt/torch/record_names.hpp: names of the standard library, numpy and torch that checkpoints hold beside weights.
//
// SPDX-License-Identifier: MIT
// In:      `record_names` as a part of a policy; it is in `record_globals`.
// Out:     objects whose name, arguments, state and items can be read as data.
// Refuses: nothing.
//
// Each name is listed: a pattern would admit functions, and modules that a module imports.
#pragma once

#include <ckpt/pickle/globals.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// A part of a policy: the names one by one, all of them inert.
struct record_names {
    static constexpr bool shipped = true;
    static constexpr bool patterns = false;
    static const global_entry entries[1535];
};

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/record_names.ipp>
#endif
