#!/usr/bin/env python3
"""Trains a tiny GPT-2 with Hugging Face's Trainer and keeps a checkpoint folder of it in
tests/data/frameworks/transformers-X.Y: weights, optimizer, scheduler, random states (with numpy arrays), arguments.
Where the version still offers it, a second folder has the weights as pytorch_model.bin.

    pip install torch==2.13.0 transformers==5.23.0 accelerate==1.15.0 safetensors==0.8.0 numpy
    python tests/frameworks/transformers_trainer.py

and again in an environment with transformers==4.57.6 and numpy==1.26.4.
"""
import dataclasses

import safetensors.torch
import torch
import transformers

import keep
import tiny

STATES = {'optimizer.pt': {'shows': "the optimizer's state_dict"},
          'scheduler.pt': {'shows': "the scheduler's state_dict"},
          'rng_state.pth': {'shows': 'random states of Python, numpy (an array) and torch'},
          'training_args.bin': {'shows': 'one TrainingArguments object with enumerations and a device'}}


def train(**options):
    """Writes run/checkpoint-2 and run/checkpoint-4."""
    sentences = torch.randint(32, (4, 6), generator=torch.Generator().manual_seed(7))
    arguments = transformers.TrainingArguments(
        'run', max_steps=4, save_steps=2, logging_steps=1, per_device_train_batch_size=2, seed=7, use_cpu=True,
        report_to=[], disable_tqdm=True, **options)
    transformers.Trainer(tiny.gpt2(), arguments,
                         train_dataset=[{'input_ids': s, 'labels': s} for s in sentences]).train()


def main():
    fields = {f.name for f in dataclasses.fields(transformers.TrainingArguments)}
    # Its default has the name of the computer in it.
    options = {'logging_dir': 'run/logs'} if 'logging_dir' in fields else {}
    release, framework = tiny.release(transformers), 'transformers ' + transformers.__version__
    with tiny.empty_folder():
        train(**options)
        weights = safetensors.torch.load_file('run/checkpoint-4/model.safetensors')
        keep.keep_folder('run/checkpoint-4', release, 'checkpoint-4', framework, 'checkpoint folder of the Trainer',
                         weights, STATES)
    if 'save_safetensors' not in fields:
        return
    with tiny.empty_folder():
        train(save_safetensors=False, **options)
        weights = torch.load('run/checkpoint-4/pytorch_model.bin')
        keep.keep_folder('run/checkpoint-4', release, 'checkpoint-4-bin', framework,
                         'checkpoint folder of the Trainer without safetensors', weights,
                         {'pytorch_model.bin': {'shows': 'bare state_dict with the tied lm_head', 'weights': ''}})


if __name__ == '__main__':
    main()
