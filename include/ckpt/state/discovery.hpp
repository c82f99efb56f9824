// ckpt/state/discovery.hpp: finds the state_dicts of a file.
//
// SPDX-License-Identifier: MIT
// In:      the root of a checkpoint.
// Out:     dictionaries of tensors and whole modules, the likeliest first, each with a reason.
// Refuses: nothing. Candidates may be equally likely: there is no silent choice between raw and averaged weights.
//
// The ranks follow the names under which about thirty frameworks save.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/pickle/value.hpp>
#include <ckpt/state/candidate.hpp>

#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// The dictionaries and modules below `root` that may be state_dicts, the likeliest first, equally likely ones in the
/// file's order. Where shared containers make more paths than a limit that depends on the file's size, the numbers of
/// tensors are lower bounds.
[[nodiscard]] std::vector<candidate> find_candidates(const value& root);

namespace detail {

/// The best candidate. Fails with `state_dict_missing` or `state_dict_ambiguous`.
[[nodiscard]] result<candidate> choose(const value& root);

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/state/impl/discovery.ipp>
#endif
