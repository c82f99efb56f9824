// ckpt/torch/impl/checkpoint_file.ipp: the definitions of checkpoint_file.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/pickle/value_access.hpp>
#include <ckpt/torch/checkpoint_file.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

CKPT_DETAIL_DEF value checkpoint_file::metadata() const {
    const auto found = value_access::make(graph_, graph_.root).state().at("__metadata__");
    return found && (facts_.container == "safetensors" || facts_.container == "shards") ? *found : value{};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
