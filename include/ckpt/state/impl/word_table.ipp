// ckpt/state/impl/word_table.ipp: the definitions of word_table.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/state/word_table.hpp>

#include <algorithm>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

struct synonym {
    std::string_view word{};
    std::string_view means{}; ///< words, separated by a blank
};
/// Of whole segments: words alone would not tell which of the two norms of a block is meant.
inline constexpr synonym segment_synonyms[]{
    {"input_layernorm", "attn norm"},
    {"layernorm_before", "attn norm"},
    {"ln_1", "attn norm"},
    {"norm1", "attn norm"},
    {"attention_norm", "attn norm"},
    {"attn_norm", "attn norm"},
    {"layer_norm1", "attn norm"},
    {"self_attn_layer_norm", "attn norm"},
    {"ln_2", "mlp norm"},
    {"norm2", "mlp norm"},
    {"ffn_norm", "mlp norm"},
    {"layer_norm2", "mlp norm"},
    {"post_attention_layernorm", "mlp norm"},
    {"layernorm_after", "mlp norm"},
    {"final_layer_norm", "mlp norm"},
    {"c_fc", "mlp up"},
    {"fc1", "mlp up"},
    {"linear1", "mlp up"},
    {"fc2", "mlp down"},
    {"linear2", "mlp down"},
    {"w1", "mlp gate"},
    {"w2", "mlp down"},
    {"w3", "mlp up"},
    {"lm_head", "head out"},
    {"conv_proj", "patch emb"},
    {"patch_embed", "patch emb"},
    {"patch_embeddings", "patch emb"},
    {"patch_embedding", "patch emb"},
    {"wte", "token emb"},
    {"wpe", "pos emb"},
    {"word_embeddings", "token emb"},
    {"embed_tokens", "token emb"},
    {"class_token", "class emb"},
    {"cls_token", "class emb"},
};
/// Of single words.
inline constexpr synonym word_synonyms[]{
    {"layernorm", "norm"},
    {"ln", "norm"},
    {"bn", "norm"},
    {"batchnorm", "norm"},
    {"rmsnorm", "norm"},
    {"groupnorm", "norm"},
    {"gamma", "weight"},
    {"beta", "bias"},
    {"kernel", "weight"},
    {"query", "q"},
    {"key", "k"},
    {"value", "v"},
    {"attention", "attn"},
    {"mha", "attn"},
    {"output", "out"},
    {"o", "out"},
    {"projection", "proj"},
    {"dense", "linear"},
    {"fc", "linear"},
    {"lin", "linear"},
    {"ffn", "mlp"},
    {"feedforward", "mlp"},
    {"intermediate", "mlp up"},
    {"embedding", "emb"},
    {"embeddings", "emb"},
    {"embed", "emb"},
    {"embd", "emb"},
    {"tok", "token"},
    {"tokens", "token"},
    {"word", "token"},
    {"position", "pos"},
    {"positional", "pos"},
    {"block", "layer"},
    {"blocks", "layer"},
    {"layers", "layer"},
    {"resblocks", "layer"},
    {"blk", "layer"},
    {"h", "layer"},
    {"classifier", "head"},
    {"heads", "head"},
    {"shortcut", "downsample"},
    {"skip", "downsample"},
    {"vision", "visual"},
    {"image", "visual"},
    {"bert", "text"},
    {"cls", "class"},
};

CKPT_DETAIL_DEF std::vector<std::uint32_t> word_table::words(std::string_view name) {
    std::vector<std::uint32_t> out;
    for (std::size_t at = 0; at <= name.size();) {
        const std::size_t end = (std::min)(name.find('.', at), name.size());
        add_segment(name.substr(at, end - at), out);
        at = end + 1;
    }
    std::sort(out.begin(), out.end());
    out.erase(std::unique(out.begin(), out.end()), out.end());
    return out;
}

CKPT_DETAIL_DEF void word_table::add_segment(std::string_view segment, std::vector<std::uint32_t>& out) {
    for (const synonym& known : segment_synonyms)
        if (known.word == segment) return add(known.means, out);
    std::string w;
    bool lower = false;
    for (const char c : segment) {
        const bool capital = c >= 'A' && c <= 'Z';
        const bool letter = capital || (c >= 'a' && c <= 'z') || static_cast<unsigned char>(c) >= 0x80;
        if ((!letter || (capital && lower)) && !w.empty()) {
            add_word(w, out);
            w.clear();
        }
        lower = letter && !capital;
        if (letter) w += capital ? static_cast<char>(c - 'A' + 'a') : c;
    }
    if (!w.empty()) add_word(w, out);
}

CKPT_DETAIL_DEF void word_table::add_word(std::string_view word, std::vector<std::uint32_t>& out) {
    for (const synonym& s : word_synonyms)
        if (s.word == word) return add(s.means, out);
    add(word, out);
}

CKPT_DETAIL_DEF void word_table::add(std::string_view means, std::vector<std::uint32_t>& out) {
    while (!means.empty()) {
        const std::size_t end = (std::min)(means.find(' '), means.size());
        const auto [it, is_new] =
            known_.try_emplace(std::string(means.substr(0, end)), static_cast<std::uint32_t>(known_.size()));
        out.push_back(it->second);
        means.remove_prefix((std::min)(end + 1, means.size()));
    }
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
