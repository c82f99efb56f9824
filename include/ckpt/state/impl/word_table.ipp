// ckpt/state/impl/word_table.ipp: the definitions of word_table.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/sorting.hpp>
#include <ckpt/state/word_table.hpp>

#include <algorithm>
#include <iterator>
#include <span>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// Words with numbers of their own, from 0. Those of one slot exclude each other; slot 255: they tell nothing.
struct fixed_word {
    std::string_view word{};
    std::uint8_t slot{};
};
inline constexpr std::uint8_t generic_slot = 255;
inline constexpr std::uint8_t kind_slot = 1;
inline constexpr std::uint8_t matrix_slot = 3;
inline constexpr std::uint8_t mlp_slot = 4;
inline constexpr std::uint8_t tower_slot = 5;
inline constexpr std::uint8_t input_slot = 6;
inline constexpr fixed_word fixed_words[]{
    {"self", 1},     {"cross", 1},   {"attn", 2},    {"mlp", 2},      {"q", 3},      {"k", 3},
    {"v", 3},        {"qkv", 3},     {"out", 3},     {"up", 4},       {"down", 4},   {"gate", 4},
    {"mid", 4},      {"encoder", 5}, {"decoder", 5}, {"visual", 6},   {"text", 6},   {"pos", 7},
    {"token", 7},    {"type", 7},    {"class", 7},   {"patch", 7},    {"mask", 7},   {"point", 7},
    {"pre", 8},      {"post", 8},    {"norm", 0},    {"weight", 255}, {"bias", 255}, {"proj", 255},
    {"linear", 255}, {"layer", 255}, {"model", 255}, {"module", 255}, {"net", 255},  {"transformer", 255},
};

/// The number of a fixed word.
[[nodiscard]] consteval std::uint32_t fixed_id(std::string_view word) {
    std::uint32_t out = 0;
    while (fixed_words[out].word != word) ++out;
    return out;
}

struct synonym {
    std::string_view word{};
    std::string_view means{}; ///< words, separated by blanks
};
/// Of whole segments: words alone would not tell which of the two norms of a block is meant.
inline constexpr synonym segment_synonyms[]{
    {"self", ""},   // of BERT, below an attention
    {"h", "layer"}, // of GPT-2
    {"input_blocks", "down layer"},
    {"output_blocks", "up layer"},
    {"middle_block", "mid layer"},
    {"mid_block", "mid layer"},
    {"input_layernorm", "self attn norm"},
    {"layernorm_before", "self attn norm"},
    {"post_attention_layernorm", "mlp norm"},
    {"layernorm_after", "mlp norm"},
    {"c_fc", "mlp up"},
    {"fc1", "mlp up"},
    {"lin1", "mlp up"},
    {"linear1", "mlp up"},
    {"intermediate", "mlp up"},
    {"dense_h_to_4h", "mlp up"},
    {"inner_proj", "mlp up"},
    {"fc2", "mlp down"},
    {"lin2", "mlp down"},
    {"linear2", "mlp down"},
    {"dense_4h_to_h", "mlp down"},
    {"w1", "mlp gate"},
    {"w2", "mlp down"},
    {"w3", "mlp up"},
    {"wq", "q"},
    {"wk", "k"},
    {"wv", "v"},
    {"wo", "out"},
    {"DenseReluDense", "mlp"},
    {"attn1", "self attn"},
    {"attn2", "cross attn"},
    {"multihead_attn", "cross attn"},
    {"c_attn", "qkv"},
    {"c_proj", "out"},
    {"query_key_value", "qkv"},
    {"lm_head", "head out"},
    {"conv_proj", "patch emb"},
    {"ln_f", "final norm"},
    {"wte", "token emb"},
    {"wpe", "pos emb"},
    {"token_type_embeddings", "type emb"},
    {"class_token", "class emb"},
    {"cls_token", "class emb"},
};
/// Of single words.
inline constexpr synonym word_synonyms[]{
    {"c", ""}, // of GPT-2
    {"lambda", "weight"},
    {"layernorm", "norm"},
    {"layrnorm", "norm"},
    {"ln", "norm"},
    {"bn", "norm"},
    {"batchnorm", "norm"},
    {"rmsnorm", "norm"},
    {"groupnorm", "norm"},
    {"normalization", "norm"},
    {"gamma", "weight"},
    {"scale", "weight"},
    {"beta", "bias"},
    {"kernel", "weight"},
    {"query", "q"},
    {"key", "k"},
    {"value", "v"},
    {"attention", "attn"},
    {"mha", "attn"},
    {"crossattention", "cross attn"},
    {"output", "out"},
    {"o", "out"},
    {"projection", "proj"},
    {"dense", "linear"},
    {"fc", "linear"},
    {"lin", "linear"},
    {"ffn", "mlp"},
    {"intermediate", "mlp up"},
    {"feedforward", "mlp"},
    {"embedding", "emb"},
    {"embeddings", "emb"},
    {"embedder", "emb"},
    {"embed", "emb"},
    {"embd", "emb"},
    {"tok", "token"},
    {"tokens", "token"},
    {"word", "token"},
    {"position", "pos"},
    {"positions", "pos"},
    {"positional", "pos"},
    {"convolution", "conv"},
    {"block", "layer"},
    {"blocks", "layer"},
    {"layers", "layer"},
    {"resblocks", "layer"},
    {"blk", "layer"},
    {"classifier", "head"},
    {"heads", "head"},
    {"shortcut", "downsample"},
    {"skip", "downsample"},
    {"vision", "visual"},
    {"image", "visual"},
    {"bert", "text"},
    {"cls", "class"},
};

