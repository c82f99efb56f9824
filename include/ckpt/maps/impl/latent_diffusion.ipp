// ckpt/maps/impl/latent_diffusion.ipp: the definitions of latent_diffusion.hpp.
//
// SPDX-License-Identifier: MIT
#pragma once

#include <ckpt/core/error.hpp>
#include <ckpt/core/number.hpp>
#include <ckpt/core/str_cat.hpp>
#include <ckpt/maps/latent_diffusion.hpp>

#include <string>
#include <string_view>

namespace ckpt::inline CKPT_DETAIL_ABI::detail {

/// `text`, whose capital N's stand for `number` + `more`, as a map.
[[nodiscard]] inline result<key_map> map_with_number(std::string_view text, std::int64_t number, std::int64_t more,
                                                     std::string_view name) {
    constexpr std::int64_t most = 1 << 20;
    if (number < 1 || number > most)
        return error{.code = errc::rule_invalid,
                     .detail = str_cat(name, ": ", number, " is no number of blocks or levels")};
    std::string out;
    for (const char c : text) {
        if (c == 'N') out += decimal(number + more);
        else out += c;
    }
    return key_map::parse(out, name);
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::detail

namespace ckpt::inline CKPT_DETAIL_ABI::maps {

CKPT_DETAIL_DEF result<key_map> ldm_unet_to_diffusers(std::int64_t num_res_blocks) {
    return detail::map_with_number(R"(
keep model.diffusion_model.**
strip model.diffusion_model.
first {
  rename time_embed.{i:int}.{leaf} -> time_embedding.linear_{i/2+1}.{leaf}
  rename input_blocks.0.0.{leaf} -> conv_in.{leaf}
  rename out.0.{leaf} -> conv_norm_out.{leaf}
  rename out.2.{leaf} -> conv_out.{leaf}
  ?rename input_blocks.{i:int}.0.op.{leaf} -> down_blocks.{(i-1)/N}.downsamplers.0.conv.{leaf}
  rename input_blocks.{i:int}.0.{rest:**} -> down_blocks.{(i-1)/N}.resnets.{(i-1)%N}.{rest}
  ?rename input_blocks.{i:int}.1.{rest:**} -> down_blocks.{(i-1)/N}.attentions.{(i-1)%N}.{rest}
  ?rename middle_block.1.{rest:**} -> mid_block.attentions.0.{rest}
  rename middle_block.{i:int}.{rest:**} -> mid_block.resnets.{i/2}.{rest}
  ?rename output_blocks.{i:int}.{j:int}.conv.{leaf} -> up_blocks.{i/N}.upsamplers.0.conv.{leaf}
  rename output_blocks.{i:int}.0.{rest:**} -> up_blocks.{i/N}.resnets.{i%N}.{rest}
  ?rename output_blocks.{i:int}.1.{rest:**} -> up_blocks.{i/N}.attentions.{i%N}.{rest}
}
first {
  rename {p:**}.resnets.{j:int}.in_layers.0.{leaf} -> {p}.resnets.{j}.norm1.{leaf}
  rename {p:**}.resnets.{j:int}.in_layers.2.{leaf} -> {p}.resnets.{j}.conv1.{leaf}
  rename {p:**}.resnets.{j:int}.emb_layers.1.{leaf} -> {p}.resnets.{j}.time_emb_proj.{leaf}
  rename {p:**}.resnets.{j:int}.out_layers.0.{leaf} -> {p}.resnets.{j}.norm2.{leaf}
  rename {p:**}.resnets.{j:int}.out_layers.3.{leaf} -> {p}.resnets.{j}.conv2.{leaf}
  rename {p:**}.resnets.{j:int}.skip_connection.{leaf} -> {p}.resnets.{j}.conv_shortcut.{leaf}
}
)",
                                   num_res_blocks, 1, "ldm_unet_to_diffusers");
}

CKPT_DETAIL_DEF result<key_map> diffusers_unet_to_ldm(std::int64_t layers_per_block) {
    return detail::map_with_number(R"(
first {
  rename {p:**}.resnets.{j:int}.norm1.{leaf} -> {p}.resnets.{j}.in_layers.0.{leaf}
  rename {p:**}.resnets.{j:int}.conv1.{leaf} -> {p}.resnets.{j}.in_layers.2.{leaf}
  rename {p:**}.resnets.{j:int}.time_emb_proj.{leaf} -> {p}.resnets.{j}.emb_layers.1.{leaf}
  rename {p:**}.resnets.{j:int}.norm2.{leaf} -> {p}.resnets.{j}.out_layers.0.{leaf}
  rename {p:**}.resnets.{j:int}.conv2.{leaf} -> {p}.resnets.{j}.out_layers.3.{leaf}
  rename {p:**}.resnets.{j:int}.conv_shortcut.{leaf} -> {p}.resnets.{j}.skip_connection.{leaf}
}
first {
  rename time_embedding.linear_{i:int}.{leaf} -> time_embed.{2*i-2}.{leaf}
  rename conv_in.{leaf} -> input_blocks.0.0.{leaf}
  rename conv_norm_out.{leaf} -> out.0.{leaf}
  rename conv_out.{leaf} -> out.2.{leaf}
  ?rename down_blocks.{b:int}.downsamplers.0.conv.{leaf} -> input_blocks.{N*b+N}.0.op.{leaf}
  rename down_blocks.{b:int}.resnets.{j:int}.{rest:**} -> input_blocks.{N*b+j+1}.0.{rest}
  ?rename down_blocks.{b:int}.attentions.{j:int}.{rest:**} -> input_blocks.{N*b+j+1}.1.{rest}
  ?rename mid_block.attentions.0.{rest:**} -> middle_block.1.{rest}
  rename mid_block.resnets.{j:int}.{rest:**} -> middle_block.{2*j}.{rest}
  ?rename up_blocks.{b:int}.upsamplers.0.conv.{leaf} -> output_blocks.{N*b+N-1}.2.conv.{leaf} where has("up_blocks.{b}.attentions.0.norm.weight")
  ?rename up_blocks.{b:int}.upsamplers.0.conv.{leaf} -> output_blocks.{N*b+N-1}.1.conv.{leaf}
  rename up_blocks.{b:int}.resnets.{j:int}.{rest:**} -> output_blocks.{N*b+j}.0.{rest}
  ?rename up_blocks.{b:int}.attentions.{j:int}.{rest:**} -> output_blocks.{N*b+j}.1.{rest}
}
add model.diffusion_model.
)",
                                   layers_per_block, 1, "diffusers_unet_to_ldm");
}

CKPT_DETAIL_DEF result<key_map> ldm_vae_to_diffusers(std::int64_t levels) {
    return detail::map_with_number(R"(
keep first_stage_model.**
strip first_stage_model.
?drop loss.**
first {
  rename {side:encoder|decoder}.norm_out.{leaf} -> {side}.conv_norm_out.{leaf}
  ?rename encoder.down.{b:int}.downsample.conv.{leaf} -> encoder.down_blocks.{b}.downsamplers.0.conv.{leaf}
  rename encoder.down.{b:int}.block.{j:int}.{rest:**} -> encoder.down_blocks.{b}.resnets.{j}.{rest}
  ?rename decoder.up.{b:int}.upsample.conv.{leaf} -> decoder.up_blocks.{N-1-b}.upsamplers.0.conv.{leaf}
  rename decoder.up.{b:int}.block.{j:int}.{rest:**} -> decoder.up_blocks.{N-1-b}.resnets.{j}.{rest}
  rename {side:encoder|decoder}.mid.block_{j:int}.{rest:**} -> {side}.mid_block.resnets.{j-1}.{rest}
  rename {side:encoder|decoder}.mid.attn_1.norm.{leaf} -> {side}.mid_block.attentions.0.group_norm.{leaf}
  rename {side:encoder|decoder}.mid.attn_1.{part:q|k|v}.{leaf} -> {side}.mid_block.attentions.0.to_{part}.{leaf}
  rename {side:encoder|decoder}.mid.attn_1.proj_out.{leaf} -> {side}.mid_block.attentions.0.to_out.0.{leaf}
}
?rename {p:**}.nin_shortcut.{leaf} -> {p}.conv_shortcut.{leaf}
squeeze -1 {side:encoder|decoder}.mid_block.attentions.0.**.weight where ndim == 4
squeeze -1 {side:encoder|decoder}.mid_block.attentions.0.**.weight where ndim == 3
)",
                                   levels, 0, "ldm_vae_to_diffusers");
}

