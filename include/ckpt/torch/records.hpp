// ckpt/torch/records.hpp: names of the known frameworks that are kept as inert records.
//
// SPDX-License-Identifier: MIT
// In:      `record_globals` as a part of a policy.
// Out:     nothing but leave to be there: name, arguments, state and items can be read as data.
// Refuses: nothing; names that can only be an attack are refused before these patterns are looked at.
#pragma once

#include <ckpt/pickle/globals.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// What training programs save beside weights: records of the standard library, numpy's types and random state, torch's
/// own objects, and the classes of common frameworks.
struct record_globals {
    static constexpr bool shipped = true;
    static constexpr bool patterns = true;
    static const global_entry entries[156];
};

} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/torch/impl/records.ipp>
#endif
