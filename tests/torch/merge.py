#!/usr/bin/env python3
"""Merges random LoRA adapters with the program `ckpt` and compares the weights with PEFT's merge_and_unload.

    python tests/torch/merge.py --ckpt PROGRAM [--count N] [--seed S]

Linear layers, transformers' Conv1D (fan_in_fan_out), convolutions, embeddings, tied ones; rsLoRA, alpha_pattern and
rank_pattern; modules_to_save and biases; bases of float32, bfloat16 and float16. docs/convert.md says how far apart the
two may be. Where torch, peft or transformers cannot be imported nothing is run. The last line is
`N passed, N failed, N skipped`.
"""
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
import warnings

from checked import Checked, options

try:
    import safetensors.torch
    import torch
    import peft
    import transformers.pytorch_utils
except ImportError as e:
    torch = e

LAYERS = ['embed', 'square', 'wide', 'turned', 'conv1', 'conv2', 'block.0.wide']


def network(tied):
    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.wide = torch.nn.Linear(6, 9)

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(11, 6)
            self.square = torch.nn.Linear(6, 6)
            self.wide = torch.nn.Linear(6, 10)
            self.turned = transformers.pytorch_utils.Conv1D(6, 6)
            self.conv1 = torch.nn.Conv1d(3, 4, 3)
            self.conv2 = torch.nn.Conv2d(3, 5, 3)
            self.block = torch.nn.ModuleList([Block()])
            self.norm = torch.nn.LayerNorm(6)
            self.head = torch.nn.Linear(6, 11, bias=False)
            if tied:
                self.head.weight = self.embed.weight
    return Net()


def config(r):
    targets = r.sample(LAYERS, r.randint(1, len(LAYERS)))
    if 'turned' in targets:  # PEFT keeps fan_in_fan_out of the last of its layers only
        targets = [name for name in targets if name not in ('square', 'wide', 'block.0.wide')]
    patterns = {'wide': r.choice((1, 3.5, 12)), '^conv1': 2} if r.random() < 0.5 else {}
    if r.random() < 0.3:
        patterns['block\\.0.*'] = 5
    # Patterns are sorted, because PEFT sorts them when it saves them, and the first that matches counts.
    return peft.LoraConfig(
        r=r.choice((1, 2, 4)), lora_alpha=r.choice((1, 8, 3)), use_rslora=r.random() < 0.4,
        alpha_pattern=dict(sorted(patterns.items())),
        rank_pattern={'wide': 3} if r.random() < 0.4 else {}, target_modules=targets,
        fan_in_fan_out='turned' in targets, bias=r.choice(('none', 'none', 'all', 'lora_only')),
        modules_to_save=r.choice((None, ['norm'])))


class Run(Checked):
    def one(self, name, r):
        dtype = r.choice((torch.float32, torch.bfloat16, torch.float16))
        tied = r.random() < 0.3
        base = network(tied).to(dtype)
        chosen = config(r)
        model = peft.get_peft_model(copy.deepcopy(base), chosen)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data.normal_()
        base_file, adapter, out = (os.path.join(self.folder, f) for f in ('base.pt', 'adapter', 'out.safetensors'))
        shutil.rmtree(adapter, ignore_errors=True)
        torch.save(base.state_dict(), base_file)
        model.save_pretrained(adapter, safe_serialization=r.random() < 0.7)
        unmerged = {key: t.detach().clone() for key, t in base.state_dict().items()}
        factors = {path: (m.lora_A, m.lora_B, m.lora_embedding_A, m.lora_embedding_B, m.scaling['default'])
                   for path, m in model.base_model.model.named_modules() if hasattr(m, 'lora_A')}
        sizes = {path: self.sizes(*f) for path, f in factors.items()}
        if tied and 'embed' in sizes:
            sizes['head'] = sizes['embed']
        want = model.merge_and_unload().state_dict()
        done = subprocess.run([self.program, 'convert', adapter, out, '--force', '--merge-lora', '--base', base_file],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        said = f'{chosen.target_modules}, {dtype}: ' + done.stdout.decode()
        self.check(name + ': it is merged', done.returncode == 0, said)
        if done.returncode:
            return
        got = safetensors.torch.load_file(out)
        for key in [k for k in want if k not in got]:
            self.check(f'{name}: {key} is tied', tied and key in ('head.weight', 'embed.weight'), said)
            got[key] = got['embed.weight' if key == 'head.weight' else 'head.weight']
        self.check(name + ': the keys', sorted(got) == sorted(want), said)
        for key, t in want.items():
            self.near(f'{name}: {key} of {dtype}', got[key], t, unmerged[key], sizes.get(key.rpartition('.')[0]), said)

    @staticmethod
    def sizes(a, b, embedded_a, embedded_b, scale):
        """|scale| * |B| |A|, and the rank."""
        if len(embedded_a):
            return abs(scale) * (embedded_b['default'].double().abs() @ embedded_a['default'].double().abs()).T, \
                embedded_a['default'].shape[0]
        a, b = a['default'].weight.double().abs(), b['default'].weight.double().abs()
        return abs(scale) * (b.flatten(1) @ a.flatten(1)).detach(), a.shape[0]

    def near(self, name, got, want, base, sizes, said):
        """Sums of float32 in another order, and what a type of 16 bits rounds."""
        if got.dtype != want.dtype or got.shape != want.shape:
            return self.check(name, False, said)
        if sizes is None or base.dim() < 2:
            return self.check(name + ' is the same', torch.equal(got, want), said)
        size, rank = sizes
        size = size.detach().reshape(base.shape) if size.numel() == base.numel() and size.shape[0] == base.shape[0] \
            else size.T.reshape(base.shape)
        size = torch.maximum(size, size.T) if base.dim() == 2 and base.shape[0] == base.shape[1] else size
        bound = (rank + 3) * 2.0 ** -24 * (base.double().abs() + size)
        if want.dtype != torch.float32:  # both are rounded once, an embedding's update in PEFT twice
            unit = torch.finfo(want.dtype).eps / 2
            bound += unit * (want.double().abs() + got.double().abs() + size)
        off = (got.double() - want.double()).abs() - bound
        self.check(name, bool((off <= 0).all()), f'{off.max()} beyond the bound\n    {said}')


def main():
    args = options(40)
    if isinstance(torch, ImportError):
        print(f'not run: {torch}\n0 passed, 0 failed, {args.count} skipped')
        return 0
    warnings.simplefilter('ignore')
    with tempfile.TemporaryDirectory() as folder:
        run = Run(args.ckpt, folder)
        for number in range(args.count):
            torch.manual_seed(number)
            run.one(f'seed {args.seed}, number {number}', random.Random(f'{args.seed}/{number}'))
    return run.end()


if __name__ == '__main__':
    sys.exit(main())
