#!/usr/bin/env python3
"""Saves lazy modules of torch before their first forward in tests/data/frameworks/lazy: parameters and buffers without
a shape and without values, in a state_dict and in a whole module.

    pip install torch==2.13.0 numpy
    python tests/frameworks/lazy_modules.py
"""
import os
import tempfile

import torch
from torch import nn

import keep

FOLDER = 'lazy'
FRAMEWORK = 'torch ' + torch.__version__


def main():
    torch.manual_seed(0)
    model = nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 2), nn.LazyBatchNorm1d())
    for name, value, shows in (('state_dict.pt', model.state_dict(), 'a state_dict with lazy parameters and buffers'),
                               ('module.pt', model, 'a whole module with lazy parameters and buffers')):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, name)
            torch.save(value, path)
            keep.keep_file(path, FOLDER, name, FRAMEWORK, shows, strict_exit=4, weights='')


if __name__ == '__main__':
    main()
