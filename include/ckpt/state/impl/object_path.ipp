// ckpt/state/impl/object_path.ipp: the definitions of object_path.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/key_path.hpp>
#include <ckpt/state/object_path.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {

CKPT_DETAIL_RARE std::string detail::path_text(std::span<const path_element> path) {
    std::string out;
    for (const path_element& e : path) append_path_element(out, e.text, &e == path.data());
    return out;
}

} // namespace ckpt::inline CKPT_DETAIL_ABI