/// Words of a segment that mean something together, and what stands for them.
struct sequence {
    std::string_view words[3]{};
    std::string_view means{};
};
inline constexpr sequence sequences[]{
    {{"layer", "norm"}, "norm"},
    {{"layr", "norm"}, "norm"},
    {{"group", "norm"}, "norm"},
    {{"layer", "scale"}, "ls"},
    {{"batch", "norm"}, "norm"},
    {{"feed", "forward"}, "mlp"},
    {{"self", "attn"}, "self attn"},
    {{"cross", "attn"}, "cross attn"},
    {{"enc", "dec", "attn"}, "cross attn"},
    {{"encoder", "decoder", "attn"}, "cross attn"},
    {{"encoder", "attn"}, "cross attn"},
    {{"enc", "attn"}, "cross attn"},
    {{"inter", "attn"}, "cross attn"},
    {{"src", "attn"}, "cross attn"},
    {{"attn"}, "self attn"}, // the only one there is
    {{"in", "proj"}, "qkv"},
};

/// The words of a segment as they are written, in lower case.
[[nodiscard]] inline std::vector<std::string> raw_words(std::string_view segment) {
    std::vector<std::string> out;
    std::string w;
    bool lower = false;
    for (const char c : segment) {
        const bool capital = c >= 'A' && c <= 'Z';
        const bool letter = capital || (c >= 'a' && c <= 'z') || static_cast<unsigned char>(c) >= 0x80;
        if ((!letter || (capital && lower)) && !w.empty()) {
            out.push_back(std::move(w));
            w.clear();
        }
        lower = letter && !capital;
        if (letter) w += capital ? static_cast<char>(c - 'A' + 'a') : c;
    }
    if (!w.empty()) out.push_back(std::move(w));
    return out;
}

[[nodiscard]] inline std::string_view synonym_of(std::span<const synonym> table, std::string_view word) noexcept {
    for (const synonym& s : table)
        if (s.word == word) return s.means;
    return word;
}

/// How many words from `at` on are those of a sequence; 0 where they are not.
[[nodiscard]] inline std::size_t length_at(const sequence& s, const std::vector<std::string>& words,
                                           std::size_t at) noexcept {
    std::size_t n = 0;
    for (; n < 3 && !s.words[n].empty(); ++n) {
        if (at + n >= words.size()) return 0;
        const std::string& w = words[at + n];
        if (w != s.words[n] && synonym_of(word_synonyms, w) != s.words[n]) return 0;
    }
    return n;
}

