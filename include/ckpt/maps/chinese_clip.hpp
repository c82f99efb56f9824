// ckpt/maps/chinese_clip.hpp: maps between Chinese-CLIP, its flash-attention form, and Hugging Face's model.
//
// SPDX-License-Identifier: MIT
// In:      nothing; each function gives one map.
// Out:     maps between them for ViT models of any size; flash attention also for the ResNet. All of them remove
//          DDP's `module.` and BERT's pooler, which no form uses and cn_clip drops when it loads.
// Refuses: nothing.
#pragma once

#include <ckpt/state/key_map.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {
namespace maps {

/// `epoch_latest.pt` of cn_clip 1.6 (its training/main.py) to the names that its model wants with flash attention: what
/// convert_state_dict of cn_clip/clip/model.py makes of it, without `module.`.
[[nodiscard]] key_map chinese_clip_to_flash();

/// The reverse.
[[nodiscard]] key_map chinese_clip_from_flash();

/// `epoch_latest.pt` of cn_clip 1.6 to the names of ChineseCLIPModel of transformers: what
/// convert_chinese_clip_original_pytorch_to_hf.py does (in transformers until 4.46).
[[nodiscard]] key_map chinese_clip_to_hf();

/// ChineseCLIPModel of transformers (4 and 5) to the names of cn_clip 1.6. The position_ids that transformers stored
/// until 4.30 are dropped.
[[nodiscard]] key_map chinese_clip_from_hf();

} // namespace maps
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/maps/impl/chinese_clip.ipp>
#endif
