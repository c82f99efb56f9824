// ckpt/maps/chinese_clip.hpp: the names of Chinese-CLIP, of its flash-attention form, and of Hugging Face's model.
//
// SPDX-License-Identifier: MIT
// In:      nothing; each function gives one map.
// Out:     maps between them for ViT models of any size; flash attention also for the ResNet. All of them take off
// DDP's
//          `module.`, and leave out BERT's pooler, which no form uses and cn_clip drops when it loads.
// Refuses: nothing.
#pragma once

#include <ckpt/maps/clip.hpp>
#include <ckpt/state/key_map.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI {
namespace maps {

/// `epoch_latest.pt` of cn_clip 1.6 (its training/main.py) to the names that its model wants with flash attention: what
/// convert_state_dict of cn_clip/clip/model.py makes of it, without `module.`.
[[nodiscard]] inline key_map chinese_clip_to_flash() {
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

/// The reverse.
[[nodiscard]] inline key_map chinese_clip_from_flash() {
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

/// `epoch_latest.pt` of cn_clip 1.6 to the names of ChineseCLIPModel of transformers: what
/// convert_chinese_clip_original_pytorch_to_hf.py does (in transformers until 4.46).
[[nodiscard]] inline key_map chinese_clip_to_hf() {
    return detail::clip_towers_to_hf(rule("?strip wrappers"), rule("?drop bert.pooler.**"),
                                     rule("rename bert.{rest:**} -> text_model.{rest}"));
}

/// ChineseCLIPModel of transformers (4 and 5) to the names of cn_clip 1.6. The position_ids that transformers stored
/// until 4.30 are dropped.
[[nodiscard]] inline key_map chinese_clip_from_hf() {
    return detail::clip_towers_from_hf(rule("?drop text_model.pooler.**"),
                                       rule("rename text_model.{rest:**} -> bert.{rest}"));
}

} // namespace maps
} // namespace ckpt::inline CKPT_DETAIL_ABI
