#!/usr/bin/env python3
"""Trains a tiny model on processes that share it, lets each save its own part with torch.save, and keeps the folders in
tests/data/frameworks/fsdp: FSDP1 with sharded and local state_dicts, FSDP2, FSDP2 with tensor parallelism and with
replicas. The file names are those of accelerate, verl, Composer and plain scripts. What PyTorch says of them is its own
full state_dict.

    pip install torch==2.13.0 numpy
    python tests/frameworks/fsdp_ranks.py
"""
import os
import sys
import warnings

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import nn

PORT = 29641


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 6)
        self.norm = nn.BatchNorm1d(6)
        self.up = nn.Linear(6, 5)
        self.down = nn.Linear(5, 6, bias=False)
        self.head = nn.Linear(6, 7, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x):
        return self.head(self.down(self.up(self.norm(self.embed(x)))))


def train(model):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(2):
        model(torch.arange(7)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return optimizer


def full(tree):
    """The same with every DTensor whole."""
    if isinstance(tree, dict):
        return type(tree)((k, full(v)) for k, v in tree.items())
    if isinstance(tree, (list, tuple)):
        return type(tree)(full(v) for v in tree)
    return tree.full_tensor().clone() if isinstance(tree, torch.distributed.tensor.DTensor) else tree


class Saver:
    def __init__(self, rank, world, folder):
        self.rank, self.world, self.folder = rank, world, folder

    def save(self, name, file, value, whole):
        """This rank's part in a file of its own, the whole beside the folder."""
        os.makedirs(os.path.join(self.folder, name), exist_ok=True)
        os.chdir(os.path.join(self.folder, name))
        torch.save(value, file.format(rank=self.rank, world=self.world))
        if self.rank == 0 and whole is not None:
            torch.save(whole, os.path.join(self.folder, name + '.whole.pt'))


def fsdp1(out, mesh):
    from torch.distributed.fsdp import FullStateDictConfig, FullyShardedDataParallel as FSDP, StateDictType
    from torch.distributed.fsdp.wrap import ModuleWrapPolicy

    def wrapped(**more):
        torch.manual_seed(0)
        model = FSDP(Tiny(), auto_wrap_policy=ModuleWrapPolicy({nn.Linear}), ignored_modules=[],
                     device_id=torch.device('cpu'), **more)
        return model, train(model)

    def states(model, kind):
        with FSDP.state_dict_type(model, kind):
            return model.state_dict()

    def whole(model):
        with FSDP.state_dict_type(model, StateDictType.FULL_STATE_DICT, FullStateDictConfig(rank0_only=False)):
            return model.state_dict()
    model, _ = wrapped()
    if out.world == 4:
        out.save('fsdp1_sharded', 'rank_{rank}.pt',
                 {'model': states(model, StateDictType.SHARDED_STATE_DICT), 'step': 2},
                 {'model': whole(model), 'step': 2})
        return
    # The local shards of each flat parameter, one after another.
    local = states(model, StateDictType.LOCAL_STATE_DICT)
    flat = type(local)()
    for key, value in local.items():
        if isinstance(value, torch.distributed._shard.sharded_tensor.ShardedTensor):
            pieces = [None] * out.world
            dist.all_gather_object(pieces, [shard.tensor for shard in value.local_shards()])
            flat[key] = torch.cat([piece for of_rank in pieces for piece in of_rank])
            assert flat[key].shape == value.size()
        else:
            flat[key] = value
    out.save('fsdp1_local', 'pytorch_model_fsdp_rank{rank}.bin', local, flat)
    model, optimizer = wrapped(device_mesh=mesh)
    out.save('fsdp1_dtensor', 'model_world_size_{world}_rank_{rank}.pt',
             states(model, StateDictType.SHARDED_STATE_DICT), whole(model))
    with FSDP.state_dict_type(model, StateDictType.SHARDED_STATE_DICT):
        out.save('fsdp1_dtensor', 'optim_world_size_{world}_rank_{rank}.pt', FSDP.optim_state_dict(model, optimizer),
                 None)
    out.save('fsdp1_dtensor', 'extra_state_world_size_{world}_rank_{rank}.pt',
             {'rng': torch.get_rng_state()[:16].clone(), 'step': 2}, None)


def fsdp2(out, mesh):
    from torch.distributed.fsdp import fully_shard
    torch.manual_seed(0)
    model = Tiny()
    for layer in (model.up, model.down):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    optimizer = train(model)
    saved = {'model': model.state_dict(), 'optimizer': optimizer.state_dict(), 'step': 2}
    out.save('fsdp2', 'model-rank{rank}.pth', saved, full(saved))


def fsdp2_and_tensor_parallel(out, mesh):
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
    torch.manual_seed(0)
    model = nn.ModuleDict({'up': nn.Linear(6, 10), 'down': nn.Linear(10, 6), 'norm': nn.LayerNorm(6)})
    parallelize_module(model, mesh['tp'], {'up': ColwiseParallel(), 'down': RowwiseParallel()})
    for layer in (model['up'], model['down']):
        fully_shard(layer, mesh=mesh['dp'])
    out.save('fsdp2_tp', 'ep0-ba2-rank{rank}.pt', model.state_dict(), full(model.state_dict()))


def fsdp2_with_replicas(out, mesh):
    from torch.distributed.fsdp import fully_shard
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3, bias=False)).bfloat16()
    fully_shard(model, mesh=mesh)
    out.save('fsdp2_replicas', 'rank{rank}.ckpt', {'state_dict': model.state_dict(), 'epoch': 1},
             {'state_dict': full(model.state_dict()), 'epoch': 1})


