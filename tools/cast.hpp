// tools/cast.hpp: what `ckpt convert --dtype` does.
//
// SPDX-License-Identifier: MIT
// In:      options, a state_dict.
// Out:     the state_dict with its casts; what was cast, what was not, and patterns that did nothing.
// Refuses: a whole key whose tensor cannot be cast, and casts that lose what values mean.
#pragma once

#include "commands.hpp"
#include "json.hpp"

#include <ckpt/state/state_dict.hpp>
#include <ckpt/write/gguf.hpp>

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tool {

/// A cast that was asked for, and changes something.
struct cast_tensor {
    std::string key{};
    ckpt::dtype from{};
    std::string_view to{}; // a dtype, or how it is quantised
};

struct cast_weights {
    ckpt::state_dict weights;
    std::vector<cast_tensor> casts{};      // those that are quantised first
    std::vector<ckpt::kept_tensor> kept{}; // what a pattern with a wildcard passed over
    std::vector<std::string> notes{};
};

/// The casts of --dtype. Of several patterns that match a key the last counts; to a floating dtype only floating
/// tensors are cast. `quantised`: stay as they are, in the order of the state_dict.
[[nodiscard]] ckpt::result<cast_weights> cast(const options& wanted, const ckpt::state_dict& weights,
                                              std::span<const ckpt::quantised_tensor> quantised);

} // namespace tool
