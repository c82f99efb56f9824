#!/usr/bin/env python3
"""Runs two steps with accelerate and keeps what Accelerator.save_state wrote in tests/data/frameworks/accelerate-X.Y,
with the weights as safetensors and as .bin: model, optimizer, scheduler, sampler, random states, a registered object.

    pip install torch==2.13.0 accelerate==1.15.0 safetensors==0.8.0 numpy
    python tests/frameworks/accelerate_state.py
"""
import accelerate
import safetensors.torch
import torch

import keep
import tiny

STATES = {'optimizer.bin': {'shows': "the optimizer's state_dict"},
          'scheduler.bin': {'shows': "the scheduler's state_dict"},
          'sampler.bin': {'shows': 'the sampler object with its data set and generator'},
          'random_states_0.pkl': {'shows': 'random states of Python, numpy (an array) and torch'},
          'custom_checkpoint_0.pkl': {'shows': 'the state of a registered object'}}


class Progress:
    """What a user registers to be saved with the rest."""

    def __init__(self):
        self.state = {'seen': 0, 'losses': [], 'mean': torch.zeros(2)}

    def state_dict(self):
        return self.state

    def load_state_dict(self, state):
        self.state = state


def main():
    accelerate.utils.set_seed(7)
    accelerator = accelerate.Accelerator(
        cpu=True, dataloader_config=accelerate.DataLoaderConfiguration(use_seedable_sampler=True))
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    data = torch.utils.data.TensorDataset(torch.randn(8, 3), torch.randn(8, 2))
    loader = torch.utils.data.DataLoader(data, batch_size=4, shuffle=True)
    model, optimizer, scheduler, loader = accelerator.prepare(model, optimizer, scheduler, loader)
    progress = Progress()
    accelerator.register_for_checkpointing(progress)
    for x, y in loader:
        loss = torch.nn.functional.mse_loss(model(x), y)
        accelerator.backward(loss)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        progress.state['seen'] += len(x)
        progress.state['losses'].append(loss.item())
    release, framework = tiny.release(accelerate), 'accelerate ' + accelerate.__version__
    with tiny.empty_folder():
        accelerator.save_state('safetensors')
        # save_state does this in older versions; 1.15 looks only at the loaders of iterable data sets.
        accelerator.save(loader.get_sampler(), 'safetensors/sampler.bin')
        keep.keep_folder('safetensors', release, 'state', framework, 'save_state of an Accelerator',
                         safetensors.torch.load_file('safetensors/model.safetensors'), STATES)
        accelerator.save_state('bin', safe_serialization=False)
        keep.keep_folder('bin', release, 'state_bin', framework, 'save_state of an Accelerator without safetensors',
                         torch.load('bin/pytorch_model.bin'),
                         {'pytorch_model.bin': {'shows': 'bare state_dict', 'weights': ''}})


if __name__ == '__main__':
    main()
