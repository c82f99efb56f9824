// ckpt/maps/clip.hpp: maps between OpenAI's CLIP, OpenCLIP, and Hugging Face's CLIPModel.
//
// SPDX-License-Identifier: MIT
// In:      nothing; each function gives one map.
// Out:     maps between them for ViT models of any size. OpenAI's names are OpenCLIP's; its TorchScript archives also
//          have `input_resolution`, `context_length` and `vocab_size`.
// Refuses: nothing. Hugging Face has no ResNet among its CLIP models.
#pragma once

#include <ckpt/state/key_map.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {
namespace maps {

/// OpenAI's CLIP (clip/model.py of github.com/openai/CLIP; its state_dict in a TorchScript archive) to the names of
/// OpenCLIP's CLIP. Drops the three sizes.
[[nodiscard]] key_map openai_clip_to_open_clip();

/// OpenCLIP's CLIP (open_clip 3.3, ViT or ResNet) to its CustomTextCLIP: the text tower moves below `text.`, as
/// convert_to_custom_text_state_dict of open_clip/model.py does it.
[[nodiscard]] key_map open_clip_to_custom_text();

/// The reverse.
[[nodiscard]] key_map open_clip_from_custom_text();

/// OpenCLIP's CLIP and CustomTextCLIP (open_clip 3.3) and OpenAI's CLIP, with a ViT, to the names of CLIPModel of
/// transformers: what convert_clip_original_pytorch_to_hf.py does (in transformers until 4.46). Also removes
/// DDP's `module.`.
[[nodiscard]] key_map open_clip_to_hf();

/// CLIPModel of transformers (4 and 5) to the names of OpenCLIP's CLIP, which are OpenAI's. The position_ids that
/// transformers stored until 4.30 are dropped.
[[nodiscard]] key_map open_clip_from_hf();

} // namespace maps
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/maps/impl/clip.ipp>
#endif
