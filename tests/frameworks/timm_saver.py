#!/usr/bin/env python3
"""Trains a tiny vision transformer of timm for two steps and keeps what timm's CheckpointSaver wrote, with and without
averaged weights, in tests/data/frameworks/timm-X.Y.

    pip install torch==2.13.0 numpy pyyaml huggingface_hub safetensors
    pip install --no-deps torchvision==0.28.0 pillow timm==1.0.31
    python tests/frameworks/timm_saver.py
"""
import argparse

import torch

import keep
import tiny  # before timm, which imports torchvision

import timm
import timm.optim
import timm.utils


def train(saved_as, **fields):
    torch.manual_seed(7)
    args = argparse.Namespace(model='vit_tiny', opt='adamw', lr=0.001, mean=None, img_size=16, split_bn=False)
    model = timm.models.VisionTransformer(
        img_size=args.img_size, patch_size=8, embed_dim=4, depth=1, num_heads=2, num_classes=3)
    average = timm.utils.ModelEmaV3(model, decay=0.9) if 'question' in fields else None
    optimizer = timm.optim.create_optimizer_v2(model, opt=args.opt, lr=args.lr, weight_decay=0.05)
    with tiny.empty_folder():
        saver = timm.utils.CheckpointSaver(model, optimizer, args=args, model_ema=average)
        for epoch in range(2):
            model(torch.randn(2, 3, 16, 16)).square().mean().backward()
            optimizer.step()
            if average is not None:
                average.update(model)
            saver.save_checkpoint(epoch, metric=0.5 + epoch / 10)
        keep.keep_file('last.pth.tar', tiny.release(timm), saved_as, 'timm ' + timm.__version__,
                       'training checkpoint of timm: state_dict, optimizer, arguments', **fields)


def main():
    train('last.pth.tar', weights='state_dict')
    train('last_ema.pth.tar', question=['state_dict', 'state_dict_ema'])


if __name__ == '__main__':
    main()
