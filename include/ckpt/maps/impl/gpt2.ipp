// ckpt/maps/impl/gpt2.ipp: the definitions of gpt2.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/maps/gpt2.hpp>

#include <string>
#include <utility>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// What a layer has: its name in transformers, behind `h.N.`, and that of all layers together in llm.c.
struct gpt2_layer_tensor {
    const char* hf{};
    const char* llm_c{};
};

inline constexpr gpt2_layer_tensor gpt2_layer_tensors[]{{"ln_1.weight", "ln1w"},
                                                        {"ln_1.bias", "ln1b"},
                                                        {"attn.c_attn.weight", "qkvw"},
                                                        {"attn.c_attn.bias", "qkvb"},
                                                        {"attn.c_proj.weight", "attprojw"},
                                                        {"attn.c_proj.bias", "attprojb"},
                                                        {"ln_2.weight", "ln2w"},
                                                        {"ln_2.bias", "ln2b"},
                                                        {"mlp.c_fc.weight", "fcw"},
                                                        {"mlp.c_fc.bias", "fcb"},
                                                        {"mlp.c_proj.weight", "fcprojw"},
                                                        {"mlp.c_proj.bias", "fcprojb"}};

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI::maps {

CKPT_DETAIL_DEF key_map gpt2_hf_to_llm_c() {
    // Earlier versions saved the mask of attention with each layer.
    std::string text = R"(?strip transformer.
?drop lm_head.weight
?drop h.{i:int}.attn.{mask:bias|masked_bias}
pad 0 multiple 128 wte.weight
transpose 0 1 h.{i:int}.attn.{part:c_attn|c_proj}.weight
transpose 0 1 h.{i:int}.mlp.{part:c_fc|c_proj}.weight
rename {part:wte|wpe}.weight -> {part}
)";
    for (const auto& [hf, llm_c] : detail::gpt2_layer_tensors)
        text.append("stack 0 h.{i:int}.").append(hf).append(" -> ").append(llm_c).append(" by {i}\n");
    text += "rename ln_f.weight -> lnfw\nrename ln_f.bias -> lnfb\n";
    return std::move(key_map::parse(text, "gpt2_hf_to_llm_c")).value();
}

CKPT_DETAIL_DEF result<key_map> gpt2_llm_c_to_hf(std::int64_t vocabulary) {
    constexpr std::int64_t most = 1 << 30;
    if (vocabulary < 1 || vocabulary > most)
        return error{.code = errc::rule_invalid, .detail = detail::str_cat(vocabulary, " is no size of a vocabulary")};
    std::string text = detail::str_cat("narrow 0 0 ", vocabulary, " wte\n");
    for (const auto& [hf, llm_c] : detail::gpt2_layer_tensors)
        text.append("unstack 0 ").append(llm_c).append(" -> transformer.h.{i}.").append(hf).append(" by {i}\n");
    text += R"(transpose 0 1 transformer.h.{i:int}.attn.{part:c_attn|c_proj}.weight
transpose 0 1 transformer.h.{i:int}.mlp.{part:c_fc|c_proj}.weight
rename {part:wte|wpe} -> transformer.{part}.weight
rename lnfw -> transformer.ln_f.weight
rename lnfb -> transformer.ln_f.bias
tie lm_head.weight = transformer.wte.weight
)";
    return key_map::parse(text, "gpt2_llm_c_to_hf");
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::maps
