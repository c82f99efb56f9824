// ckpt/impl/config.ipp: the definitions of config.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/config.hpp>
#include <ckpt/torch/checkpoint_file.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_RARE json_file checkpoint::config(std::string_view name) const {
    return detail::open_config(file_->facts().folder, name, file_->budget());
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
