#!/usr/bin/env python3
"""Saves what one of four processes has of distributed tensors, in tests/data/frameworks/distributed: DTensors on meshes
of one and two dimensions, a ShardedTensor. torch.load gives a ShardedTensor inside the same process group only.

    pip install torch==2.13.0 numpy
    python tests/frameworks/distributed_tensors.py
"""
import os
import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.distributed._shard import load_with_process_group, sharded_tensor
from torch.distributed._shard.sharding_spec import ChunkShardingSpec
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor, init_device_mesh

import keep
import tiny

WORLD = 4


def run(rank, folder):
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT='29571', RANK=str(rank), WORLD_SIZE=str(WORLD))
    dist.init_process_group('gloo', rank=rank, world_size=WORLD)
    line = init_device_mesh('cpu', (WORLD,))
    square = init_device_mesh('cpu', (2, 2), mesh_dim_names=('dp', 'tp'))
    full = torch.arange(24.).reshape(6, 4)
    tensors = {'rows': distribute_tensor(full, line, [Shard(0)]),
               'columns': distribute_tensor(full, square, [Replicate(), Shard(1)]),
               'twice': distribute_tensor(full, square, [Shard(0), Shard(0)]),
               'copy': distribute_tensor(full, line, [Replicate()]),
               'sum': DTensor.from_local(torch.ones(2), square, [Partial(), Replicate()]), 'plain': full[:1].clone()}
    spec = ChunkShardingSpec(dim=0, placements=['rank:%d/cpu' % i for i in range(WORLD)])
    sharded = sharded_tensor.zeros(spec, 6, 4)
    for shard in sharded.local_shards():
        shard.tensor.copy_(torch.arange(float(shard.tensor.numel())).reshape(shard.tensor.shape))
    if rank == 1:
        os.chdir(folder)
        for name, saved, shows in (('dtensor.pt', tensors, 'DTensors as process 1 of 4 saves them'),
                                   ('sharded_tensor.pt', {'sharded': sharded},
                                    'a ShardedTensor as process 1 of 4 saves it')):
            torch.save(saved, name)
            with load_with_process_group(dist.group.WORLD):
                seen = torch.load(name, weights_only=False)
            keep.keep_file(name, 'distributed', name, 'torch ' + torch.__version__, shows, seen, weights='')
    dist.barrier()
    dist.destroy_process_group()


if __name__ == '__main__':
    with tiny.empty_folder():
        mp.spawn(run, args=(os.getcwd(),), nprocs=WORLD)
    sys.exit(0)
