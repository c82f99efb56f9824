// ckpt/maps/latent_diffusion.hpp: maps between latent diffusion (Stable Diffusion 1 and 2) and diffusers.
//
// SPDX-License-Identifier: MIT
// In:      how many residual blocks a level of the U-Net has, and how many levels the autoencoder has.
// Out:     for each part that diffusers stores in a file of its own, a map from the whole checkpoint to this part, and
//          the reverse. For averaged weights apply maps/averages.hpp first.
// Refuses: numbers below 1.
#pragma once

#include <ckpt/core/result.hpp>
#include <ckpt/state/key_map.hpp>

#include <cstdint>

namespace ckpt::inline CKPT_DETAIL_ABI {

namespace maps {

/// The U-Net of an ldm checkpoint (openaimodel.UNetModel of CompVis/stable-diffusion and Stability-AI/stablediffusion,
/// below `model.diffusion_model.`) to the names of UNet2DConditionModel of diffusers 0.42: what
/// convert_ldm_unet_checkpoint of its single_file_utils.py does. All else of the checkpoint is dropped. Embeddings of
/// classes (`label_emb`) keep their names.
[[nodiscard]] result<key_map> ldm_unet_to_diffusers(std::int64_t num_res_blocks = 2);

/// The reverse: UNet2DConditionModel of diffusers (layers_per_block of its configuration) to its place in an ldm
/// checkpoint.
[[nodiscard]] result<key_map> diffusers_unet_to_ldm(std::int64_t layers_per_block = 2);

/// The autoencoder of an ldm checkpoint (AutoencoderKL of ldm/models/autoencoder.py, below `first_stage_model.`) to the
/// names and shapes of AutoencoderKL of diffusers 0.42: what convert_ldm_vae_checkpoint does. The convolutions of its
/// attention become linear layers. `levels` is the length of ch_mult. All else of the checkpoint is dropped, so are
/// losses.
[[nodiscard]] result<key_map> ldm_vae_to_diffusers(std::int64_t levels = 4);

/// The reverse: AutoencoderKL of diffusers (the length of down_block_types of its configuration) to its place in an ldm
/// checkpoint. Files from before diffusers 0.13 call the parts of attention query, key, value and proj_attn.
[[nodiscard]] result<key_map> diffusers_vae_to_ldm(std::int64_t levels = 4);

/// The text encoder of a Stable Diffusion 1 checkpoint (FrozenCLIPEmbedder of ldm/modules/encoders/modules.py, below
/// `cond_stage_model.transformer.`) to the names of CLIPTextModel of transformers 4: what convert_ldm_clip_checkpoint
/// of diffusers does. Its position_ids, which transformers stored until 4.30, are dropped, and so is all else.
[[nodiscard]] key_map ldm_text_encoder_to_transformers();

/// The reverse, without the position_ids.
[[nodiscard]] key_map transformers_text_encoder_to_ldm();

} // namespace maps
} // namespace ckpt::inline CKPT_DETAIL_ABI

#if !defined(CKPT_COMPILED)
#include <ckpt/maps/impl/latent_diffusion.ipp>
#endif
