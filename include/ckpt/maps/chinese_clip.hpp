// ckpt/maps/chinese_clip.hpp: the names of Chinese-CLIP, of its flash-attention form, and of Hugging Face's model.
//
// SPDX-License-Identifier: MIT
// In:      nothing; each function gives one map.
// Out:     maps between them for ViT models of any size; flash attention also for the ResNet. All of them take off DDP's
//          `module.`, and leave out BERT's pooler, which no form uses and cn_clip drops when it loads.
// Refuses: nothing.
#pragma once

#include <ckpt/state/key_map.hpp>

namespace ckpt::inline CKPT_DETAIL_ABI { namespace maps {

/// `epoch_latest.pt` of cn_clip 1.6 (its training/main.py) to the names that its model wants with flash attention: what
/// convert_state_dict of cn_clip/clip/model.py makes of it, without `module.`.
[[nodiscard]] inline key_map chinese_clip_to_flash() {
    return key_map{
        rule("?strip wrappers"),
        rule("?drop bert.pooler.**"),
        rule("?rename visual.transformer.resblocks.{i:int}.attn.in_proj_{leaf:weight|bias} -> visual.transformer.resblocks.{i}.attn.Wqkv.{leaf}"),
        rule("rename bert.encoder.layer.{i:int}.attention.output.dense.{leaf} -> bert.encoder.layer.{i}.attention.self.out_proj.{leaf}"),
        rule("merge 0 {p:**}.self.query.{leaf}, {p:**}.self.key.{leaf}, {p:**}.self.value.{leaf} -> {p}.self.Wqkv.{leaf}"),
    };
}

/// The reverse.
[[nodiscard]] inline key_map chinese_clip_from_flash() {
    return key_map{
        rule("?strip wrappers"),
        rule("?drop bert.pooler.**"),
        rule("?rename visual.transformer.resblocks.{i:int}.attn.Wqkv.{leaf:weight|bias} -> visual.transformer.resblocks.{i}.attn.in_proj_{leaf}"),
        rule("rename bert.encoder.layer.{i:int}.attention.self.out_proj.{leaf} -> bert.encoder.layer.{i}.attention.output.dense.{leaf}"),
        rule("split 0 {p:**}.self.Wqkv.{leaf} -> {p}.self.query.{leaf}, {p}.self.key.{leaf}, {p}.self.value.{leaf}"),
    };
}

/// `epoch_latest.pt` of cn_clip 1.6 to the names of ChineseCLIPModel of transformers: what
/// convert_chinese_clip_original_pytorch_to_hf.py does (in transformers until 4.46).
[[nodiscard]] inline key_map chinese_clip_to_hf() {
    return key_map{
        rule("?strip wrappers"),
        rule("?drop bert.pooler.**"),
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
        rule("rename vision_model.encoder.layers.{i:int}.ln_{n:1|2}.{leaf} -> vision_model.encoder.layers.{i}.layer_norm{n}.{leaf}"),
        rule("rename vision_model.encoder.layers.{i:int}.mlp.c_fc.{leaf} -> vision_model.encoder.layers.{i}.mlp.fc1.{leaf}"),
        rule("rename vision_model.encoder.layers.{i:int}.mlp.c_proj.{leaf} -> vision_model.encoder.layers.{i}.mlp.fc2.{leaf}"),
        rule("rename vision_model.encoder.layers.{i:int}.attn.out_proj.{leaf} -> vision_model.encoder.layers.{i}.self_attn.out_proj.{leaf}"),
        rule("split 0 vision_model.encoder.layers.{i:int}.attn.in_proj_{leaf} -> vision_model.encoder.layers.{i}.self_attn.q_proj.{leaf}, vision_model.encoder.layers.{i}.self_attn.k_proj.{leaf}, vision_model.encoder.layers.{i}.self_attn.v_proj.{leaf}"),
        rule("rename bert.{rest:**} -> text_model.{rest}"),
    };
}

/// ChineseCLIPModel of transformers (4 and 5) to the names of cn_clip 1.6. The position_ids that transformers stored until
/// 4.30 are dropped.
[[nodiscard]] inline key_map chinese_clip_from_hf() {
    return key_map{
        rule("?drop {m:text_model|vision_model}.embeddings.position_ids"),
        rule("?drop text_model.pooler.**"),
        rule("rename vision_model.encoder.layers.{i:int}.layer_norm{n:1|2}.{leaf} -> vision_model.encoder.layers.{i}.ln_{n}.{leaf}"),
        rule("rename vision_model.encoder.layers.{i:int}.mlp.fc1.{leaf} -> vision_model.encoder.layers.{i}.mlp.c_fc.{leaf}"),
        rule("rename vision_model.encoder.layers.{i:int}.mlp.fc2.{leaf} -> vision_model.encoder.layers.{i}.mlp.c_proj.{leaf}"),
        rule("rename vision_model.encoder.layers.{i:int}.self_attn.out_proj.{leaf} -> vision_model.encoder.layers.{i}.attn.out_proj.{leaf}"),
        rule("merge 0 vision_model.encoder.layers.{i:int}.self_attn.q_proj.{leaf}, vision_model.encoder.layers.{i:int}.self_attn.k_proj.{leaf}, vision_model.encoder.layers.{i:int}.self_attn.v_proj.{leaf} -> vision_model.encoder.layers.{i}.attn.in_proj_{leaf}"),
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
        rule("rename text_model.{rest:**} -> bert.{rest}"),
    };
}

}} // namespace ckpt::inline CKPT_DETAIL_ABI::maps