def run(rank, world, folder):
    warnings.simplefilter('ignore')
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank), MASTER_ADDR='127.0.0.1',
                      MASTER_PORT=str(PORT))
    from torch.distributed.device_mesh import init_device_mesh
    dist.init_process_group('gloo')
    out = Saver(rank, world, folder)
    mesh = init_device_mesh('cpu', (world,))
    fsdp1(out, mesh)
    if world == 4:
        fsdp2(out, mesh)
        fsdp2_and_tensor_parallel(out, init_device_mesh('cpu', (2, 2), mesh_dim_names=('dp', 'tp')))
        fsdp2_with_replicas(out, init_device_mesh('cpu', (2, 2), mesh_dim_names=('replicate', 'shard')))
    dist.barrier()
    dist.destroy_process_group()


CASES = (('fsdp1_sharded', 'FSDP1 on four ranks, SHARDED_STATE_DICT: ShardedTensors, batch statistics, tied weights',
          ['model'], {'step': 2}),
         ('fsdp1_local', 'FSDP1 on two ranks, LOCAL_STATE_DICT: flat parameters', [], None),
         ('fsdp1_dtensor',
          'FSDP1 with a device mesh on two ranks, SHARDED_STATE_DICT: DTensors; the optimizer beside it', [], None),
         ('fsdp2', 'FSDP2 on four ranks: model and optimizer, empty shards, tied weights', None, None),
         ('fsdp2_tp', 'FSDP2 over tensor parallelism on a mesh of 2 by 2: strided shards, a whole norm', [], None),
         ('fsdp2_replicas', 'FSDP2 with replicas on a mesh of 2 by 2, bfloat16', ['state_dict'], {'epoch': 1}))


def main():
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import keep
    import tiny
    with tiny.empty_folder():
        here = os.getcwd()
        for world in (2, 4):
            torch.multiprocessing.spawn(run, args=(world, here), nprocs=world)
        for name, shows, selected, values in CASES:
            seen = torch.load(os.path.join(here, name + '.whole.pt'), weights_only=False)
            for part in selected or []:
                seen = seen[part]
            keep.keep_distributed(os.path.join(here, name), 'fsdp', name, 'torch ' + torch.__version__, shows, seen,
                                  selected, values)


if __name__ == '__main__':
    main()
