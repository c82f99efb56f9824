// ckpt/maps/impl/llama.ipp: the definitions of llama.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/str_cat.hpp>
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
                 .detail =
                     str_cat("no Llama has ", of.heads, " heads of size ", of.head_dim, " and ", of.kv_heads,
                             " of keys and values: the size is even, and the first number a multiple of the last")};
}

/// What a form of Llama calls its tensors. Hugging Face's names are written out in the rules below.
struct llama_names {
    const char* form{};
    const char* layer{}; ///< the word before the number of a layer
    const char* query{};
    const char* key{};
    const char* value{};
    const char* output{};
    const char* gate{};
    const char* up{};
    const char* down{};
    const char* attention_norm{};
    const char* ffn_norm{};
    const char* embedding{};
    const char* norm{};
    const char* head{};
    const char* rotation{}; ///< factors that are computed from the configuration
    bool keeps_tied_head{}; ///< whether files of tied models have the head, too
};

inline constexpr llama_names gguf_llama{
    .form = "gguf",
    .layer = "blk",
    .query = "attn_q",
    .key = "attn_k",
    .value = "attn_v",
    .output = "attn_output",
    .gate = "ffn_gate",
    .up = "ffn_up",
    .down = "ffn_down",
    .attention_norm = "attn_norm",
    .ffn_norm = "ffn_norm",
    .embedding = "token_embd",
    .norm = "output_norm",
    .head = "output",
    .rotation = "rope_freqs.weight",
    .keeps_tied_head = false,
};

inline constexpr llama_names meta_llama{
    .form = "meta",
    .layer = "layers",
    .query = "attention.wq",
    .key = "attention.wk",
    .value = "attention.wv",
    .output = "attention.wo",
    .gate = "feed_forward.w1",
    .up = "feed_forward.w3",
    .down = "feed_forward.w2",
    .attention_norm = "attention_norm",
    .ffn_norm = "ffn_norm",
    .embedding = "tok_embeddings",
    .norm = "norm",
    .head = "output",
    .rotation = "rope.freqs",
    .keeps_tied_head = true,
};

/// The rules of one map, from Hugging Face's names or to them.
class llama_rules {
  public:
    llama_rules(const llama_names& names, bool from_hf) : names_{names}, from_hf_{from_hf} {}

    [[nodiscard]] std::string write(const maps::llama_heads& of) {
        out_ = from_hf_ ? std::string("?drop model.layers.{i:int}.self_attn.rotary_emb.inv_freq\n")
                        : str_cat("?drop ", names_.rotation, "\n");
        rows("self_attn.q_proj", names_.query, of.heads, of.head_dim);
        rows("self_attn.k_proj", names_.key, of.kv_heads, of.head_dim);
        layer_part("self_attn.v_proj", names_.value);
        layer_part("self_attn.o_proj", names_.output);
        layer_part("mlp.gate_proj", names_.gate);
        layer_part("mlp.up_proj", names_.up);
        layer_part("mlp.down_proj", names_.down);
        layer_part("input_layernorm", names_.attention_norm);
        layer_part("post_attention_layernorm", names_.ffn_norm);
        rename("model.embed_tokens.weight", str_cat(names_.embedding, ".weight"));
        rename("model.norm.weight", str_cat(names_.norm, ".weight"));
        head(of.tied);
        return std::move(out_);
    }

  private:
    /// The rule that renames `hf` to `other`, or back.
    void rename(std::string_view hf, std::string_view other, std::string_view condition = {}) {
        out_.append("rename ").append(from_hf_ ? hf : other).append(" -> ").append(from_hf_ ? other : hf);
        out_.append(condition).append("\n");
    }

    /// `hf` and `other` below a layer, as a pattern and a template, or the other way round.
    void layer_part(std::string_view hf, std::string_view other, std::string_view condition = {}) {
        rename(str_cat(named(true, from_hf_, hf), ".{leaf}"), str_cat(named(false, !from_hf_, other), ".{leaf}"),
               condition);
    }

    [[nodiscard]] std::string named(bool hf, bool is_pattern, std::string_view part) const {
        std::string out = hf ? "model.layers" : names_.layer;
        return out.append(is_pattern ? ".{i:int}." : ".{i}.").append(part);
    }

    /// The rules that rename the tensors of `heads` heads and permute the rows inside each head: in Hugging Face's form
    /// a row of the first half is (0, i) and its partner (1, i), in the others (i, 0) and (i, 1).
    void rows(std::string_view hf, std::string_view other, std::int64_t heads, std::int64_t head_dim) {
        const std::string all = decimal(heads * head_dim);
        layer_part(hf, other, str_cat(" where shape[0] == ", all));
        const std::string renamed = named(!from_hf_, true, from_hf_ ? other : hf);
        const std::int64_t outer = from_hf_ ? 2 : head_dim / 2;
        const std::string sizes = str_cat("(", heads, ", ", outer, ", ", head_dim / outer, ", -1)");
        out_.append("reshape ").append(sizes).append(" ").append(renamed).append(".{leaf}\n");
        out_.append("permute (0, 2, 1, 3) ").append(renamed).append(".{leaf}\n");
        out_.append("reshape (").append(all).append(", -1) ").append(renamed).append(".weight\n");
        out_.append("?reshape (").append(all).append(") ").append(renamed).append(".bias\n");
    }

    void head(bool tied) {
        const std::string other = str_cat(names_.head, ".weight");
        const std::string embedding = str_cat(names_.embedding, ".weight");
        const std::string from = from_hf_ ? std::string("lm_head.weight") : other;
        if (!tied) return rename("lm_head.weight", other);
        if (from_hf_ || names_.keeps_tied_head) out_.append("?drop ").append(from).append("\n");
        if (!from_hf_) out_ += "tie lm_head.weight = model.embed_tokens.weight\n";
        else if (names_.keeps_tied_head) out_.append("tie ").append(other).append(" = ").append(embedding).append("\n");
    }

    const llama_names& names_;
    bool from_hf_;
    std::string out_{};
};

[[nodiscard]] inline result<key_map> llama_map(const llama_names& names, bool from_hf, const maps::llama_heads& of) {
    if (auto checked = check_llama_heads(of); !checked) return std::move(checked).failure();
    const std::string form(names.form);
    return key_map::parse(llama_rules{names, from_hf}.write(of),
                          from_hf ? str_cat("hf_llama_to_", form) : str_cat(form, "_to_hf_llama"));
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI::maps {

CKPT_DETAIL_DEF result<key_map> hf_llama_to_gguf(const llama_heads& of) {
    return detail::llama_map(detail::gguf_llama, true, of);
}

CKPT_DETAIL_DEF result<key_map> gguf_to_hf_llama(const llama_heads& of) {
    return detail::llama_map(detail::gguf_llama, false, of);
}

CKPT_DETAIL_DEF result<key_map> hf_llama_to_meta(const llama_heads& of) {
    return detail::llama_map(detail::meta_llama, true, of);
}

CKPT_DETAIL_DEF result<key_map> meta_llama_to_hf(const llama_heads& of) {
    return detail::llama_map(detail::meta_llama, false, of);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::maps
