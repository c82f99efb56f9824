#!/usr/bin/env python3
"""Saves a tiny GPT-2 in shards of 4 KB with transformers' save_pretrained and keeps the folders in
tests/data/frameworks/transformers-X.Y: as safetensors, and as .bin files where the version still writes them.

    pip install torch==2.13.0 transformers==5.23.0 safetensors==0.8.0 numpy
    python tests/frameworks/transformers_shards.py

and again in an environment with transformers==4.57.6 and numpy==1.26.4.
"""
import safetensors.torch
import torch
import transformers

import keep
import tiny


def main():
    release, framework = tiny.release(transformers), 'transformers ' + transformers.__version__
    model = tiny.gpt2()
    with tiny.empty_folder():
        model.save_pretrained('safetensors', max_shard_size='4KB')
        weights = tiny.merged_shards('safetensors', '.safetensors', safetensors.torch.load_file)
        keep.keep_folder('safetensors', release, 'shards_safetensors', framework, 'safetensors shards and their index',
                         weights, {})
        if transformers.__version__ < '5':
            model.save_pretrained('bin', safe_serialization=False, max_shard_size='4KB')
            weights = tiny.merged_shards('bin', '.bin', torch.load)
            keep.keep_folder('bin', release, 'shards_bin', framework,
                             '.bin shards and their index; the tied lm_head is in them', weights, {})


if __name__ == '__main__':
    main()
