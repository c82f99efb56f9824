#!/usr/bin/env python3
"""Saves the state_dicts of one small model in torch's wrappers, alone and in several orders, in
tests/data/frameworks/wrappers: DataParallel, DDP, compile, activation checkpointing, FSDP1, AveragedModel.

    pip install torch==2.13.0 numpy
    python tests/frameworks/wrappers.py
"""
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.nn.parallel import DataParallel, DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import gloo
import keep
import tiny


def model():
    torch.manual_seed(7)
    net = nn.Module()
    net.blocks = nn.ModuleList([nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)) for _ in range(2)])
    net.head = nn.Linear(2, 3)
    return net


def with_blocks(wrap):
    net = model()
    net.blocks = nn.ModuleList(map(wrap, net.blocks))
    return net


def sharded():
    return FullyShardedDataParallel(with_blocks(checkpoint_wrapper), device_id=torch.device('cpu'),
                                    use_orig_params=True)


def model_and_average():
    raw = model()
    average = AveragedModel(raw, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    average.update_parameters(raw)
    with torch.no_grad():
        raw.head.bias.add_(1)
    average.update_parameters(raw)
    return {'model': raw.state_dict(), 'ema': average.state_dict()}


def save(saved, name, shows, **fields):
    torch.save(saved, name)
    keep.keep_file(name, 'wrappers', name, 'torch ' + torch.__version__, shows, **fields)


def main():
    with tiny.empty_folder(), gloo.alone():
        wrapped = {
            'data_parallel.pt': DataParallel(model()),
            'ddp.pt': DistributedDataParallel(model()),
            'compile.pt': torch.compile(model()),
            'compile_of_ddp.pt': torch.compile(DistributedDataParallel(model())),
            'ddp_of_compile.pt': DistributedDataParallel(torch.compile(model())),
            'compile_of_blocks.pt': with_blocks(torch.compile),
            'ddp_of_checkpoint.pt': DistributedDataParallel(with_blocks(checkpoint_wrapper)),
            'fsdp_of_checkpoint.pt': sharded(),
            'average_of_compile.pt': AveragedModel(torch.compile(model())),
        }
        for name, module in wrapped.items():
            save(module.state_dict(), name, 'state_dict of %s of a model' % name[:-3].replace('_', ' '), weights='')
        for name in 'ddp_of_checkpoint', 'fsdp_of_checkpoint':
            save(dict(wrapped[name + '.pt'].named_parameters()), name + '_parameters.pt',
                 'dict(named_parameters()) of %s: the names that its state_dict hides' % name.replace('_', ' '),
                 weights='')
        save(model_and_average(), 'model_and_average.pt', 'a model and its AveragedModel', question=['model', 'ema'])


if __name__ == '__main__':
    main()