/// The number of a norm: "norm2", "ln_2"; 0 where a segment is none.
[[nodiscard]] inline char number_of_norm(std::string_view segment) noexcept {
    constexpr std::string_view stems[]{"norm", "ln_", "ln", "layer_norm", "layernorm", "norm_", "layernorm_"};
    if (segment.empty() || segment.back() < '1' || segment.back() > '9') return 0;
    segment.remove_suffix(1);
    return std::find(std::begin(stems), std::end(stems), segment) != std::end(stems) ? segment.data()[segment.size()]
                                                                                     : char{0};
}

/// The norms of a block by their numbers, where what stands beside them tells what for; empty where it does not.
[[nodiscard]] inline std::string_view numbered_norm(std::string_view segment,
                                                    const module_neighbours& beside) noexcept {
    if ((beside.roles & any_role) == 0) return {};
    const bool crossed = (beside.roles & has_cross_attention) != 0;
    if (crossed != ((beside.roles & has_third_norm) != 0)) return {};
    if (beside.norms != 0 && (beside.norms > 2) != crossed) return {};
    switch (number_of_norm(segment)) {
    case '1': return "self attn norm";
    case '2': return crossed ? "cross attn norm" : "mlp norm";
    case '3': return "mlp norm";
    default: return {};
    }
}

CKPT_DETAIL_DEF word_table::word_table() {
    for (const fixed_word& f : fixed_words)
        known_.emplace(std::string(f.word), static_cast<std::uint32_t>(known_.size()));
}

CKPT_DETAIL_DEF std::uint8_t word_table::slot_of(std::uint32_t word) noexcept {
    return word < std::size(fixed_words) && fixed_words[word].slot != generic_slot ? fixed_words[word].slot : 0;
}

CKPT_DETAIL_DEF void word_table::settle(std::vector<std::uint32_t>& words) {
    const auto has = [&](std::uint32_t word) { return std::find(words.begin(), words.end(), word) != words.end(); };
    const auto is_one = [](std::uint32_t word) { return slot_of(word) == matrix_slot; };
    if (has(fixed_id("attn")) && has(fixed_id("proj")) && std::none_of(words.begin(), words.end(), is_one))
        words.push_back(fixed_id("out"));
    if (has(fixed_id("mlp")) && !has(fixed_id("attn")))
        std::replace(words.begin(), words.end(), fixed_id("out"), fixed_id("down"));
}

CKPT_DETAIL_DEF bool word_table::is_norm(std::uint32_t word) noexcept { return word == fixed_id("norm"); }

CKPT_DETAIL_DEF bool word_table::decides(std::uint32_t word) noexcept {
    const std::uint8_t slot = slot_of(word);
    return slot == kind_slot || slot == matrix_slot || slot == tower_slot || slot == input_slot;
}

CKPT_DETAIL_DEF bool word_table::is_matrix(std::uint32_t word) noexcept {
    const std::uint8_t slot = slot_of(word);
    return slot == matrix_slot || slot == mlp_slot;
}

CKPT_DETAIL_DEF bool word_table::is_generic(std::uint32_t word) noexcept {
    return word < std::size(fixed_words) && fixed_words[word].slot == generic_slot;
}

CKPT_DETAIL_DEF std::uint8_t word_table::roles_of(std::string_view segment) {
    if (segment == "intermediate") return has_intermediate | has_mlp;
    if (number_of_norm(segment) == '3') return has_third_norm;
    std::vector<std::uint32_t> words;
    add_segment(segment, {}, words);
    std::uint8_t out = 0;
    for (const std::uint32_t w : words) {
        if (w == fixed_id("norm")) return 0; // tells what it belongs to, not what stands there
        if (w == fixed_id("self")) out = std::uint8_t(out | has_self_attention);
        if (w == fixed_id("cross")) out = std::uint8_t(out | has_cross_attention);
        if (w == fixed_id("mlp")) out = std::uint8_t(out | has_mlp);
    }
    return out;
}

