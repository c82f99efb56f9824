// ckpt/maps/averages.hpp: averaged weights in the place of the raw ones.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict that holds both, the averages under names without dots: latent diffusion's LitEma.
// Out:     a map that drops each raw tensor for its average. Without it the raw ones stay: the choice is explicit.
// Refuses: an average that belongs to no raw tensor, or to two.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/state/key_map.hpp>
#include <ckpt/state/state_dict.hpp>

#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::maps {

/// The map that puts the averages of `weights` in the place of the raw tensors below `raw`, with one explicit rule for
/// each; raw tensors without an average (buffers) stay. LitEma stores the average of `model.a.b` as `model_ema.ab`:
/// all dots of the name are left out (CompVis/stable-diffusion, ldm/modules/ema.py), so only the names of the raw
/// tensors tell where they belong. Its counters `decay` and `num_updates` are dropped.
[[nodiscard]] result<key_map> averages_to_raw(const state_dict& weights, std::string_view raw = "model.",
                                              std::string_view averages = "model_ema.");

} // namespace ckpt::inline CKPT_DETAIL_ABI::maps

#if !defined(CKPT_COMPILED)
#include <ckpt/maps/impl/averages.ipp>
#endif
