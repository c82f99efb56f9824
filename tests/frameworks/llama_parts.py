#!/usr/bin/env python3
"""Builds a tiny model out of fairscale's layers under LLaMA's names, on processes that share it, lets each save its
part as LLaMA was published, and keeps the folders in tests/data/frameworks/llama_parts: ParallelEmbedding on four ranks
(LLaMA 1 and 2), VocabParallelEmbedding on two (LLaMA 3). What is in them all together is told by a model of plain
torch.nn layers, whose weights are the parts joined: its output must be that of the processes.

    pip install torch==2.13.0 numpy fairscale==0.4.13
    python tests/frameworks/llama_parts.py
"""
import json
import os
import sys

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import nn

PORT = 29643
DIM, HIDDEN, VOCABULARY, LAYERS = 8, 16, 12, 2


class Layer(nn.Module):
    def __init__(self, column, row):
        super().__init__()
        self.attention = nn.ModuleDict({'wq': column(DIM, DIM), 'wk': column(DIM, DIM // 2), 'wv': column(DIM, DIM),
                                        'wo': row(DIM, DIM)})
        self.feed_forward = nn.ModuleDict({'w1': column(DIM, HIDDEN), 'w2': row(HIDDEN, DIM),
                                           'w3': column(DIM, HIDDEN)})
        self.attention_norm = nn.RMSNorm(DIM)
        self.ffn_norm = nn.RMSNorm(DIM)

    def forward(self, x):
        a, f, y = self.attention, self.feed_forward, self.attention_norm(x)
        x = x + a.wo(a.wq(y) * a.wv(y)) + a.wk(y).mean()
        y = self.ffn_norm(x)
        return x + f.w2(nn.functional.silu(f.w1(y)) * f.w3(y))


class Model(nn.Module):
    def __init__(self, embedding, column, row, output):
        super().__init__()
        self.tok_embeddings = embedding(VOCABULARY, DIM)
        self.layers = nn.ModuleList(Layer(column, row) for _ in range(LAYERS))
        self.norm = nn.RMSNorm(DIM)
        self.output = output(DIM, VOCABULARY)
        self.rope = nn.Module()
        self.rope.register_buffer('freqs', 10000.0 ** -(torch.arange(0, 4, 2) / 4))

    def forward(self, tokens):
        x = self.tok_embeddings(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.output(self.norm(x))


def plain(a, b):
    return nn.Linear(a, b, bias=False)


def joined(name, value, ranks):
    """The tensor of all parts, as fairscale's layer of that name cuts it."""
    import fairscale.nn.model_parallel.layers as fs
    owner = name[0]
    if isinstance(owner, (fs.ColumnParallelLinear, fs.VocabParallelEmbedding)):
        dimension = 0
    elif isinstance(owner, (fs.RowParallelLinear, fs.ParallelEmbedding)):
        dimension = 1
    else:
        return value
    pieces = [torch.empty_like(value) for _ in range(ranks)]
    dist.all_gather(pieces, value.contiguous())
    return torch.cat(pieces, dimension)


def run(rank, ranks, here, name, embedding, dtype):
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(ranks), MASTER_ADDR='127.0.0.1', MASTER_PORT=str(PORT))
    import fairscale.nn.model_parallel.initialize as initialize
    import fairscale.nn.model_parallel.layers as fs
    dist.init_process_group('gloo')
    initialize.initialize_model_parallel(ranks)
    torch.manual_seed(1)

    def column(a, b):
        return fs.ColumnParallelLinear(a, b, bias=False, gather_output=False)

    def column_gathered(a, b):
        return fs.ColumnParallelLinear(a, b, bias=False, gather_output=True)

    def row(a, b):
        return fs.RowParallelLinear(a, b, bias=False, input_is_parallel=True)
    model = Model(getattr(fs, embedding), column, row, column_gathered).requires_grad_(False)
    for norm in [model.norm, *(n for layer in model.layers for n in (layer.attention_norm, layer.ffn_norm))]:
        norm.weight.copy_(torch.rand(DIM) + 0.5)
    model.to(dtype).float()  # values that `dtype` has
    whole = {}
    for key, value in model.state_dict().items():
        whole[key] = joined((model.get_submodule(key.rpartition('.')[0]),), value, ranks)
    single = Model(nn.Embedding, plain, plain, plain)
    single.load_state_dict(whole)
    tokens = torch.arange(VOCABULARY)
    for layer in model.layers:  # its mean goes over what one rank has
        layer.attention.wk.register_forward_hook(lambda _, __, y: fs.gather_from_model_parallel_region(y))
    assert torch.allclose(model(tokens), single(tokens), atol=1e-5), 'the parts are joined in another way'
    os.makedirs(os.path.join(here, name), exist_ok=True)
    torch.save({k: v.to(dtype) for k, v in model.state_dict().items()},
               os.path.join(here, name, 'consolidated.%02d.pth' % rank))
    if rank == 0:
        torch.save({k: v.to(dtype) for k, v in whole.items()}, os.path.join(here, name + '.whole.pt'))
        with open(os.path.join(here, name, 'params.json'), 'w') as f:
            json.dump({'dim': DIM, 'multiple_of': 4, 'n_heads': 4, 'n_layers': LAYERS, 'norm_eps': 1e-05,
                       'vocab_size': -1},
                      f)
    dist.barrier()
    dist.destroy_process_group()


CASES = (('llama2', 4, 'ParallelEmbedding', torch.float16,
          'a model under the names of LLaMA on four ranks, its embedding cut along 1'),
         ('llama3', 2, 'VocabParallelEmbedding', torch.bfloat16,
          'a model under the names of LLaMA on two ranks, its embedding cut along 0'))


def main():
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import keep
    import tiny
    with tiny.empty_folder():
        here = os.getcwd()
        for name, ranks, embedding, dtype, shows in CASES:
            torch.multiprocessing.spawn(run, args=(ranks, here, name, embedding, dtype), nprocs=ranks)
            seen = torch.load(os.path.join(here, name + '.whole.pt'))
            keep.keep_distributed(os.path.join(here, name), 'llama_parts', name, 'fairscale 0.4.13', shows, seen, [])


if __name__ == '__main__':
    main()
