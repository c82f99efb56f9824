// ckpt/maps/torchvision.hpp: maps between old and present names in models of torchvision.
//
// SPDX-License-Identifier: MIT
// In:      nothing; each function gives one map.
// Out:     maps between those names, which published weights still have, and the present ones (torchvision 0.28).
// Refuses: nothing; keys of other models stay as they are.
#pragma once

#include <ckpt/state/key_map.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {
namespace maps {

/// DenseNet's published weights (`densenet121-a639ec97.pth`, written before torch 0.4.1) to the names of the model:
/// `norm.1`, `conv.2` to `norm1`, `conv2`; what densenet._load_state_dict does. They have no `num_batches_tracked`,
/// which torch then takes as 0.
[[nodiscard]] key_map torchvision_densenet_from_earlier();

/// The reverse. Drops `num_batches_tracked`, which those weights do not have.
[[nodiscard]] key_map torchvision_densenet_to_earlier();

/// VisionTransformer as torchvision 0.12 wrote it to the names since 0.13: `mlp.linear_1`, `mlp.linear_2` to `mlp.0`,
/// `mlp.3`; what MLPBlock._load_from_state_dict does.
[[nodiscard]] key_map torchvision_vit_from_earlier();

/// The reverse.
[[nodiscard]] key_map torchvision_vit_to_earlier();

} // namespace maps
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/maps/impl/torchvision.ipp>
#endif
