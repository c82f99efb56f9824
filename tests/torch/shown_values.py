#!/usr/bin/env python3
"""Writes what PyTorch and numpy say of the values of tensors in tests/data: tests/tools/values.json.

    python tests/torch/shown_values.py

Needs torch 2.13 and numpy 2.4. Of each tensor: its text by numpy.array2string, whole and with its edges only, and the
sums that `ckpt stat` prints, by numpy in float64. bfloat16, float8 and quantised tensors are converted to float32.
tests/tools/values.py compares the program `ckpt` with the file and needs neither.
"""
import json
import os
import warnings

import numpy
import torch

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FILES = {
    'torch-2.13/dtypes.pt': 'float16 float32 float64 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool '
                            'complex64 complex128 float8_e5m2 float8_e4m3fn float8_e5m2fnuz float8_e4m3fnuz',
    'torch-2.13/conj_neg.pt': 'z conj conj_strided conj_t conj_offset neg neg_strided d_conj d_neg neg_ints both',
    'torch-2.13/quantized.pt': None,
    'torch-2.13/quantized_large.pt': None,
    'torch-2.13/views.pt': None,
    'torch-2.13/large_storage.pt': None,
    'demo/mlp.pt': 'model/fc1.weight model/fc1.bias',
    'frameworks/open_clip-2.24/epoch_2.pt': 'state_dict/module.logit_scale state_dict/logit_scale '
                                            'state_dict/visual.conv1.weight',
    'rezipped/training_deflated_data.pt': None,
}


def tensors(value, path, out):
    """All tensors below dictionaries, by their paths as text."""
    if isinstance(value, torch.Tensor):
        out[path] = value
    elif isinstance(value, dict):
        for key, below in value.items():
            tensors(below, (path + '/' if path else '') + str(key), out)
    return out


def numbers(t):
    if t.is_quantized:
        t = t.dequantize()
    t = t.detach().resolve_conj().resolve_neg()
    return (t.float() if t.dtype == torch.bfloat16 or 'float8' in str(t.dtype) else t).numpy()


def text(a, most):
    if a.ndim == 0:
        return str(a)
    edge = 3 if a.ndim <= 2 else 2 if a.ndim == 3 else 1
    return numpy.array2string(a, max_line_width=10**9, threshold=most, edgeitems=edge)


def sums(a):
    f = numpy.abs(a.astype(numpy.complex128)) if a.dtype.kind == 'c' else a.astype(numpy.float64)
    finite = f[numpy.isfinite(f)]
    out = {'count': a.size, 'zeros': int((f == 0).sum()), 'nan': int(numpy.isnan(f).sum()),
           'inf': int(numpy.isinf(f).sum())}
    if finite.size:
        exact = a.astype('u1') if a.dtype.kind == 'b' else a if a.dtype.kind in 'iu' else finite
        out.update(min=exact.min().item(), max=exact.max().item(), mean=finite.mean().item(), std=finite.std().item())
    return out


def main():
    warnings.simplefilter('ignore')
    out = {}
    for name, wanted in FILES.items():
        found = tensors(torch.load(os.path.join(ROOT, 'data', name), weights_only=False), '', {})
        rows = {}
        for path, t in found.items():
            if wanted is not None and path not in wanted.split() or t.layout != torch.strided or t.numel() > 10000:
                continue
            a = numbers(t)
            rows[path] = {'text': text(a, 64), **sums(a)}
            if 64 < a.size <= 1000:
                rows[path]['whole'] = text(a, 1000)
        out[name] = rows
    with open(os.path.join(ROOT, 'tools', 'values.json'), 'w') as f:
        json.dump(out, f, indent=1, allow_nan=False)
        f.write('\n')


if __name__ == '__main__':
    main()
