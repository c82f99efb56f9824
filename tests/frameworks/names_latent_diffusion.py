#!/usr/bin/env python3
"""Saves a small Stable Diffusion as one checkpoint with the names of latent diffusion (ldm), averages included, and its
three parts with the names of diffusers and transformers, in tests/data/frameworks/names_latent_diffusion. U-Net,
autoencoder and averages are the classes of ldm, with 2 groups in place of 32; diffusers' own functions for single files
convert them, and its models load the result.

    pip install torch==2.13.0 numpy transformers==5.23.0 lightning==2.6.6 omegaconf==2.4.0 requests
    pip install --no-deps torchvision==0.28.0 pillow stable-diffusion-sdkit==2.1.5 einops diffusers==0.42.1
    python tests/frameworks/names_latent_diffusion.py
"""
import collections
import contextlib
import importlib.metadata
import os

import torch
from torch import nn

import keep
import tiny  # before transformers, which imports torchvision

with contextlib.redirect_stdout(open(os.devnull, 'w')):
    from ldm.models.autoencoder import AutoencoderKL
    from ldm.modules import attention, ema
    from ldm.modules.diffusionmodules import model, openaimodel, util
import diffusers
import transformers
from diffusers.loaders import single_file_utils

MULTIPLIERS = [1, 2]
UNET = {'image_size': 8, 'in_channels': 4, 'out_channels': 4, 'model_channels': 4, 'attention_resolutions': [2],
        'num_res_blocks': 1, 'channel_mult': MULTIPLIERS, 'num_heads': 1, 'use_spatial_transformer': True,
        'transformer_depth': 1, 'context_dim': 4, 'legacy': False, 'use_checkpoint': False}
VAE = {'double_z': True, 'z_channels': 4, 'resolution': 16, 'in_channels': 3, 'out_ch': 3, 'ch': 4, 'ch_mult': [1, 2],
       'num_res_blocks': 1, 'attn_resolutions': [], 'dropout': 0.0}
TEXT = {'hidden_size': 4, 'intermediate_size': 6, 'num_hidden_layers': 2, 'num_attention_heads': 2, 'vocab_size': 16,
        'max_position_embeddings': 5, 'bos_token_id': 0, 'eos_token_id': 1, 'pad_token_id': 1}
CONFIG = {'model': {'params': {'unet_config': {'params': UNET}, 'first_stage_config': {'params': {'ddconfig': VAE}}}}}


def small_groups():
    openaimodel.normalization = lambda channels: util.GroupNorm32(2, channels)
    attention.Normalize = model.Normalize = lambda channels, num_groups=2: nn.GroupNorm(2, channels, eps=1e-6)


class TextEncoder(nn.Module):
    """CLIPTextModel as transformers had it when Stable Diffusion was trained: below text_model, with its positions."""

    def __init__(self):
        super().__init__()
        self.text_model = transformers.CLIPTextModel(transformers.CLIPTextConfig(**TEXT))
        self.text_model.embeddings.register_buffer('position_ids', torch.arange(TEXT['max_position_embeddings'])[None])


class LatentDiffusion(nn.Module):
    """The parts of ldm.models.diffusion.ddpm.LatentDiffusion, whose imports need Lightning 1.4."""

    def __init__(self):
        super().__init__()
        self.model = nn.Module()
        self.model.diffusion_model = tiny.randomized(openaimodel.UNetModel(**UNET))
        self.model_ema = ema.LitEma(self.model)
        betas = torch.linspace(0.00085 ** 0.5, 0.012 ** 0.5, 10) ** 2
        self.register_buffer('betas', betas)
        self.register_buffer('alphas_cumprod', torch.cumprod(1 - betas, 0))
        self.first_stage_model = tiny.randomized(AutoencoderKL(VAE, {'target': 'torch.nn.Identity'}, 4))
        self.cond_stage_model = nn.Module()
        self.cond_stage_model.transformer = tiny.randomized(TextEncoder())
        tiny.randomized(self.model)
        self.model_ema(self.model)


def loaded(net, weights):
    net.load_state_dict(weights)
    return net.state_dict()


def diffusers_parts(weights):
    unet = single_file_utils.create_unet_diffusers_config_from_ldm(CONFIG, weights)
    vae = single_file_utils.create_vae_diffusers_config_from_ldm(CONFIG, weights)
    with_averages = single_file_utils.convert_ldm_unet_checkpoint(dict(weights), unet, extract_ema=True)
    assert all(v is not None for v in with_averages.values())

    def unet_with(values):
        return loaded(diffusers.UNet2DConditionModel(**unet, norm_num_groups=2), values)
    text = single_file_utils.convert_ldm_clip_checkpoint(dict(weights))
    del text['text_model.embeddings.position_ids']
    return [
        ('unet.pt', unet_with(single_file_utils.convert_ldm_unet_checkpoint(dict(weights), unet)),
         'the U-Net of ldm.ckpt'),
        ('unet_ema.pt', unet_with(with_averages),
         'the U-Net of ldm.ckpt with the averages in the place of its weights'),
        ('vae.pt', loaded(diffusers.AutoencoderKL(**vae, norm_num_groups=2),
                          single_file_utils.convert_ldm_vae_checkpoint(dict(weights), vae)),
         'the autoencoder of ldm.ckpt'),
        ('text_encoder.pt', collections.OrderedDict(text), 'the text encoder of ldm.ckpt'),
    ]


def main():
    torch.manual_seed(7)
    small_groups()
    weights = LatentDiffusion().state_dict()
    ldm = 'stable-diffusion-sdkit ' + importlib.metadata.version('stable-diffusion-sdkit')
    with tiny.empty_folder():
        torch.save({'global_step': 470000, 'state_dict': weights}, 'ldm.ckpt')
        keep.keep_file('ldm.ckpt', 'names_latent_diffusion', 'ldm.ckpt', ldm,
                       'a Stable Diffusion of version 1: U-Net, averages, autoencoder and text encoder',
                       weights='state_dict')
        for name, saved, shows in diffusers_parts(weights):
            torch.save(collections.OrderedDict((k, v.clone()) for k, v in saved.items()), name)
            keep.keep_file(name, 'names_latent_diffusion', name, 'diffusers ' + diffusers.__version__, shows,
                           weights='')


if __name__ == '__main__':
    main()
