// ckpt/maps/clip.hpp: the names of OpenAI's CLIP, of OpenCLIP, and of Hugging Face's CLIPModel.
//
// SPDX-License-Identifier: MIT
// In:      nothing; each function gives one map.
// Out:     maps between them for ViT models of any size. OpenAI's names are OpenCLIP's; its TorchScript archives also
// have
//          `input_resolution`, `context_length` and `vocab_size`.
// Refuses: nothing. Hugging Face has no ResNet among its CLIP models.
#pragma once

#include <ckpt/state/key_map.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {
namespace detail {

/// After the rules before: the names and projections of OpenAI's image tower, and blocks of either tower that stand
/// under the names of transformers already, to those of transformers.
template <class... Before> [[nodiscard]] key_map clip_towers_to_hf(const Before&... before) {
    return key_map{
        before...,
        rule("transpose 0 1 visual.proj"),
        rule("transpose 0 1 text_projection"),
        rule("rename visual.proj -> visual_projection.weight"),
        rule("rename text_projection -> text_projection.weight"),
        rule("rename visual.class_embedding -> vision_model.embeddings.class_embedding"),
        rule("rename visual.positional_embedding -> vision_model.embeddings.position_embedding.weight"),
        rule("rename visual.conv1.{leaf} -> vision_model.embeddings.patch_embedding.{leaf}"),
        rule("rename visual.ln_pre.{leaf} -> vision_model.pre_layrnorm.{leaf}"),
        rule("rename visual.ln_post.{leaf} -> vision_model.post_layernorm.{leaf}"),
        rule("rename visual.transformer.resblocks.{i:int}.{rest:**} -> vision_model.encoder.layers.{i}.{rest}"),
        rule("rename {m:text_model|vision_model}.encoder.layers.{i:int}.ln_{n:1|2}.{leaf} -> "
             "{m}.encoder.layers.{i}.layer_norm{n}.{leaf}"),
        rule("rename {m:text_model|vision_model}.encoder.layers.{i:int}.mlp.c_fc.{leaf} -> "
             "{m}.encoder.layers.{i}.mlp.fc1.{leaf}"),
        rule("rename {m:text_model|vision_model}.encoder.layers.{i:int}.mlp.c_proj.{leaf} -> "
             "{m}.encoder.layers.{i}.mlp.fc2.{leaf}"),
        rule("rename {m:text_model|vision_model}.encoder.layers.{i:int}.attn.out_proj.{leaf} -> "
             "{m}.encoder.layers.{i}.self_attn.out_proj.{leaf}"),
        rule("split 0 {m:text_model|vision_model}.encoder.layers.{i:int}.attn.in_proj_{leaf} -> "
             "{m}.encoder.layers.{i}.self_attn.q_proj.{leaf}, {m}.encoder.layers.{i}.self_attn.k_proj.{leaf}, "
             "{m}.encoder.layers.{i}.self_attn.v_proj.{leaf}"),
    };
}

/// The reverse; then the rules after.
template <class... After> [[nodiscard]] key_map clip_towers_from_hf(const After&... after) {
    return key_map{
        rule("?drop {m:text_model|vision_model}.embeddings.position_ids"),
        rule("rename {m:text_model|vision_model}.encoder.layers.{i:int}.layer_norm{n:1|2}.{leaf} -> "
             "{m}.encoder.layers.{i}.ln_{n}.{leaf}"),
        rule("rename {m:text_model|vision_model}.encoder.layers.{i:int}.mlp.fc1.{leaf} -> "
             "{m}.encoder.layers.{i}.mlp.c_fc.{leaf}"),
        rule("rename {m:text_model|vision_model}.encoder.layers.{i:int}.mlp.fc2.{leaf} -> "
             "{m}.encoder.layers.{i}.mlp.c_proj.{leaf}"),
        rule("rename {m:text_model|vision_model}.encoder.layers.{i:int}.self_attn.out_proj.{leaf} -> "
             "{m}.encoder.layers.{i}.attn.out_proj.{leaf}"),
        rule("merge 0 {m:text_model|vision_model}.encoder.layers.{i:int}.self_attn.q_proj.{leaf}, "
             "{m:text_model|vision_model}.encoder.layers.{i:int}.self_attn.k_proj.{leaf}, "
             "{m:text_model|vision_model}.encoder.layers.{i:int}.self_attn.v_proj.{leaf} -> "
             "{m}.encoder.layers.{i}.attn.in_proj_{leaf}"),
        rule("transpose 0 1 visual_projection.weight"),
        rule("transpose 0 1 text_projection.weight"),
        rule("rename visual_projection.weight -> visual.proj"),
        rule("rename text_projection.weight -> text_projection"),
        rule("rename vision_model.embeddings.class_embedding -> visual.class_embedding"),
        rule("rename vision_model.embeddings.position_embedding.weight -> visual.positional_embedding"),
        rule("rename vision_model.embeddings.patch_embedding.{leaf} -> visual.conv1.{leaf}"),
        rule("rename vision_model.pre_layrnorm.{leaf} -> visual.ln_pre.{leaf}"),
        rule("rename vision_model.post_layernorm.{leaf} -> visual.ln_post.{leaf}"),
        rule("rename vision_model.encoder.layers.{i:int}.{rest:**} -> visual.transformer.resblocks.{i}.{rest}"),
        after...,
    };
}

} // namespace detail
} // namespace ckpt::inline CKPT_DETAIL_ABI

namespace ckpt::inline CKPT_DETAIL_ABI {
namespace maps {

/// OpenAI's CLIP (clip/model.py of github.com/openai/CLIP; its state_dict in a TorchScript archive) to the names of
/// OpenCLIP's CLIP: the three sizes go.
[[nodiscard]] key_map openai_clip_to_open_clip();

/// OpenCLIP's CLIP (open_clip 3.3, ViT or ResNet) to its CustomTextCLIP: the text tower moves below `text.`, as
/// convert_to_custom_text_state_dict of open_clip/model.py does it.
[[nodiscard]] key_map open_clip_to_custom_text();

/// The reverse.
[[nodiscard]] key_map open_clip_from_custom_text();

/// OpenCLIP's CLIP and CustomTextCLIP (open_clip 3.3) and OpenAI's CLIP, with a ViT, to the names of CLIPModel of
/// transformers: what convert_clip_original_pytorch_to_hf.py does (in transformers until 4.46). Takes off DDP's
/// `module.` too.
[[nodiscard]] key_map open_clip_to_hf();

/// CLIPModel of transformers (4 and 5) to the names of OpenCLIP's CLIP, which are OpenAI's. The position_ids that
/// transformers stored until 4.30 are dropped.
[[nodiscard]] key_map open_clip_from_hf();

} // namespace maps
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/maps/impl/clip.ipp>
#endif
