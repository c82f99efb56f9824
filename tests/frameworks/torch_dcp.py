#!/usr/bin/env python3
"""Saves distributed checkpoints from four processes and keeps them in tests/data/frameworks/dcp: a model and optimizer
of FSDP2, tensors on a mesh of two dimensions, plain and nested values, chunks as safetensors, one file for each item.

    pip install torch==2.13.0 numpy safetensors==0.8.0
    python tests/frameworks/torch_dcp.py
"""
import os
import sys

import torch
import torch.distributed.checkpoint as dcp
import torch.multiprocessing

PORT = 29633


def grid():
    return torch.arange(5 * 7, dtype=torch.float32).reshape(5, 7)


def fsdp2(mesh, folder):
    from torch.distributed.checkpoint.state_dict import get_state_dict
    from torch.distributed.fsdp import fully_shard
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5), torch.nn.Linear(5, 2, bias=False))
    for layer in model:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(2):
        model(torch.randn(4, 3)).sum().backward()
        optimizer.step()
    weights, state = get_state_dict(model, optimizer)
    dcp.save({'model': weights, 'optimizer': state, 'epoch': 3, 'name': 'run',
              'nested': [torch.arange(3.0) + 1, {'a': (1, 2, None), 'b': torch.ones(2)}], 'text': ['x', 'y']},
             checkpoint_id=folder)


def meshes(folder):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Replicate, Shard, distribute_tensor
    mesh = init_device_mesh('cpu', (2, 2), mesh_dim_names=('a', 'b'))
    out = {'grid': distribute_tensor(grid(), mesh, [Shard(0), Shard(1)]),
           'rows': distribute_tensor(grid(), mesh, [Shard(0), Shard(0)]),
           'columns': distribute_tensor(grid(), mesh, [Replicate(), Shard(1)]),
           'few': distribute_tensor(torch.arange(3.0), mesh, [Shard(0), Shard(0)]),
           'half': distribute_tensor(grid().bfloat16(), mesh, [Shard(1), Shard(0)]), 'plain': torch.arange(4),
           'scalar': torch.tensor(2.5), 'transposed': torch.arange(6.0).reshape(2, 3).t(), 'empty': torch.empty(0, 3)}
    dcp.save(out, checkpoint_id=folder)
    return out


def save(rank, world, folder):
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank), MASTER_ADDR='127.0.0.1',
                      MASTER_PORT=str(PORT))
    torch.distributed.init_process_group('gloo')
    from torch.distributed.checkpoint.filesystem import FileSystemWriter, SerializationFormat
    from torch.distributed.device_mesh import init_device_mesh
    fsdp2(init_device_mesh('cpu', (world,)), os.path.join(folder, 'fsdp2'))
    tensors = meshes(os.path.join(folder, 'mesh_2d'))
    small = {'w': tensors['rows'], 'v': tensors['plain'], 'epoch': 5}
    dcp.save(small, storage_writer=FileSystemWriter(os.path.join(folder, 'safetensors'),
                                                    serialization_format=SerializationFormat.SAFETENSORS))
    dcp.save({**small, 'w': tensors['grid']},
             storage_writer=FileSystemWriter(os.path.join(folder, 'file_per_item'), single_file_per_rank=False))
    torch.distributed.destroy_process_group()


def main():
    from torch.distributed.checkpoint.format_utils import dcp_to_torch_save
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import keep
    import tiny
    with tiny.empty_folder():
        torch.multiprocessing.spawn(save, args=(4, os.getcwd()), nprocs=4)
        for name, shows in (('fsdp2', 'a model and its optimizer under FSDP2 on four ranks; nested values'),
                            ('mesh_2d',
                             'DTensors on a mesh of 2 by 2: a grid, rows and columns that are not even, empty shards'),
                            ('safetensors', 'chunks as safetensors, objects as torch.save'),
                            ('file_per_item', 'one file for each item')):
            if name == 'safetensors':  # torch does not read these itself
                seen = {'w': grid(), 'v': torch.arange(4), 'epoch': 5}
            else:
                dcp_to_torch_save(name, name + '.pt')
                seen = torch.load(name + '.pt', weights_only=False)
            keep.keep_distributed(name, 'dcp', name, 'torch.distributed.checkpoint of torch ' + torch.__version__,
                                  shows, seen)


if __name__ == '__main__':
    main()
