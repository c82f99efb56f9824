// ckpt/state/discovery.hpp: where in a file the weights are.
//
// SPDX-License-Identifier: MIT
// In:      the root of a checkpoint.
// Out:     dictionaries of tensors and whole modules, the likeliest first, each with the reason.
// Refuses: nothing. Two that are equally likely stay equal: raw or averaged weights are never chosen silently.
//
// The names are those under which training programs save (a survey of some thirty frameworks).
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/pickle/value.hpp>
#include <ckpt/state/candidate.hpp>

#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// The dictionaries and modules below `root` that may be state_dicts, likeliest first, in the file's order where equal.
/// Where shared containers lead along more paths than the size of the file pays for, counts are lower bounds.
[[nodiscard]] std::vector<candidate> find_candidates(const value& root);

namespace detail {

/// The one best candidate, or why there is none.
[[nodiscard]] result<candidate> choose(const value& root);

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/discovery.ipp>
#endif
