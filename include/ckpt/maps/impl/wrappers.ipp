// ckpt/maps/impl/wrappers.ipp: the definitions of wrappers.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/maps/wrappers.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::maps {

CKPT_DETAIL_DEF key_map without_wrappers() { return key_map{rule("?strip wrappers")}; }

CKPT_DETAIL_DEF key_map averaged_model_to_model() { return key_map{rule("?drop n_averaged"), rule("strip wrappers")}; }

CKPT_DETAIL_DEF key_map model_to_data_parallel() { return key_map{rule("add module.")}; }

CKPT_DETAIL_DEF key_map model_to_compiled() { return key_map{rule("add _orig_mod.")}; }

} // namespace ckpt::inline CKPT_DETAIL_ABI::maps
