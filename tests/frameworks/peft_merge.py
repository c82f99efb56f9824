#!/usr/bin/env python3
"""Merges a LoRA adapter with PEFT's own merge_and_unload and keeps base, adapter and result in
tests/data/frameworks/peft-X.Y: two linear layers, one of them square, a convolution and an embedding.

    pip install torch==2.13.0 peft==0.21.2 transformers==5.23.0 numpy
    python tests/frameworks/peft_merge.py
"""
import copy
import os

import torch

import keep
import tiny  # before peft, which imports torchvision where it is installed

import peft


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(11, 6)
        self.square = torch.nn.Linear(6, 6)
        self.wide = torch.nn.Linear(6, 10)
        self.conv = torch.nn.Conv2d(3, 5, 3)
        self.head = torch.nn.Linear(10, 2)


def main():
    torch.manual_seed(11)
    base = Net()
    model = peft.get_peft_model(copy.deepcopy(base), peft.LoraConfig(
        r=4, lora_alpha=8, target_modules=['embed', 'square', 'wide', 'conv']))
    for name, parameter in model.named_parameters():
        if 'lora_' in name:
            torch.nn.init.normal_(parameter)
    release, framework = tiny.release(peft), 'peft ' + peft.__version__
    with tiny.empty_folder():
        torch.save(base.state_dict(), 'merge_base.pt')
        torch.save(peft.get_peft_model_state_dict(model), 'merge_adapter.pt')
        torch.save(model.merge_and_unload().state_dict(), 'merge_result.pt')
        for name, shows in [('merge_base.pt', 'the base that a LoRA adapter was made for'),
                            ('merge_adapter.pt', 'LoRA adapter of linear, convolution and embedding, alpha 8'),
                            ('merge_result.pt', 'the base with the adapter merged by merge_and_unload')]:
            keep.keep_file(os.path.abspath(name), release, name, framework, shows, weights='')


if __name__ == '__main__':
    main()
