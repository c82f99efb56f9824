// ckpt/maps/impl/chinese_clip.ipp: the definitions of chinese_clip.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/maps/chinese_clip.hpp>
#include <ckpt/maps/clip_towers.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI::maps {

CKPT_DETAIL_DEF key_map chinese_clip_to_flash() {
    return key_map{
        rule("?strip wrappers"),
        rule("?drop bert.pooler.**"),
        rule("?rename visual.transformer.resblocks.{i:int}.attn.in_proj_{leaf:weight|bias} -> "
             "visual.transformer.resblocks.{i}.attn.Wqkv.{leaf}"),
        rule("rename bert.encoder.layer.{i:int}.attention.output.dense.{leaf} -> "
             "bert.encoder.layer.{i}.attention.self.out_proj.{leaf}"),
        rule("merge 0 {p:**}.self.query.{leaf}, {p:**}.self.key.{leaf}, {p:**}.self.value.{leaf} -> "
             "{p}.self.Wqkv.{leaf}"),
    };
}

CKPT_DETAIL_DEF key_map chinese_clip_from_flash() {
    return key_map{
        rule("?strip wrappers"),
        rule("?drop bert.pooler.**"),
        rule("?rename visual.transformer.resblocks.{i:int}.attn.Wqkv.{leaf:weight|bias} -> "
             "visual.transformer.resblocks.{i}.attn.in_proj_{leaf}"),
        rule("rename bert.encoder.layer.{i:int}.attention.self.out_proj.{leaf} -> "
             "bert.encoder.layer.{i}.attention.output.dense.{leaf}"),
        rule("split 0 {p:**}.self.Wqkv.{leaf} -> {p}.self.query.{leaf}, {p}.self.key.{leaf}, {p}.self.value.{leaf}"),
    };
}

CKPT_DETAIL_DEF key_map chinese_clip_to_hf() {
    return detail::clip_towers_to_hf(rule("?strip wrappers"), rule("?drop bert.pooler.**"),
                                     rule("rename bert.{rest:**} -> text_model.{rest}"));
}

CKPT_DETAIL_DEF key_map chinese_clip_from_hf() {
    return detail::clip_towers_from_hf(rule("?drop text_model.pooler.**"),
                                       rule("rename text_model.{rest:**} -> bert.{rest}"));
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::maps
