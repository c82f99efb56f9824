#!/usr/bin/env python3
"""Trains tiny models with OpenCLIP's own training program on its synthetic data and keeps the last checkpoints in
tests/data/frameworks/open_clip-X.Y. The cosine schedule of 2.24 computes with numpy, so the learning rates in its files
are numpy scalars; 3.3's are plain numbers.

    pip install torch==2.13.0 numpy
    pip install --no-deps torchvision==0.28.0 pillow timm==1.0.31 open_clip_torch==3.3.0
    pip install ftfy regex webdataset braceexpand pandas huggingface_hub tqdm pyyaml safetensors
    python tests/frameworks/open_clip_training.py

and again with the older version first on the path:

    pip install --no-deps -t FOLDER open_clip_torch==2.24.0
    PYTHONPATH=FOLDER python tests/frameworks/open_clip_training.py

The vocabulary must have its 49,408 entries, so the text tower is one wide to keep the files small: the embedding and
its moments are most of them. epoch_2.pt is of a run in float32 and epoch_latest.pt of one in bfloat16 with a frozen
image tower; in 3.3, which offers the choice, their optimizers keep no moment and one.
"""
import importlib.metadata
import json
import os

import keep
import tiny  # before open_clip, which imports torchvision

import open_clip

MODEL = {'embed_dim': 4, 'vision_cfg': {'image_size': 32, 'layers': 1, 'width': 4, 'head_width': 2, 'patch_size': 16},
         'text_cfg': {'context_length': 77, 'vocab_size': 49408, 'width': 1, 'heads': 1, 'layers': 1}}


def train(program, name, *options):
    """Writes logs/NAME/checkpoints/epoch_2.pt and the same as epoch_latest.pt."""
    program(['--model', 'tiny', '--dataset-type', 'synthetic', '--train-num-samples', '8', '--batch-size', '4',
             '--epochs', '2', '--workers', '0', '--save-frequency', '1', '--warmup', '1', '--save-most-recent',
             '--logs', 'logs', '--name', name, *options])


def main():
    version = importlib.metadata.version('open_clip_torch')
    release, framework = 'open_clip-' + '.'.join(version.split('.')[:2]), 'open_clip_torch ' + version
    full, half = ['--precision', 'fp32'], ['--precision', 'pure_bf16', '--lock-image']
    if version.startswith('2.'):
        import training.main as training
        shows = 'training checkpoint of OpenCLIP: state_dict, optimizer, numpy learning rates'
    else:
        import open_clip_train.main as training
        shows = 'training checkpoint of OpenCLIP: state_dict, optimizer, plain learning rates'
        full += ['--opt', 'timm/momentum', '--lr', '5e-4', '--momentum', '0']
        half += ['--opt', 'timm/lion', '--lr', '5e-4']
    with tiny.empty_folder():
        os.mkdir('models')
        with open('models/tiny.json', 'w') as f:
            json.dump(MODEL, f)
        open_clip.add_model_config('models')
        for name, options, last in ('tiny', full, 'epoch_2.pt'), ('half', half, 'epoch_latest.pt'):
            train(training.main, name, *options)
            keep.keep_file('logs/%s/checkpoints/%s' % (name, last), release, last, framework, shows,
                           weights='state_dict')


if __name__ == '__main__':
    main()
