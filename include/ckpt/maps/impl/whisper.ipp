// ckpt/maps/impl/whisper.ipp: the definitions of whisper.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/maps/whisper.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::maps {

CKPT_DETAIL_DEF key_map whisper_openai_to_hf() {
    return key_map{
        rule("rename encoder.{conv:conv1|conv2}.{leaf} -> model.encoder.{conv}.{leaf}"),
        rule("rename {part:encoder|decoder}.positional_embedding -> model.{part}.embed_positions.weight"),
        rule("rename decoder.token_embedding.weight -> model.decoder.embed_tokens.weight"),
        rule("rename encoder.ln_post.{leaf} -> model.encoder.layer_norm.{leaf}"),
        rule("rename decoder.ln.{leaf} -> model.decoder.layer_norm.{leaf}"),
        rule("rename {part:encoder|decoder}.blocks.{i:int}.attn_ln.{leaf} -> "
             "model.{part}.layers.{i}.self_attn_layer_norm.{leaf}"),
        rule("rename {part:encoder|decoder}.blocks.{i:int}.mlp_ln.{leaf} -> "
             "model.{part}.layers.{i}.final_layer_norm.{leaf}"),
        rule("rename {part:encoder|decoder}.blocks.{i:int}.mlp.0.{leaf} -> model.{part}.layers.{i}.fc1.{leaf}"),
        rule("rename {part:encoder|decoder}.blocks.{i:int}.mlp.2.{leaf} -> model.{part}.layers.{i}.fc2.{leaf}"),
        rule("rename {part:encoder|decoder}.blocks.{i:int}.attn.query.{leaf} -> "
             "model.{part}.layers.{i}.self_attn.q_proj.{leaf}"),
        rule("rename {part:encoder|decoder}.blocks.{i:int}.attn.key.{leaf} -> "
             "model.{part}.layers.{i}.self_attn.k_proj.{leaf}"),
        rule("rename {part:encoder|decoder}.blocks.{i:int}.attn.value.{leaf} -> "
             "model.{part}.layers.{i}.self_attn.v_proj.{leaf}"),
        rule("rename {part:encoder|decoder}.blocks.{i:int}.attn.out.{leaf} -> "
             "model.{part}.layers.{i}.self_attn.out_proj.{leaf}"),
        rule("rename decoder.blocks.{i:int}.cross_attn_ln.{leaf} -> "
             "model.decoder.layers.{i}.encoder_attn_layer_norm.{leaf}"),
        rule("rename decoder.blocks.{i:int}.cross_attn.query.{leaf} -> "
             "model.decoder.layers.{i}.encoder_attn.q_proj.{leaf}"),
        rule("rename decoder.blocks.{i:int}.cross_attn.key.{leaf} -> "
             "model.decoder.layers.{i}.encoder_attn.k_proj.{leaf}"),
        rule("rename decoder.blocks.{i:int}.cross_attn.value.{leaf} -> "
             "model.decoder.layers.{i}.encoder_attn.v_proj.{leaf}"),
        rule("rename decoder.blocks.{i:int}.cross_attn.out.{leaf} -> "
             "model.decoder.layers.{i}.encoder_attn.out_proj.{leaf}"),
        rule("tie proj_out.weight = model.decoder.embed_tokens.weight"),
    };
}

CKPT_DETAIL_DEF key_map whisper_hf_to_openai() {
    return key_map{
        rule("?strip model."),
        rule("?drop proj_out.weight"),
        rule("rename {part:encoder|decoder}.embed_positions.weight -> {part}.positional_embedding"),
        rule("rename decoder.embed_tokens.weight -> decoder.token_embedding.weight"),
        rule("rename encoder.layer_norm.{leaf} -> encoder.ln_post.{leaf}"),
        rule("rename decoder.layer_norm.{leaf} -> decoder.ln.{leaf}"),
        rule("rename {part:encoder|decoder}.layers.{i:int}.self_attn_layer_norm.{leaf} -> "
             "{part}.blocks.{i}.attn_ln.{leaf}"),
        rule("rename {part:encoder|decoder}.layers.{i:int}.final_layer_norm.{leaf} -> "
             "{part}.blocks.{i}.mlp_ln.{leaf}"),
        rule("rename {part:encoder|decoder}.layers.{i:int}.fc1.{leaf} -> {part}.blocks.{i}.mlp.0.{leaf}"),
        rule("rename {part:encoder|decoder}.layers.{i:int}.fc2.{leaf} -> {part}.blocks.{i}.mlp.2.{leaf}"),
        rule("rename {part:encoder|decoder}.layers.{i:int}.self_attn.q_proj.{leaf} -> "
             "{part}.blocks.{i}.attn.query.{leaf}"),
        rule("rename {part:encoder|decoder}.layers.{i:int}.self_attn.k_proj.{leaf} -> "
             "{part}.blocks.{i}.attn.key.{leaf}"),
        rule("rename {part:encoder|decoder}.layers.{i:int}.self_attn.v_proj.{leaf} -> "
             "{part}.blocks.{i}.attn.value.{leaf}"),
        rule("rename {part:encoder|decoder}.layers.{i:int}.self_attn.out_proj.{leaf} -> "
             "{part}.blocks.{i}.attn.out.{leaf}"),
        rule("rename decoder.layers.{i:int}.encoder_attn_layer_norm.{leaf} -> "
             "decoder.blocks.{i}.cross_attn_ln.{leaf}"),
        rule("rename decoder.layers.{i:int}.encoder_attn.q_proj.{leaf} -> decoder.blocks.{i}.cross_attn.query.{leaf}"),
        rule("rename decoder.layers.{i:int}.encoder_attn.k_proj.{leaf} -> decoder.blocks.{i}.cross_attn.key.{leaf}"),
        rule("rename decoder.layers.{i:int}.encoder_attn.v_proj.{leaf} -> decoder.blocks.{i}.cross_attn.value.{leaf}"),
        rule("rename decoder.layers.{i:int}.encoder_attn.out_proj.{leaf} -> decoder.blocks.{i}.cross_attn.out.{leaf}"),
    };
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::maps
