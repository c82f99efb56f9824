#!/usr/bin/env python3
"""Trains a tiny model with OpenCLIP 2.24's own training program on its synthetic data, and keeps its last checkpoint as
tests/data/frameworks/open_clip-2.24/epoch_2.pt with the oracle beside it. Its cosine schedule computes with numpy, so
the learning rates in the file are numpy scalars.

    pip install torch==2.13.0 numpy
    pip install --no-deps torchvision==0.28.0 pillow timm
    pip install ftfy regex webdataset braceexpand pandas huggingface_hub tqdm pyyaml safetensors
    pip install --no-deps -t FOLDER open_clip_torch==2.24.0
    PYTHONPATH=FOLDER python tests/frameworks/open_clip_2_24.py

The vocabulary must have its 49,408 entries, so the text tower is one wide to keep the file small (embedding and two
moments of Adam are most of it).
"""
import json
import os
import shutil
import sys
import tempfile

import numpy
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [HERE, os.path.join(TESTS, 'torch')]
import expected  # noqa: E402
import vision  # noqa: E402


MODEL = {'embed_dim': 4, 'vision_cfg': {'image_size': 32, 'layers': 1, 'width': 4, 'head_width': 2, 'patch_size': 16},
         'text_cfg': {'context_length': 77, 'vocab_size': 49408, 'width': 1, 'heads': 1, 'layers': 1}}


def main():
    library = vision.import_torchvision()
    import open_clip
    import training.main
    out = os.path.join(TESTS, 'data', 'frameworks', 'open_clip-2.24')
    os.makedirs(out, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.mkdir('models')
        with open('models/tiny.json', 'w') as f:
            json.dump(MODEL, f)
        open_clip.add_model_config('models')
        training.main.main(['--model', 'tiny', '--dataset-type', 'synthetic', '--train-num-samples', '8', '--batch-size', '4',
                            '--epochs', '2', '--workers', '0', '--precision', 'fp32', '--save-frequency', '1', '--warmup', '1',
                            '--save-most-recent', '--logs', 'logs', '--name', 'tiny'])
        target = os.path.join(out, 'epoch_2.pt')
        shutil.copy('logs/tiny/checkpoints/epoch_2.pt', target)
        os.chdir(HERE)
    seen = torch.load(target, weights_only=False)
    document = {'made_by': {'script': 'tests/frameworks/open_clip_2_24.py', 'framework': 'open_clip_torch 2.24.0',
                            'torch': torch.__version__, 'numpy': numpy.__version__, 'python': sys.version.split()[0]},
                'shows': 'training checkpoint of OpenCLIP: state_dict, optimizer, numpy learning rates',
                'oracle_from': 'loaded by torch'}
    document.update(expected.describe(seen))
    with open(os.path.join(out, 'epoch_2.json'), 'w') as f:
        f.write(expected.dumps(document))
    print(target, os.path.getsize(target))
    del library


if __name__ == '__main__':
    main()
