// ckpt/maps/impl/clip.ipp: the definitions of clip.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/maps/clip.hpp>
#include <ckpt/maps/clip_towers.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::maps {

CKPT_DETAIL_DEF key_map openai_clip_to_open_clip() {
    return key_map{
        rule("?drop {size:input_resolution|context_length|vocab_size}"),
    };
}

CKPT_DETAIL_DEF key_map open_clip_to_custom_text() {
    return key_map{
        rule("rename {part:transformer|token_embedding|ln_final|text_projection|positional_embedding}.{rest:**} -> "
             "text.{part}.{rest}"),
    };
}

CKPT_DETAIL_DEF key_map open_clip_from_custom_text() {
    return key_map{
        rule("strip text."),
    };
}

CKPT_DETAIL_DEF key_map open_clip_to_hf() {
    return detail::clip_towers_to_hf(
        rule("?strip wrappers"), rule("?strip text."), rule("?drop {size:input_resolution|context_length|vocab_size}"),
        rule("rename token_embedding.weight -> text_model.embeddings.token_embedding.weight"),
        rule("rename positional_embedding -> text_model.embeddings.position_embedding.weight"),
        rule("rename ln_final.{leaf} -> text_model.final_layer_norm.{leaf}"),
        rule("rename transformer.resblocks.{i:int}.{rest:**} -> text_model.encoder.layers.{i}.{rest}"));
}

CKPT_DETAIL_DEF key_map open_clip_from_hf() {
    return detail::clip_towers_from_hf(
        rule("rename text_model.embeddings.token_embedding.weight -> token_embedding.weight"),
        rule("rename text_model.embeddings.position_embedding.weight -> positional_embedding"),
        rule("rename text_model.final_layer_norm.{leaf} -> ln_final.{leaf}"),
        rule("rename text_model.encoder.layers.{i:int}.{rest:**} -> transformer.resblocks.{i}.{rest}"));
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::maps