CKPT_DETAIL_DEF void word_table::add_segment(std::string_view segment, const module_neighbours& beside,
                                             std::vector<std::uint32_t>& out) {
    std::string key(segment);
    key += '\n' + decimal(std::uint64_t{beside.roles}) + ' ' + decimal(std::uint64_t{beside.norms});
    const auto [it, is_new] = segments_.try_emplace(std::move(key));
    if (is_new) it->second = words_of(segment, beside);
    out.insert(out.end(), it->second.begin(), it->second.end());
}

CKPT_DETAIL_DEF std::vector<std::uint32_t> word_table::words_of(std::string_view segment,
                                                                const module_neighbours& beside) {
    std::vector<std::uint32_t> out;
    if (const std::string_view norm = numbered_norm(segment, beside); !norm.empty()) return known_words(norm);
    if (segment == "output" && (beside.roles & has_intermediate) != 0) return known_words("mlp down");
    if (const std::string_view means = synonym_of(segment_synonyms, segment); means != segment)
        return known_words(means);
    const bool in_block = (beside.roles & (has_self_attention | has_cross_attention)) != 0;
    if (segment == "final_layer_norm" && in_block) return known_words("mlp norm");
    const std::vector<std::string> words = raw_words(segment);
    for (std::size_t i = 0; i < words.size();) {
        std::size_t n = 0;
        for (const sequence& s : sequences) {
            n = length_at(s, words, i);
            if (n == 0) continue;
            add_known(s.means, out);
            break;
        }
        const bool between = words[i] == "to" && i > 0 && i + 1 < words.size(); // the order counts: "image_to_token"
        if (between) add_word(words[i - 1] + '>' + words[i + 1], out);
        else if (n == 0) add_known(synonym_of(word_synonyms, words[i]), out);
        i += n > 0 ? n : 1;
    }
    // The only norm of a module belongs to the one thing that stands beside it: "layer.1.layer_norm" of T5.
    const bool is_norm = words.size() == 1 ? synonym_of(word_synonyms, words[0]) == "norm"
                                           : words.size() == 2 && words[0] == "layer" && words[1] == "norm";
    if (!is_norm || beside.norms != 1) return out;
    const std::uint8_t role = beside.roles & any_role;
    if (role == has_self_attention) add_known("self attn", out);
    if (role == has_cross_attention) add_known("cross attn", out);
    if (role == has_mlp) add_known("mlp", out);
    return out;
}

CKPT_DETAIL_DEF std::vector<std::uint32_t> word_table::known_words(std::string_view means) {
    std::vector<std::uint32_t> out;
    add_known(means, out);
    return out;
}

CKPT_DETAIL_DEF void word_table::add_word(std::string_view word, std::vector<std::uint32_t>& out) {
    const auto [it, is_new] = known_.try_emplace(std::string(word), static_cast<std::uint32_t>(known_.size()));
    out.push_back(it->second);
}

CKPT_DETAIL_DEF void word_table::add_number(std::vector<std::uint32_t> of, std::int64_t number, std::uint64_t all,
                                            std::vector<std::uint32_t>& out) {
    sort_values(of);
    std::string word;
    for (const std::uint32_t w : of) word += decimal(std::uint64_t{w}) + ' ';
    add_word(word + decimal(number) + '#' + decimal(all), out);
    numbers_.resize(known_.size(), 0);
    numbers_[out.back()] = 1;
}

CKPT_DETAIL_DEF void word_table::add_known(std::string_view means, std::vector<std::uint32_t>& out) {
    while (!means.empty()) {
        const std::size_t end = (std::min)(means.find(' '), means.size());
        add_word(means.substr(0, end), out);
        means.remove_prefix((std::min)(end + 1, means.size()));
    }
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail
