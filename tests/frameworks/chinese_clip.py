#!/usr/bin/env python3
"""Trains a tiny Chinese-CLIP with its own schedule in torch's DDP and keeps the dictionary that
cn_clip/training/main.py saves (which itself needs CUDA) in tests/data/frameworks/cn_clip-1.6: with the plain names, and
with those that its convert_state_dict makes for flash attention. The schedule computes with numpy, so the learning
rates are numpy scalars.

    pip install torch==2.13.0 numpy
    pip install --no-deps torchvision==0.28.0 pillow cn_clip==1.6.0 six
    python tests/frameworks/chinese_clip.py
"""
import importlib.metadata

import torch

import gloo
import keep
import tiny  # before cn_clip, which imports torchvision

from cn_clip.clip.model import CLIP, convert_state_dict
from cn_clip.training.scheduler import cosine_lr

SIZES = {'embed_dim': 4, 'image_resolution': 16, 'vision_layers': 1, 'vision_width': 4, 'vision_patch_size': 8,
         'vision_head_width': 2, 'vocab_size': 32, 'text_attention_probs_dropout_prob': 0.1, 'text_hidden_act': 'gelu',
         'text_hidden_dropout_prob': 0.1, 'text_hidden_size': 4, 'text_initializer_range': 0.02,
         'text_intermediate_size': 8, 'text_max_position_embeddings': 8, 'text_num_attention_heads': 2,
         'text_num_hidden_layers': 2, 'text_type_vocab_size': 2}
STEPS = 4


def optimizer_of(model):
    """The two groups of main.py."""
    named = [(n, p, any(part in n for part in ('bn', 'ln', 'bias', 'logit_scale')))
             for n, p in model.named_parameters()]
    return torch.optim.AdamW([{'params': [p for _, p, excluded in named if excluded], 'weight_decay': 0.},
                              {'params': [p for _, p, excluded in named if not excluded], 'weight_decay': 0.001}],
                             lr=5e-5, betas=(0.9, 0.98), eps=1e-6)


def train(model, optimizer):
    schedule = cosine_lr(optimizer, 5e-5, 1, STEPS)
    images, texts = torch.randn(2, 3, 16, 16), torch.randint(1, 32, (2, 8))
    for step in range(STEPS):
        schedule(step)
        optimizer.zero_grad()
        image, text, scale = model(images, texts)
        torch.nn.functional.cross_entropy(scale * image @ text.t(), torch.arange(2)).backward()
        optimizer.step()


def main():
    torch.manual_seed(7)
    framework = 'cn_clip ' + importlib.metadata.version('cn_clip')
    with tiny.empty_folder(), gloo.alone():
        model = torch.nn.parallel.DistributedDataParallel(CLIP(**SIZES))
        optimizer = optimizer_of(model)
        train(model, optimizer)
        for name, weights, shows in (
                ('epoch_latest.pt', model.state_dict(), 'keys as DDP has them'),
                ('epoch_latest_flash.pt', convert_state_dict(model.state_dict()), 'keys for flash attention')):
            torch.save({'epoch': 1, 'step': STEPS, 'name': 'tiny', 'state_dict': weights,
                        'optimizer': optimizer.state_dict()}, name)
            keep.keep_file(name, 'cn_clip-1.6', name, framework,
                           'training checkpoint of Chinese-CLIP, numpy learning rates, ' + shows, weights='state_dict')


if __name__ == '__main__':
    main()
