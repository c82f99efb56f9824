// ckpt/state/candidate.hpp: a place in a file that may hold a state_dict.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <string>

namespace ckpt::inline CKPT_DETAIL_ABI {

/// A place that may hold a state_dict: a dictionary of tensors, or a whole pickled module.
struct candidate {
    std::string path{};   ///< as `checkpoint::state_dict` takes it; empty for the root
    std::string reason{}; ///< one clause
    std::size_t tensors{};
    std::uint8_t rank{}; ///< larger is likelier
    bool averaged{};     ///< by its name: EMA, SWA or another average over the steps of training
};

} // namespace ckpt::inline CKPT_DETAIL_ABI
