// ckpt/maps/averages.hpp: replaces raw weights by their averages.
//
// SPDX-License-Identifier: MIT
// In:      a state_dict that has both, as latent diffusion's LitEma writes it: the averages have names without dots.
// Out:     a map that replaces each raw tensor by its average. Without this map the raw ones are kept.
// Refuses: an average without a raw tensor, or with two.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/state/key_map.hpp>
#include <ckpt/state/state_dict.hpp>

#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::maps {

/// A map that replaces the raw tensors below `raw` by the averages of `weights`, with one rule for each; raw tensors
/// without an average (buffers) are kept. LitEma stores the average of `model.a.b` as `model_ema.ab`:
/// all dots of the name are left out (CompVis/stable-diffusion, ldm/modules/ema.py), so only the names of the raw
/// tensors tell where they belong. Its counters `decay` and `num_updates` are dropped.
[[nodiscard]] result<key_map> averages_to_raw(const state_dict& weights, std::string_view raw = "model.",
                                              std::string_view averages = "model_ema.");

} // namespace ckpt::inline CKPT_DETAIL_ABI::maps

#if !defined(CKPT_COMPILED)
#include <ckpt/maps/impl/averages.ipp>
#endif
