// ckpt/state/candidate.hpp: a place in a file that may hold a state_dict.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// A place that may hold a state_dict: a dictionary of tensors or numpy arrays, or a whole pickled module.
struct candidate {
    std::string path{};    ///< for `checkpoint::state_dict(path)`; empty for the root
    std::string reason{};  ///< why it may be one: text for people
    std::size_t tensors{}; ///< number of tensors and numpy arrays below it
    std::uint8_t rank{};   ///< how likely it is: larger is likelier
    bool averaged{};       ///< whether its name says EMA, SWA or another average over training steps
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
