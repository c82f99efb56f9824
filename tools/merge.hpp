// tools/merge.hpp: `ckpt convert --base`: the weights of IN over those of a base.
//
// SPDX-License-Identifier: MIT
// In:      the weights of IN, which may be an adapter; the path of a base.
// Out:     the weights of the base with those of IN laid over them, or with the adapter merged into them.
// Refuses: adapters whose configuration says that a sum is not what they mean; scales that nobody knows.
#pragma once

#include "common.hpp"

#include <ckpt/state/lora.hpp>

#include <string>
#include <utility>
#include <vector>

namespace tool {

/// A base, and what became of the keys of IN.
struct based_weights {
    ckpt::checkpoint base;
    ckpt::state_dict from_base; ///< the weights of the base
    ckpt::state_dict weights;   ///< those with IN over them
    std::vector<ckpt::lora_merged::merge> merged{};
    std::vector<std::string> replaced{}; ///< keys of the base whose tensors are those of IN
    std::vector<std::string> added{};    ///< keys of IN that the base does not have
    /// Keys of IN that nothing was done with.
    std::vector<std::pair<std::string, ckpt::error>> unused{};
};

/// Lays `from`, the weights of `in`, over those of --base; with --merge-lora its low-rank pairs are merged into them.
[[nodiscard]] ckpt::result<based_weights> lay_over_base(const options& wanted, const ckpt::checkpoint& in,
                                                        const ckpt::state_dict& from);

/// For people: a line for each key that was merged, replaced, added or left unused.
void print_based(const based_weights& done, bool is_allowed);
/// For scripts: the same, as members of a document that was begun.
void write_based(json& to, const options& wanted, const based_weights& done);

} // namespace tool
