// ckpt/state/lineage.hpp: where the tensors of a remapped or overlaid state_dict came from.
//
// SPDX-License-Identifier: MIT
// In:      what a plan did to the keys of its source.
// Out:     for each entry its keys in the source and what was done on the way; what was dropped, by which rule.
// Refuses: nothing: plain data, written once by `remap`.
#pragma once

#include <ckpt/core/shared.hpp>

#include <string>
#include <vector>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Travels with a state_dict, so that a load can say which source key became which target, and which never will.
struct lineage final : counted {
    struct origin {
        std::vector<std::string> from{};  ///< keys of the source; several for a merge, none for a filled entry
        std::string chain{};              ///< what the rules did, in order: "strip, merge"; empty: nothing
        std::vector<std::string> alias{}; ///< other source keys that were the same view and were merged into it
        bool cast{false};                 ///< a cast is part of the chain
        bool converted{false};            ///< more than its name changed
    };
    struct loss {
        std::string from{};
        std::string rule{};
    };
    std::vector<origin> entries{}; ///< one for each entry of the state_dict, in its order
    std::vector<loss> dropped{};
};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
