// tests/maps/families.cpp: the ready-made maps on real files of both sides: the same keys, and the same values by
// digest.
//
// SPDX-License-Identifier: MIT
#include <ckpt/ckpt.hpp>
#include <ckpt/maps/averages.hpp>
#include <ckpt/maps/chinese_clip.hpp>
#include <ckpt/maps/clip.hpp>
#include <ckpt/maps/gpt2.hpp>
#include <ckpt/maps/latent_diffusion.hpp>
#include <ckpt/maps/llama.hpp>
#include <ckpt/maps/torchvision.hpp>
#include <ckpt/maps/whisper.hpp>
#include <ckpt/maps/wrappers.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <string>

namespace families_test {

namespace {

ckpt::state_dict weights_of(const std::string& file) {
    const auto opened = ckpt::open(CKPT_TEST_DATA "/frameworks/" + file).value();
    if (file == "names_whisper/openai.pt") return opened.state_dict("model_state_dict").value();
    return file.ends_with(".ckpt") || file.starts_with("cn_clip") || file.find("pooler") != std::string::npos
               ? opened.state_dict("state_dict").value()
               : opened.state_dict("").value();
}

/// `from` under `map` has the keys and the values of `to`, and every rule that is not marked as optional does
/// something.
void same(const ckpt::state_dict& from, const ckpt::key_map& map, const ckpt::state_dict& to) {
    const auto plan = ckpt::plan_remap(from, map);
    for (const auto& e : plan.errors) MESSAGE(e.message());
    for (const auto& c : plan.collisions) MESSAGE(c.to);
    REQUIRE(plan.ok());
    for (const std::size_t rule : plan.unused_rules) FAIL_CHECK("unused: " << plan.rule_text(rule));
    const auto mapped = ckpt::remap(plan).value();
    CHECK(mapped.size() == to.size());
    for (const auto& [key, tensor] : to) {
        const std::string shown_key(key); // a structured binding cannot be captured
        CAPTURE(shown_key);
        REQUIRE(mapped.contains(key));
        const auto got = mapped.at(key).value();
        CHECK(got.dtype() == tensor.dtype());
        CHECK(std::equal(got.shape().begin(), got.shape().end(), tensor.shape().begin(), tensor.shape().end()));
        CHECK(got.crc32().value() == tensor.crc32().value());
    }
}
ckpt::state_dict unwrapped(const std::string& file) {
    return ckpt::remap(weights_of(file), ckpt::maps::without_wrappers()).value();
}

} // namespace

namespace maps = ckpt::maps;

TEST_CASE("Chinese-CLIP to the flash-attention model's names and back, with and without BERT's pooler") {
    const auto plain = weights_of("cn_clip-1.6/epoch_latest.pt");
    const auto flash = weights_of("cn_clip-1.6/epoch_latest_flash.pt");
    same(plain, maps::chinese_clip_to_flash(), unwrapped("cn_clip-1.6/epoch_latest_flash.pt"));
    same(flash, maps::chinese_clip_from_flash(), unwrapped("cn_clip-1.6/epoch_latest.pt"));
    same(weights_of("names_chinese_clip/epoch_latest_pooler.pt"), maps::chinese_clip_to_flash(),
         unwrapped("cn_clip-1.6/epoch_latest_flash.pt"));
    const auto there = ckpt::plan_remap(plain, maps::chinese_clip_to_flash());
    const auto back = there.inverse().value();
    same(ckpt::remap(there).value(), back, plain);
}

TEST_CASE("Chinese-CLIP and transformers") {
    same(weights_of("cn_clip-1.6/epoch_latest.pt"), maps::chinese_clip_to_hf(), weights_of("names_chinese_clip/hf.pt"));
    same(weights_of("names_chinese_clip/hf.pt"), maps::chinese_clip_from_hf(),
         unwrapped("cn_clip-1.6/epoch_latest.pt"));
}

TEST_CASE("CLIP: OpenAI, OpenCLIP, its CustomTextCLIP, transformers") {
    const auto open_clip = weights_of("names_clip/open_clip.pt");
    same(weights_of("names_clip/openai.pt"), maps::openai_clip_to_open_clip(), open_clip);
    same(open_clip, maps::open_clip_to_custom_text(), weights_of("names_clip/open_clip_text.pt"));
    same(weights_of("names_clip/open_clip_text.pt"), maps::open_clip_from_custom_text(), open_clip);
    same(open_clip, maps::open_clip_to_hf(), weights_of("names_clip/hf.pt"));
    same(weights_of("names_clip/hf.pt"), maps::open_clip_from_hf(), open_clip);
}

TEST_CASE("torchvision's earlier names") {
    // Files of that time have no counters of batches.
    const auto densenet =
        ckpt::remap(weights_of("names_torchvision/densenet.pt"), ckpt::key_map{ckpt::drop("**.num_batches_tracked")})
            .value();
    same(weights_of("names_torchvision/densenet_earlier.pt"), maps::torchvision_densenet_from_earlier(), densenet);
    same(weights_of("names_torchvision/densenet.pt"), maps::torchvision_densenet_to_earlier(),
         weights_of("names_torchvision/densenet_earlier.pt"));
    same(weights_of("names_torchvision/vit_earlier.pt"), maps::torchvision_vit_from_earlier(),
         weights_of("names_torchvision/vit.pt"));
    same(weights_of("names_torchvision/vit.pt"), maps::torchvision_vit_to_earlier(),
         weights_of("names_torchvision/vit_earlier.pt"));
}

TEST_CASE(
    "Llama and GGUF: names, and rows of q and k in the other order; with a head of its own, and tied with biases") {
    const maps::llama_heads heads{.heads = 4, .kv_heads = 2, .head_dim = 8};
    const maps::llama_heads tied{.heads = 4, .kv_heads = 2, .head_dim = 8, .tied = true};
    same(weights_of("names_llama/llama_hf.pt"), maps::hf_llama_to_gguf(heads).value(),
         weights_of("names_llama/llama_gguf.pt"));
    same(weights_of("names_llama/llama_gguf.pt"), maps::gguf_to_hf_llama(heads).value(),
         weights_of("names_llama/llama_hf.pt"));
    same(weights_of("names_llama/llama_tied_hf.pt"), maps::hf_llama_to_gguf(tied).value(),
         weights_of("names_llama/llama_tied_gguf.pt"));
    same(weights_of("names_llama/llama_tied_gguf.pt"), maps::gguf_to_hf_llama(tied).value(),
         weights_of("names_llama/llama_tied_hf.pt"));
    CHECK_FALSE(maps::hf_llama_to_gguf({.heads = 4, .kv_heads = 3, .head_dim = 8}).has_value());
    CHECK_FALSE(maps::gguf_to_hf_llama({.heads = 4, .kv_heads = 2, .head_dim = 7}).has_value());
    CHECK(maps::hf_llama_to_gguf({.heads = 1 << 20, .kv_heads = 1, .head_dim = 1 << 20}).has_value());
    for (const maps::llama_heads& none : {maps::llama_heads{.heads = (1 << 20) + 1, .kv_heads = 1, .head_dim = 2},
                                          maps::llama_heads{.heads = 1, .kv_heads = 1, .head_dim = (1 << 20) + 2},
                                          maps::llama_heads{.heads = 0, .kv_heads = 1, .head_dim = 2}})
        CHECK(maps::hf_llama_to_gguf(none).error().detail.starts_with("no Llama has "));
}

TEST_CASE("Llama and Meta's files: names, and rows of q and k in the other order; a tied head has values of its own") {
    const maps::llama_heads heads{.heads = 4, .kv_heads = 2, .head_dim = 8};
    const maps::llama_heads tied{.heads = 4, .kv_heads = 2, .head_dim = 8, .tied = true};
    same(weights_of("names_llama/llama_hf.pt"), maps::hf_llama_to_meta(heads).value(),
         weights_of("names_llama/llama_meta.pt"));
    same(weights_of("names_llama/llama_meta.pt"), maps::meta_llama_to_hf(heads).value(),
         weights_of("names_llama/llama_hf.pt"));
    same(weights_of("names_llama/llama_tied_hf.pt"), maps::hf_llama_to_meta(tied).value(),
         weights_of("names_llama/llama_tied_meta.pt"));
    same(weights_of("names_llama/llama_tied_meta.pt"), maps::meta_llama_to_hf(tied).value(),
         weights_of("names_llama/llama_tied_hf.pt"));
    CHECK_FALSE(maps::hf_llama_to_meta({.heads = 4, .kv_heads = 3, .head_dim = 8}).has_value());
    CHECK_FALSE(maps::meta_llama_to_hf({.heads = 4, .kv_heads = 2, .head_dim = 7}).has_value());
}

TEST_CASE("Whisper: OpenAI and transformers, where self-attention and cross-attention have equal shapes") {
    const auto hf = weights_of("names_whisper/hf.pt");
    same(weights_of("names_whisper/openai.pt"), maps::whisper_openai_to_hf(), hf);
    same(hf, maps::whisper_hf_to_openai(), weights_of("names_whisper/openai.pt"));
    // A WhisperModel has neither the prefix nor the head.
    const auto headless = ckpt::remap(hf, ckpt::key_map::parse("drop proj_out.weight\nstrip model.").value()).value();
    same(headless, maps::whisper_hf_to_openai(), weights_of("names_whisper/openai.pt"));
}

TEST_CASE("GPT-2: transformers and llm.c, which stacks layers and adds rows to the embedding") {
    const auto hf = weights_of("names_gpt2/hf.pt");
    const auto llm_c = weights_of("names_gpt2/llm_c.pt");
    same(hf, maps::gpt2_hf_to_llm_c(), llm_c);
    same(llm_c, maps::gpt2_llm_c_to_hf(32).value(), hf);
    const auto mapped = ckpt::remap(hf, maps::gpt2_hf_to_llm_c()).value();
    std::string order;
    for (const auto& [key, tensor] : mapped) order.append(key).append(" ");
    CHECK(order == "wte wpe ln1w ln1b qkvw qkvb attprojw attprojb ln2w ln2b fcw fcb fcprojw fcprojb lnfw lnfb ");
    // As older versions saved it: without the prefix and the head, with the masks of attention.
    const auto older = ckpt::remap(hf, ckpt::key_map::parse("strip transformer.\ndrop lm_head.weight\n"
                                                            "fill 1 uint8 (1, 1, 16, 16) h.0.attn.bias\n"
                                                            "fill -10000 float32 () h.0.attn.masked_bias")
                                           .value());
    if (!older) MESSAGE(older.error().message());
    same(older.value(), maps::gpt2_hf_to_llm_c(), llm_c);
    CHECK(maps::gpt2_llm_c_to_hf(1).has_value());
    CHECK(maps::gpt2_llm_c_to_hf(1 << 30).has_value());
    for (const std::int64_t none : {std::int64_t{0}, std::int64_t{(1 << 30) + 1}})
        CHECK(maps::gpt2_llm_c_to_hf(none).error().detail.ends_with(" is no size of a vocabulary"));
}

TEST_CASE("Stable Diffusion: a million blocks at most, and one at least") {
    CHECK(maps::ldm_unet_to_diffusers(1).has_value());
    CHECK(maps::ldm_unet_to_diffusers(1 << 20).has_value());
    for (const int blocks : {0, (1 << 20) + 1})
        CHECK(maps::ldm_unet_to_diffusers(blocks).error().detail.ends_with(" is no number of blocks or levels"));
}

TEST_CASE("Stable Diffusion: U-Net, autoencoder and text encoder, raw or averaged") {
    const auto all = weights_of("names_latent_diffusion/ldm.ckpt");
    const auto part = [&](const char* prefix) {
        return ckpt::remap(all, ckpt::key_map::parse(std::string("keep ") + prefix + "**").value()).value();
    };
    same(part("model.diffusion_model."), maps::ldm_unet_to_diffusers(1).value(),
         weights_of("names_latent_diffusion/unet.pt"));
    same(weights_of("names_latent_diffusion/unet.pt"), maps::diffusers_unet_to_ldm(1).value(),
         part("model.diffusion_model."));
    same(part("first_stage_model."), maps::ldm_vae_to_diffusers(2).value(),
         weights_of("names_latent_diffusion/vae.pt"));
    same(weights_of("names_latent_diffusion/vae.pt"), maps::diffusers_vae_to_ldm(2).value(),
         part("first_stage_model."));
    same(part("cond_stage_model."), maps::ldm_text_encoder_to_transformers(),
         weights_of("names_latent_diffusion/text_encoder.pt"));
    const auto averaged = ckpt::remap(all, maps::averages_to_raw(all).value()).value();
    same(ckpt::remap(averaged, ckpt::key_map{ckpt::rule("keep model.diffusion_model.**")}).value(),
         maps::ldm_unet_to_diffusers(1).value(), weights_of("names_latent_diffusion/unet_ema.pt"));
}

} // namespace families_test
