// tools/weight_norm.hpp: `ckpt convert --fold-weight-norm`.
//
// SPDX-License-Identifier: MIT
// In:      weights, some of which torch's weight normalisation keeps as g and v.
// Out:     the weights themselves; what was folded, and what could not be.
// Refuses: what reading refuses.
#pragma once

#include "common.hpp"

#include <ckpt/state/weight_norm.hpp>

namespace tool {

/// Folds the weights, and shows how far that is.
[[nodiscard]] ckpt::result<ckpt::weight_norm_folded> fold_weights(const options& wanted,
                                                                  const ckpt::state_dict& weights);

/// For people: a line for each weight, and for each key that stays as it is.
void print_folded(const ckpt::weight_norm_folded& done, bool is_allowed);
/// For scripts: the same, as members of a document that was begun.
void write_folded(json& to, const ckpt::weight_norm_folded& done);

} // namespace tool
