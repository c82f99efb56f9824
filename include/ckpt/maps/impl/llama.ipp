// ckpt/maps/impl/llama.ipp: the definitions of llama.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/maps/llama.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Fails where no model has these numbers.
[[nodiscard]] inline result<void> check_llama_heads(const maps::llama_heads& of) {
    constexpr std::int64_t most = 1 << 20;
    const auto fits = [](std::int64_t n) { return n >= 1 && n <= most; };
    if (fits(of.heads) && fits(of.kv_heads) && fits(of.head_dim) && of.heads % of.kv_heads == 0 && of.head_dim % 2 == 0)
        return {};
    return error{.code = errc::rule_invalid,
                 .detail = "no Llama has " + decimal(of.heads) + " heads of size " + decimal(of.head_dim) + " and " +
                           decimal(of.kv_heads) +
                           " of keys and values: the size is even, and the first number a multiple of the last"};
}

/// The rules that rename the tensors `from` of `heads` heads to `to` and permute the rows inside each head from
/// (`outer`, rest) to (rest, `outer`), where outer * rest is the size of a head.
inline void append_llama_rows(std::string& out, std::string_view from, std::string_view to, std::string_view to_pattern,
                              std::int64_t heads, std::int64_t outer, std::int64_t rest) {
    const std::string rows = decimal(heads * outer * rest);
    const auto line = [&](std::string_view verb, std::string_view leaf) {
        out.append(verb).append(" ").append(to_pattern).append(leaf).append("\n");
    };
    const std::string split = "reshape (" + decimal(heads) + ", " + decimal(outer) + ", " + decimal(rest) + ", -1)";
    out.append("rename ")
        .append(from)
        .append(".{leaf} -> ")
        .append(to)
        .append(".{leaf} where shape[0] == ")
        .append(rows)
        .append("\n");
    line(split, ".{leaf}");
    line("permute (0, 2, 1, 3)", ".{leaf}");
    line("reshape (" + rows + ", -1)", ".weight");
    line("?reshape (" + rows + ")", ".bias");
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI::maps {

CKPT_DETAIL_DEF result<key_map> hf_llama_to_gguf(const llama_heads& of) {
    if (auto checked = detail::check_llama_heads(of); !checked) return std::move(checked).error();
    std::string text = "?drop model.layers.{i:int}.self_attn.rotary_emb.inv_freq\n";
    detail::append_llama_rows(text, "model.layers.{i:int}.self_attn.q_proj", "blk.{i}.attn_q", "blk.{i:int}.attn_q",
                              of.heads, 2, of.head_dim / 2);
    detail::append_llama_rows(text, "model.layers.{i:int}.self_attn.k_proj", "blk.{i}.attn_k", "blk.{i:int}.attn_k",
                              of.kv_heads, 2, of.head_dim / 2);
    text += R"(
rename model.embed_tokens.weight -> token_embd.weight
rename model.norm.weight -> output_norm.weight
rename model.layers.{i:int}.self_attn.v_proj.{leaf} -> blk.{i}.attn_v.{leaf}
rename model.layers.{i:int}.self_attn.o_proj.{leaf} -> blk.{i}.attn_output.{leaf}
rename model.layers.{i:int}.mlp.{part:gate|up|down}_proj.{leaf} -> blk.{i}.ffn_{part}.{leaf}
rename model.layers.{i:int}.input_layernorm.weight -> blk.{i}.attn_norm.weight
rename model.layers.{i:int}.post_attention_layernorm.weight -> blk.{i}.ffn_norm.weight
)";
    text += of.tied ? "?drop lm_head.weight\n" : "rename lm_head.weight -> output.weight\n";
    return key_map::parse(text, "hf_llama_to_gguf");
}

CKPT_DETAIL_DEF result<key_map> gguf_to_hf_llama(const llama_heads& of) {
    if (auto checked = detail::check_llama_heads(of); !checked) return std::move(checked).error();
    std::string text = "?drop rope_freqs.weight\n";
    detail::append_llama_rows(text, "blk.{i:int}.attn_q", "model.layers.{i}.self_attn.q_proj",
                              "model.layers.{i:int}.self_attn.q_proj", of.heads, of.head_dim / 2, 2);
    detail::append_llama_rows(text, "blk.{i:int}.attn_k", "model.layers.{i}.self_attn.k_proj",
                              "model.layers.{i:int}.self_attn.k_proj", of.kv_heads, of.head_dim / 2, 2);
    text += R"(
rename token_embd.weight -> model.embed_tokens.weight
rename output_norm.weight -> model.norm.weight
rename blk.{i:int}.attn_v.{leaf} -> model.layers.{i}.self_attn.v_proj.{leaf}
rename blk.{i:int}.attn_output.{leaf} -> model.layers.{i}.self_attn.o_proj.{leaf}
rename blk.{i:int}.ffn_{part:gate|up|down}.{leaf} -> model.layers.{i}.mlp.{part}_proj.{leaf}
rename blk.{i:int}.attn_norm.weight -> model.layers.{i}.input_layernorm.weight
rename blk.{i:int}.ffn_norm.weight -> model.layers.{i}.post_attention_layernorm.weight
)";
    text += of.tied ? "tie lm_head.weight = model.embed_tokens.weight\n" : "rename output.weight -> lm_head.weight\n";
    return key_map::parse(text, "gguf_to_hf_llama");
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::maps
