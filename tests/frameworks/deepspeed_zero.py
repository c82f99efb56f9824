#!/usr/bin/env python3
"""Trains a tiny model with DeepSpeed on two processes and keeps what engine.save_checkpoint wrote in
tests/data/frameworks/deepspeed-0.19: ZeRO 1, 2 and 3, in 32 bits and in bfloat16, with frozen and tied weights,
buffers, and two groups of parameters.

    pip install torch==2.13.0 numpy hjson msgpack py-cpuinfo pydantic psutil einops ninja
    DS_BUILD_OPS=0 pip install --no-deps deepspeed==0.19.8
    python tests/frameworks/deepspeed_zero.py
"""
import os
import sys

os.environ['DS_ACCELERATOR'] = 'cpu'

import torch
import torch.multiprocessing

PORT = 29611
CASES = [('zero1', 1, False), ('zero2', 2, False), ('zero3', 3, False), ('zero2_bf16', 2, True),
         ('zero3_bf16', 3, True)]


class Tiny(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(7, 4)
        self.norm = torch.nn.LayerNorm(4)
        self.frozen = torch.nn.Linear(4, 3)
        self.layers = torch.nn.ModuleList(torch.nn.Linear(4, 4) for _ in range(2))
        self.head = torch.nn.Linear(4, 7, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer('steps', torch.tensor([1, 2 ** 40 + 1]))
        self.register_buffer('scale', torch.tensor(1.5))
        for p in self.frozen.parameters():
            p.requires_grad_(False)

    def forward(self, x):
        x = self.norm(self.embed(x))
        for layer in self.layers:
            x = layer(x)
        return self.head(x * self.scale) + self.frozen(x).sum()


def train(rank, world, folder):
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank), MASTER_ADDR='127.0.0.1',
                      MASTER_PORT=str(PORT))
    import deepspeed
    deepspeed.init_distributed('gloo')
    for name, stage, half in CASES:
        torch.manual_seed(0)
        model = Tiny()
        trained = [p for p in model.parameters() if p.requires_grad]
        groups = [{'params': [p for p in trained if p.dim() > 1]},
                  {'params': [p for p in trained if p.dim() == 1], 'weight_decay': 0.0}]
        config = {'train_micro_batch_size_per_gpu': 4, 'zero_optimization': {'stage': stage}, 'bf16': {'enabled': half},
                  'optimizer': {'type': 'AdamW', 'params': {'lr': 1e-2, 'torch_adam': True}}}
        engine = deepspeed.initialize(model=model, model_parameters=groups, config=config)[0]
        for _ in range(2):
            engine.backward(engine(torch.randint(0, 7, (4,))).float().pow(2).mean())
            engine.step()
        engine.save_checkpoint(os.path.join(folder, name))


def main():
    import deepspeed
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import keep
    import tiny
    with tiny.empty_folder():
        folder = os.getcwd()
        torch.multiprocessing.spawn(train, args=(2, folder), nprocs=2)
        for name, stage, half in CASES:
            path = os.path.join(folder, name)
            whole = {k: v.clone() for k, v in get_fp32_state_dict_from_zero_checkpoint(path).items()}
            first = 'zero_pp_rank_0_mp_rank_00' if stage == 3 else 'mp_rank_00'
            states = torch.load(os.path.join(path, 'global_step2', first + '_model_states.pt'), weights_only=False)
            weights = {}
            for key, stored in states['module'].items():  # the model's order
                if key in states['buffer_names'] or stage == 1 and key.startswith('frozen.'):
                    # The script makes 32-bit floats of buffers, and loses what is frozen under stage 1.
                    assert (key in whole) == (key in states['buffer_names'])
                    assert key not in whole or torch.equal(stored.to(whole[key].dtype), whole.pop(key))
                    weights[key] = stored.clone()
                else:
                    weights[key] = whole.pop(key)
            assert not whole, whole.keys()
            keep.keep_distributed(path, 'deepspeed-0.19', name, 'deepspeed ' + deepspeed.__version__,
                                  'ZeRO %d on two ranks%s: frozen and tied weights, buffers, two groups' %
                                  (stage, ' in bfloat16' if half else ''),
                                  weights, ['module'], {'global_steps': 2, 'dp_world_size': 2}, ('zero_to_*.py',))


if __name__ == '__main__':
    main()