CKPT_DETAIL_DEF result<key_map> diffusers_vae_to_ldm(std::int64_t levels) {
    return detail::map_with_number(R"(
unsqueeze -1 {side:encoder|decoder}.mid_block.attentions.0.**.weight where ndim == 2
unsqueeze -1 {side:encoder|decoder}.mid_block.attentions.0.**.weight where ndim == 3
?rename {p:**}.conv_shortcut.{leaf} -> {p}.nin_shortcut.{leaf}
first {
  rename {side:encoder|decoder}.conv_norm_out.{leaf} -> {side}.norm_out.{leaf}
  ?rename encoder.down_blocks.{b:int}.downsamplers.0.conv.{leaf} -> encoder.down.{b}.downsample.conv.{leaf}
  rename encoder.down_blocks.{b:int}.resnets.{j:int}.{rest:**} -> encoder.down.{b}.block.{j}.{rest}
  ?rename decoder.up_blocks.{b:int}.upsamplers.0.conv.{leaf} -> decoder.up.{N-1-b}.upsample.conv.{leaf}
  rename decoder.up_blocks.{b:int}.resnets.{j:int}.{rest:**} -> decoder.up.{N-1-b}.block.{j}.{rest}
  rename {side:encoder|decoder}.mid_block.resnets.{j:int}.{rest:**} -> {side}.mid.block_{j+1}.{rest}
  rename {side:encoder|decoder}.mid_block.attentions.0.group_norm.{leaf} -> {side}.mid.attn_1.norm.{leaf}
  ?rename {side:encoder|decoder}.mid_block.attentions.0.to_{part:q|k|v}.{leaf} -> {side}.mid.attn_1.{part}.{leaf}
  ?rename {side:encoder|decoder}.mid_block.attentions.0.to_out.0.{leaf} -> {side}.mid.attn_1.proj_out.{leaf}
  ?rename {side:encoder|decoder}.mid_block.attentions.0.query.{leaf} -> {side}.mid.attn_1.q.{leaf}
  ?rename {side:encoder|decoder}.mid_block.attentions.0.key.{leaf} -> {side}.mid.attn_1.k.{leaf}
  ?rename {side:encoder|decoder}.mid_block.attentions.0.value.{leaf} -> {side}.mid.attn_1.v.{leaf}
  ?rename {side:encoder|decoder}.mid_block.attentions.0.proj_attn.{leaf} -> {side}.mid.attn_1.proj_out.{leaf}
}
add first_stage_model.
)",
                                   levels, 0, "diffusers_vae_to_ldm");
}

CKPT_DETAIL_DEF key_map ldm_text_encoder_to_transformers() {
    return key_map{rule("keep cond_stage_model.transformer.**"), rule("strip cond_stage_model.transformer."),
                   rule("?drop text_model.embeddings.position_ids")};
}

CKPT_DETAIL_DEF key_map transformers_text_encoder_to_ldm() {
    return key_map{rule("add cond_stage_model.transformer.")};
}

} // namespace ckpt::inline CKPT_DETAIL_ABI::maps
