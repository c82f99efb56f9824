// ckpt/maps/clip_towers.hpp: the names of CLIP's image tower and blocks, which several maps have in common.
//
// SPDX-License-Identifier: MIT
// In:      the rules that a map has of its own.
// Out:     the whole map.
// Refuses: nothing.
#pragma once

#include <ckpt/state/key_map.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

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

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
