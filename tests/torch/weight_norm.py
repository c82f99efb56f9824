#!/usr/bin/env python3
"""Folds random weights of weight normalisation with the program `ckpt` and compares them, bit for bit, with what torch
computes.

    python tests/torch/weight_norm.py --ckpt PROGRAM [--count N] [--seed S]

Both of torch's functions, every dimension and one norm for all, float32, float64, bfloat16 and float16, under AVX2 and,
where the processor has it, AVX-512; with one thread, because torch's sums over the last dimension depend on their
number. Where torch cannot be imported, or the processor has no AVX2, nothing is run. The last line is
`N passed, N failed, N skipped`.
"""
import os
import random
import subprocess
import sys
import tempfile
import warnings

from checked import Checked, options

try:
    import numpy
    import torch
    from torch.nn.utils import parametrizations, remove_weight_norm, weight_norm
except ImportError as e:
    torch = e

DTYPES = ('float32', 'float64', 'bfloat16', 'float16')


class Holder(torch.nn.Module if not isinstance(torch, ImportError) else object):
    def __init__(self, weight, name):
        super().__init__()
        self.register_parameter(name, torch.nn.Parameter(weight))


def random_weight(r, dtype):
    shape = [r.choice((1, 2, 3, 5, 8, 17, 33)) for _ in range(r.choice((1, 2, 2, 3, 3, 4)))]
    if r.random() < 0.15:
        shape[-1] = r.choice((300, 1000, 70001 if len(shape) == 1 else 999))
    values = torch.randn(shape, dtype=torch.float64) * 10.0 ** r.uniform(-3, 3)
    return values.to(getattr(torch, dtype))


def make(r):
    """A state_dict, and what its weights are."""
    stored, want, how = {}, {}, []
    for i in range(r.choice((1, 2, 4))):
        dtype, name = r.choice(DTYPES), r.choice(('weight', 'weight', 'weight_hh_l0', 'kernel'))
        weight = random_weight(r, dtype)
        dim = r.choice((None, *range(weight.dim())))
        if dim is not None and weight.shape[dim] == 1:  # g does not tell which: the first one that it can be
            dim = list(weight.shape).index(1)
        how.append(f'{dtype} {list(weight.shape)} dim {dim}')
        module = Holder(weight, name)
        old = r.random() < 0.5
        (weight_norm if old else parametrizations.weight_norm)(module, name=name, dim=dim)
        for parameter in module.parameters():  # g is not |v| in a file
            if parameter.dim() == 0 or parameter.numel() < weight.numel():
                with torch.no_grad():
                    parameter.mul_(torch.rand(parameter.shape).to(parameter.dtype) + 0.5)
        prefix = r.choice((f'layer.{i}.', f'{i}.', '' if i == 0 else f'x{i}.'))
        for key, t in module.state_dict().items():
            stored[prefix + key] = t.clone()
        if old:
            remove_weight_norm(module, name)
        else:
            torch.nn.utils.parametrize.remove_parametrizations(module, name)
        want[prefix + name] = getattr(module, name).detach().clone()
    return stored, want, how


def main():
    args = options(100)
    if isinstance(torch, ImportError) or torch.backends.cpu.get_cpu_capability() not in ('AVX2', 'AVX512'):
        print(f'not run: {torch}\n0 passed, 0 failed, {args.count} skipped')
        return 0
    warnings.simplefilter('ignore')
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        run = Checked(args.ckpt, folder)
        source, out = os.path.join(folder, 'in.pt'), os.path.join(folder, 'out.npz')
        for number in range(args.count):
            torch.manual_seed(number)
            stored, want, how = make(random.Random(f'{args.seed}/{number}'))
            torch.save(stored, source)
            done = subprocess.run([run.program, 'convert', source, out, '--force', '--fold-weight-norm', '--raw'],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
            got = dict(numpy.load(out)) if done.returncode == 0 else {}
            wrong = [] if sorted(got) == sorted(want) else ['keys: ' + str(sorted(got))]
            for key in set(got) & set(want):
                t = want[key].view(torch.uint16) if want[key].dtype == torch.bfloat16 else want[key]
                if got[key].tobytes() != t.contiguous().numpy().tobytes():
                    differ = int((got[key] != t.numpy()).sum())
                    wrong.append(f'{key}, {want[key].dtype} {list(t.shape)}: {differ} elements differ')
            run.check(f'seed {args.seed}, number {number}: {how}', not wrong,
                      f'{wrong}\n    {done.stdout.decode()[:300]}')
    return run.end()


if __name__ == '__main__':
    sys.exit(main())
