// bench/rules.hpp: the map of the planning benchmarks: 20 rules of the kinds that engines write.
//
// SPDX-License-Identifier: MIT
// Two of them move every key of bench::key_of, one touches every weight; most look at every key in vain, as in a
// file that is not quite the one that the map was written for.
#pragma once

#include <ckpt/ckpt.hpp>

namespace bench {

inline ckpt::key_map twenty_rules() {
    return ckpt::key_map{
        ckpt::rule("strip wrappers"),
        ckpt::strip_prefix("model."),
        ckpt::rule("?drop **.rotary_emb.inv_freq"),
        ckpt::rule("?drop **.position_ids"),
        ckpt::rule("?drop **.num_batches_tracked where numel == 1"),
        ckpt::rename("layers.{i:int}.attention.{leaf:weight|bias}", "blocks.{i}.attn.qkv.{leaf}"),
        ckpt::rule("rename layers.{i:int}.input_layernorm.{leaf} -> blocks.{i}.norm1.{leaf}"),
        ckpt::rule("rename layers.{i:int}.post_attention_layernorm.{leaf} -> blocks.{i}.norm2.{leaf}"),
        ckpt::rule(
            "rename layers.{i:int}.mlp.{part:gate_proj|up_proj|down_proj}.{leaf} -> blocks.{i}.ffn.{part}.{leaf}"),
        ckpt::rule("rename {p:**}.gamma -> {p}.weight"),
        ckpt::rule("rename {p:**}.beta -> {p}.bias"),
        ckpt::rule("rename embed_tokens.weight -> embed.weight"),
        ckpt::rule("rename norm.{leaf} -> final.{leaf}"),
        ckpt::rule("merge 0 {p:**}.q_proj.{leaf}, {p:**}.k_proj.{leaf}, {p:**}.v_proj.{leaf} -> {p}.qkv_proj.{leaf}"),
        ckpt::rule("merge 0 {p:**}.gate_proj.{leaf}, {p:**}.up_proj.{leaf} -> {p}.gate_up.{leaf}"),
        ckpt::rule("stack 0 {p:**}.experts.{e:int}.{leaf} -> {p}.experts.{leaf} by {e}"),
        ckpt::rule("transpose 0 1 blocks.*.conv1d.weight where ndim == 2"),
        ckpt::rule("squeeze **.time_* where ndim == 3"),
        ckpt::rule("unsqueeze 0 **.attn.qkv.weight where ndim == 1 and not has(\"quantized\")"),
        ckpt::rule("tie lm_head.weight = embed.weight"),
    };
}

} // namespace bench
