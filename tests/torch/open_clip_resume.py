#!/usr/bin/env python3
"""Converts a training checkpoint of OpenCLIP that torch's safe mode refuses, and lets OpenCLIP go on with it.

    python tests/torch/open_clip_resume.py --ckpt PROGRAM

OpenCLIP's own training program loads the file, in torch's safe mode, with the state of the optimizer, and trains one
epoch more. Where it cannot be imported nothing is run. The last line is `N passed, N failed, N skipped`.
    pip install --no-deps torchvision pillow timm open_clip_torch
    pip install torch numpy ftfy regex webdataset braceexpand pandas huggingface_hub tqdm pyyaml safetensors
"""
import argparse
import json
import logging
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.join(HERE, '..', 'data', 'frameworks', 'open_clip-2.24', 'epoch_latest.pt')
sys.path.insert(0, os.path.join(HERE, '..', 'frameworks'))

try:
    import torch
    import tiny  # before open_clip, which imports torchvision
    import open_clip
    import open_clip_train.main
    import open_clip_training
except ImportError as e:
    open_clip = e


def refused(path):
    try:
        torch.load(path, weights_only=True)
    except Exception as e:
        return 'numpy' in str(e)
    return False


def resume(checkpoint):
    """The checkpoint after one epoch more."""
    os.mkdir('models')
    with open('models/tiny.json', 'w') as f:
        json.dump(open_clip_training.MODEL, f)
    open_clip.add_model_config('models')
    open_clip_training.train(open_clip_train.main.main, 'again', '--precision', 'pure_bf16', '--lock-image',
                             '--resume', checkpoint, '--epochs', '3')
    logging.shutdown()
    return torch.load('logs/again/checkpoints/epoch_3.pt', weights_only=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--ckpt', required=True)
    args = parser.parse_args()
    if isinstance(open_clip, ImportError):
        print(f'not run: {open_clip}\n0 passed, 0 failed, 6 skipped')
        return 0
    program, source = os.path.abspath(args.ckpt), os.path.abspath(SOURCE)
    results = {}
    with tiny.empty_folder():
        done = subprocess.run([program, 'convert', source, 'clean.pt'], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        results['the file is converted'] = done.returncode == 0
        results["safe mode refuses the file, because of numpy's number"] = refused(source)
        results['and loads what became of it'] = not refused('clean.pt')
        before = torch.load('clean.pt', weights_only=True)
        after = resume(os.path.abspath('clean.pt'))
    steps = [{k: float(s['step']) for k, s in c['optimizer']['state'].items()} for c in (before, after)]
    results['the epochs are counted on'] = (before['epoch'], after['epoch']) == (2, 3)
    results["the optimizer's steps are counted on"] = bool(steps[0]) and all(
        steps[1][k] == n + 2 for k, n in steps[0].items())
    results['the frozen tower is what it was'] = all(
        torch.equal(t, after['state_dict'][k]) for k, t in before['state_dict'].items() if k.startswith('visual.'))
    for name in (name for name, passed in results.items() if not passed):
        print('FAILED: ' + name)
    print(f'{sum(results.values())} passed, {len(results) - sum(results.values())} failed, 0 skipped')
    return 0 if all(results.values()) else 1


if __name__ == '__main__':
    sys.exit(main())
