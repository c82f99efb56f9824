#!/usr/bin/env python
"""Writes the files of the zoo: every option of PyTorch's writers times every dtype, layout and view pattern.

    python tests/torch/zoo_files.py FOLDER [--only TEXT ...]
    python tests/torch/zoo_files.py tests/data/zoo-1.5 --selection

Runs under any PyTorch from 0.4.1 on, with Python 2.7 or 3.6 and later, and needs nothing else. FOLDER receives the
files and zoo.json: for each file its recipe, what must be said of it, and what torch itself reads in it. Everything is
made from fixed seeds. zoo.py runs this script and compares. With --selection a few small files are written, each with
an oracle beside it as tests/torch/oracle.py reads them: those of old versions are kept in tests/data.
"""
from __future__ import print_function

import argparse
import collections
import ctypes
import io
import json
import os
import pickle
import pickletools
import random
import struct
import sys
import tarfile
import warnings
import zipfile
import zlib

import torch

VERSION = tuple(int(x) for x in torch.__version__.split('+')[0].split('.')[:2])
NAMES = ('uint8 int8 int16 int32 int64 float16 float32 float64 bfloat16 bool complex64 complex128 uint16 uint32 '
         'uint64 complex32 bcomplex32 float8_e5m2 float8_e4m3fn float8_e5m2fnuz float8_e4m3fnuz float8_e8m0fnu '
         'float4_e2m1fn_x2 bits8 bits16 bits1x8 bits2x4 bits4x2').split()
HAS_UNTYPED = hasattr(torch, 'UntypedStorage')  # dtypes without a storage class of their own can be saved


TYPED = [getattr(torch, n) for n in NAMES[:12] if hasattr(torch, n)]


class Absent(Exception):
    """This torch does not make it."""


# --- tensors ----------------------------------------------------------------------------------------------------------

def dtypes():
    out = []
    for name in NAMES:
        if hasattr(torch, name):
            try:
                torch.save(torch.empty(1, dtype=getattr(torch, name)), io.BytesIO())
                out.append((name, getattr(torch, name)))
            except Exception:
                pass
    return out


def element_size(dtype):
    return torch.empty(0, dtype=dtype).element_size()


def filled(dtype, count, seed):
    """`count` elements of random bytes, whatever numbers they are."""
    t = torch.empty(count, dtype=dtype)
    r = random.Random('%s %s' % (dtype, seed))
    size = count * t.element_size()
    if dtype is getattr(torch, 'bool', None):
        data = bytearray(r.getrandbits(1) for _ in range(size))
    else:
        data = bytearray(r.getrandbits(8) for _ in range(size))
    if size:
        ctypes.memmove(t.data_ptr(), bytes(data), size)
    return t


def steps(shape):
    out, step = [], 1
    for n in reversed(shape):
        out.append(step)
        step *= max(n, 1)
    return out[::-1]


def strided(t, shape, stride, offset=0):
    return torch.as_strided(t, shape, stride, offset)


def patterns(dtype):
    """(name, tensor) for every way to look at a storage."""
    def new(shape, seed):
        n = 1
        for s in shape:
            n *= s
        return strided(filled(dtype, n, seed), shape, steps(shape))
    out = []

    def add(name, make):
        try:
            out.append((name, make()))
        except (RuntimeError, NotImplementedError, TypeError):  # a kernel that this dtype lacks
            pass
    add('contiguous', lambda: new([2, 3, 4], 1))
    add('flat', lambda: filled(dtype, 17, 2))
    add('one', lambda: filled(dtype, 1, 3))
    add('scalar', lambda: strided(filled(dtype, 1, 4), [], []))
    add('scalar_inside', lambda: strided(filled(dtype, 9, 5), [], [], 7))
    add('empty', lambda: filled(dtype, 0, 6))
    add('empty_2d', lambda: torch.empty(3, 0, 2, dtype=dtype))
    add('empty_inside', lambda: filled(dtype, 6, 7)[4:4])
    add('empty_past', lambda: filled(dtype, 6, 8)[6:])
    add('transposed', lambda: new([3, 4], 9).t())
    add('permuted', lambda: new([2, 3, 4], 10).permute(2, 0, 1))
    add('channels_last', lambda: strided(filled(dtype, 48, 11), [2, 3, 2, 4], [24, 1, 12, 3]))
    add('sliced', lambda: new([4, 5], 12)[1:3])
    add('columns', lambda: new([4, 5], 13)[:, 1:4])
    add('stepped', lambda: new([4, 7], 14)[1::2, ::3])
    add('selected', lambda: new([3, 4, 2], 15)[:, 2])
    add('diagonal', lambda: strided(filled(dtype, 16, 16), [4], [5]))
    add('expanded', lambda: filled(dtype, 3, 17).unsqueeze(0).expand(4, 3))
    add('expanded_scalar', lambda: strided(filled(dtype, 2, 18), [2, 3, 2], [0, 0, 0], 1))
    add('windows', lambda: strided(filled(dtype, 12, 19), [5, 4], [2, 1], 1))
    add('interleaved', lambda: strided(filled(dtype, 30, 20), [3, 4], [2, 7], 1))
    add('ones_strides', lambda: strided(filled(dtype, 6, 21), [1, 6, 1], [77, 1, 1000]))
    add('deep', lambda: strided(filled(dtype, 24, 22), [1, 2, 1, 3, 1, 4, 1, 1], [24, 12, 12, 4, 4, 1, 1, 1]))
    add('row_of_many', lambda: new([300, 3], 23)[151])
    add('flipped', lambda: torch.flip(new([3, 4], 24), [0, 1]))
    add('large', lambda: filled(dtype, 5000, 25))
    shared = filled(dtype, 40, 26)
    add('shared_whole', lambda: shared)
    add('shared_first', lambda: shared[:10])
    add('shared_last', lambda: strided(shared, [3, 5], [5, 1], 25))
    add('shared_every_third', lambda: strided(shared, [13], [3], 1))
    add('same_object', lambda: shared)
    return out


def strided_batch():
    return collections.OrderedDict((name, collections.OrderedDict(patterns(dtype))) for name, dtype in dtypes())


def lazy_batch():
    """Conjugations and negations that are only marked. Small finite numbers: torch may change the bytes of a NaN."""
    if not hasattr(torch.Tensor, 'resolve_neg'):
        raise Absent
    out = collections.OrderedDict()
    for name, dtype in dtypes():
        items = collections.OrderedDict()

        def add(what, make):
            try:
                t = make()
                t.resolve_neg().resolve_conj()
                items[what] = t
            except (RuntimeError, NotImplementedError, AttributeError, TypeError):
                pass
        base = lambda n: torch.arange(1, n + 1).to(dtype)
        if dtype.is_complex:
            two = lambda n: torch.complex(torch.arange(1., n + 1), torch.arange(n, 0., -1)).to(dtype)
            add('conj', lambda: two(6).conj())
            add('conj_transposed', lambda: two(12).reshape(3, 4).t().conj())
            add('conj_stepped', lambda: two(12)[1::3].conj())
            add('conj_expanded', lambda: two(3).conj().unsqueeze(0).expand(2, 3))
            add('conj_scalar', lambda: two(4)[2].conj())
            add('imag_of_conj', lambda: two(6).conj().imag)
            add('neg', lambda: torch._neg_view(two(6)))
            add('conj_neg', lambda: torch._neg_view(two(6).conj()))
            add('conj_empty', lambda: two(6)[6:].conj())
        elif dtype.is_floating_point or dtype in (torch.int8, torch.int16, torch.int32, torch.int64):
            add('neg', lambda: torch._neg_view(base(6)))
            add('neg_transposed', lambda: torch._neg_view(base(12).reshape(3, 4).t()))
            add('neg_stepped', lambda: torch._neg_view(base(12)[1::3]))
        if items:
            out[name] = items
    if not out:
        raise Absent
    return out


def typed_batch():
    """Only dtypes that have a storage class of their own: torch can read these from streams and plain pickles."""
    typed = [name for name, dtype in dtypes() if dtype in TYPED]
    return collections.OrderedDict((name, collections.OrderedDict(patterns(getattr(torch, name)))) for name in typed)


def wrapped_batch():
    out = collections.OrderedDict()
    for name, dtype in dtypes():
        grad = (dtype.is_floating_point and 'float8' not in name and 'float4' not in name
                or name.startswith('complex') and name != 'complex32')
        items = collections.OrderedDict()
        try:
            items['parameter'] = torch.nn.Parameter(filled(dtype, 6, 30), requires_grad=False)
            items['parameter_view'] = torch.nn.Parameter(filled(dtype, 12, 31)[2::2], requires_grad=False)
            if grad:
                items['parameter_grad'] = torch.nn.Parameter(strided(filled(dtype, 12, 32), [4, 3], [1, 4]))
                items['grad'] = filled(dtype, 6, 33).requires_grad_()
            items['detached'] = items['parameter'].detach()
            items['tied'] = items['parameter']
            if VERSION >= (1, 9):
                tagged = filled(dtype, 5, 34)
                tagged.tag = 'text'
                items['attribute'] = tagged
                parameter = torch.nn.Parameter(filled(dtype, 5, 35), requires_grad=False)
                parameter.tag = ['list', 1]
                items['parameter_attribute'] = parameter
        except (RuntimeError, NotImplementedError):
            pass
        out[name] = items
    return out


def storages_batch():
    out = collections.OrderedDict()
    for name, dtype in dtypes():
        t = filled(dtype, 10, 40)
        items = collections.OrderedDict()
        try:
            items['storage'] = t.storage()
        except Exception:  # dtypes that have no storage class
            pass
        items['tensor'] = t[3:]
        if HAS_UNTYPED:
            items['untyped'] = untyped(filled(dtype, 4, 41))
        items['empty'] = filled(dtype, 0, 42).storage() if 'storage' in items else t[:0]
        out[name] = items
    return out


def mixed_batch():
    """Several dtypes on one storage, as only dtypes without a storage class can be."""
    if not HAS_UNTYPED or not hasattr(torch, 'float8_e5m2'):
        raise Absent
    out = collections.OrderedDict()

    def views(name, base, *others):
        out[name] = collections.OrderedDict()
        out[name]['base'] = base
        for other in others:
            if hasattr(torch, other):
                t = base.view(getattr(torch, other))
                out[name][other] = t
                out[name][other + '_part'] = t[1:]
    views('bytes', filled(torch.uint8, 24, 50), 'float8_e5m2', 'float8_e4m3fn', 'float8_e8m0fnu')
    if hasattr(torch, 'uint16'):
        views('eights', filled(torch.float8_e5m2, 24, 53), 'uint16', 'uint32', 'uint64', 'complex32', 'bits8')
        views('second', filled(torch.float8_e4m3fn, 24, 54)[8:], 'uint32', 'uint16')
    return out


def meta_batch():
    if VERSION < (1, 11):
        raise Absent
    return collections.OrderedDict(
        (name, collections.OrderedDict([('meta', torch.empty(3, 4, dtype=dtype, device='meta')),
                                        ('meta_view', torch.empty(6, dtype=dtype, device='meta')[1::2]),
                                        ('meta_scalar', torch.empty((), dtype=dtype, device='meta'))]))
        for name, dtype in dtypes())


# torch 1.9 and 1.10 have compressed layouts, and end with a segmentation fault when they save one.
SAVES_COMPRESSED = hasattr(torch._utils, '_rebuild_sparse_csr_tensor') or VERSION >= (2, 0)


def sparse_batch():
    """Sparse tensors of every layout: hybrid, batched, with equal indices, empty."""
    out = collections.OrderedDict()
    for name in ('float32', 'float64', 'float16', 'int64', 'int32', 'uint8', 'bool', 'complex64', 'bfloat16'):
        if not hasattr(torch, name):
            continue
        dtype, items = getattr(torch, name), collections.OrderedDict()

        def add(what, make):
            try:
                t = make()
                t.shape
                items[what] = t
            except Exception:
                pass
        i = torch.tensor([[0, 1, 1], [2, 0, 2]])
        coo = torch.sparse_coo_tensor
        add('coo', lambda: coo(i, filled(dtype, 3, 60), (2, 3)))
        add('coo_coalesced', lambda: coo(i, filled(dtype, 3, 61), (2, 3)).coalesce())
        add('coo_double', lambda: coo(torch.tensor([[1, 0, 1], [2, 0, 2]]), filled(dtype, 3, 62), (2, 3)))
        add('coo_hybrid', lambda: coo(i, strided(filled(dtype, 12, 63), [3, 4], [4, 1]), (2, 3, 4)))
        add('coo_vector', lambda: coo(torch.tensor([[3, 1]]), filled(dtype, 2, 64), (5,)))
        add('coo_empty', lambda: coo(torch.zeros(2, 0, dtype=torch.int64), torch.empty(0, dtype=dtype), (4, 5)))
        add('coo_dense_only',
            lambda: coo(torch.zeros(0, 1, dtype=torch.int64), strided(filled(dtype, 3, 65), [1, 3], [3, 1]), (3,)))
        add('coo_of_views',
            lambda: coo(torch.tensor([[0, 9, 1, 9], [2, 9, 0, 9]])[:, ::2], filled(dtype, 6, 66)[1::3], (2, 3)))
        for layout in ('csr', 'csc', 'bsr', 'bsc'):
            make = getattr(torch, 'sparse_%s_tensor' % layout, None)
            if make is None or not SAVES_COMPRESSED:
                continue
            block = (lambda n, s: filled(dtype, n, s)) if layout in ('csr', 'csc') else (
                lambda n, s: strided(filled(dtype, n * 6, s), [n, 2, 3], [6, 3, 1]))
            size = (3, 3) if layout in ('csr', 'csc') else (6, 9)
            for index in (torch.int64, torch.int32):
                short = '' if index is torch.int64 else '_int32'
                add(layout + short,
                    lambda: make(torch.tensor([0, 1, 1, 3], dtype=index), torch.tensor([1, 0, 2], dtype=index),
                                 block(3, 67), size))
            add(layout + '_empty',
                lambda: make(torch.zeros(4, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), block(0, 68), size))
            if layout in ('csr', 'csc'):
                add(layout + '_batched', lambda: make(
                    torch.tensor([[0, 1, 1, 3], [0, 2, 2, 3]]), torch.tensor([[1, 0, 2], [0, 1, 2]]),
                    strided(filled(dtype, 6, 69), [2, 3], [3, 1]), (2, 3, 3)))
                add(layout + '_hybrid', lambda: make(torch.tensor([0, 1, 1, 3]), torch.tensor([1, 0, 2]),
                                                     strided(filled(dtype, 6, 70), [3, 2], [2, 1]), (3, 3, 2)))
        out[name] = items
    return out


def quantized_batch():
    if VERSION < (1, 3):
        raise Absent
    out = collections.OrderedDict()
    # Made of integers, not by quantising: no kernel of this machine is needed, and every byte occurs.
    integers = {'qint8': torch.int8, 'quint8': torch.uint8, 'qint32': torch.int32}
    for name in ('qint8', 'quint8', 'qint32'):
        items = collections.OrderedDict()
        whole = lambda: strided(filled(integers[name], 24, 75), [4, 6], [6, 1])
        per_tensor = lambda: torch._make_per_tensor_quantized_tensor(whole(), 0.1, 7)
        per_channel = lambda scales, zeros, axis: torch._make_per_channel_quantized_tensor(whole(), scales, zeros, axis)
        makers = collections.OrderedDict([
            ('per_tensor', per_tensor),
            ('transposed', lambda: per_tensor().t()),
            ('sliced', lambda: per_tensor()[1:3]),
            ('stepped', lambda: per_tensor()[:, 1::2]),
            ('scalar', lambda: torch._make_per_tensor_quantized_tensor(whole()[1, 1].clone(), 0.5, 1)),
            ('empty', lambda: torch._make_per_tensor_quantized_tensor(torch.empty(0, 3, dtype=integers[name]), 0.5, 1)),
            ('per_channel', lambda: per_channel(torch.arange(1., 5).double() / 8, torch.tensor([0, 1, 2, 3]), 0)),
            ('per_channel_1', lambda: per_channel(torch.arange(1., 7).double() / 8, torch.arange(6), 1)),
            ('per_channel_float', lambda: torch._empty_per_channel_affine_quantized(
                [4, 6], scales=torch.arange(1., 5) / 8, zero_points=torch.tensor([0., 1., 2., 3.]), axis=0,
                dtype=getattr(torch, name))),
        ])
        for what, make in makers.items():
            try:
                items[what] = make()
                if what == 'per_channel_float':
                    refill(items[what])
            except Exception:
                pass
        out[name] = items
    for name in ('quint4x2', 'quint2x4'):
        if hasattr(torch, name):
            try:
                t = torch._empty_per_channel_affine_quantized([4, 6], scales=torch.arange(1., 5) / 8,
                                                              zero_points=torch.tensor([0., 1., 2., 3.]), axis=0,
                                                              dtype=getattr(torch, name))
                refill(t)
                out[name] = collections.OrderedDict([('per_channel_float', t)])
            except Exception:
                pass
    return out


def refill(t):
    """Random bytes for a tensor that was made without content."""
    data = bytes(bytearray(random.Random(str(t.dtype)).getrandbits(8) for _ in range(storage_nbytes(untyped(t)))))
    ctypes.memmove(untyped(t).data_ptr(), data, len(data))


def nested_batch():
    if VERSION < (2, 1):
        raise Absent
    out = collections.OrderedDict()
    for name in ('float32', 'float64', 'float16'):
        dtype, items = getattr(torch, name), collections.OrderedDict()
        parts = lambda: [strided(filled(dtype, 6, 80), [2, 3], [3, 1]), strided(filled(dtype, 12, 81), [4, 3], [3, 1])]
        items['nested'] = torch.nested.nested_tensor(parts())
        try:
            items['nested_transposed'] = torch.nested.nested_tensor(parts()).transpose(1, 2)
            items['jagged'] = torch.nested.nested_tensor(parts(), layout=torch.jagged)
        except Exception:
            pass
        out[name] = items
    return out


class OfUser(torch.Tensor):
    """A user's own subclass."""


def subclass_batch():
    if VERSION < (1, 9):
        raise Absent
    out = collections.OrderedDict()
    for name, dtype in dtypes():
        out[name] = collections.OrderedDict([('subclass', filled(dtype, 6, 90).as_subclass(OfUser)),
                                             ('view', filled(dtype, 12, 91)[1::2].as_subclass(OfUser))])
    return out


def module_batch():
    """A training checkpoint."""
    torch.manual_seed(3)
    model = torch.nn.Sequential(collections.OrderedDict(
        conv=torch.nn.Conv2d(2, 3, 2), norm=torch.nn.BatchNorm2d(3), fc=torch.nn.Linear(3, 2)))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(2):
        optimizer.zero_grad()
        x = model.norm(model.conv(torch.randn(4, 2, 5, 5))).mean(3).mean(2)
        model.fc(x).pow(2).sum().backward()
        optimizer.step()
    return collections.OrderedDict([('epoch', 3), ('arch', 'tiny'), ('state_dict', model.state_dict()),
                                    ('optimizer', optimizer.state_dict()), ('best', 0.25),
                                    ('rng', torch.get_rng_state())])


def root_tensor():
    return filled(torch.float32, 12, 95)[1:].view(11)


def root_list():
    t = filled(torch.int64, 12, 96)
    return [t, (t[2:], {'deep': [t[::5]], 7: filled(torch.uint8, 3, 97)}), None, 5]


BATCHES = collections.OrderedDict([
    ('strided', strided_batch), ('lazy', lazy_batch), ('wrapped', wrapped_batch), ('storages', storages_batch),
    ('mixed', mixed_batch), ('typed', typed_batch), ('meta', meta_batch), ('sparse', sparse_batch),
    ('quantized', quantized_batch), ('nested', nested_batch), ('subclass', subclass_batch), ('module', module_batch),
    ('root_tensor', root_tensor), ('root_list', root_list)])


# --- what torch holds of a tensor in memory ---------------------------------------------------------------------------

def crc(data):
    return '%08x' % (zlib.crc32(bytes(data)) & 0xffffffff)


def untyped(t):
    if hasattr(t, 'untyped_storage'):
        return t.untyped_storage()
    storage = t.storage()
    return storage.untyped() if hasattr(storage, 'untyped') else storage


def storage_nbytes(s):
    return s.nbytes() if hasattr(s, 'nbytes') else len(s) * s.element_size()


def memory(t):
    """The bytes of the tensor's storage."""
    s = untyped(t)
    assert t.numel() == 0 or t.data_ptr() == s.data_ptr() + t.storage_offset() * t.element_size()
    return ctypes.string_at(s.data_ptr(), storage_nbytes(s)) if storage_nbytes(s) else b''


def elements(t):
    """The logical elements in row-major order."""
    plain = t.detach()
    if type(plain) is not torch.Tensor and hasattr(plain, 'as_subclass'):
        plain = plain.as_subclass(torch.Tensor)
    for lazy, resolve in (('is_conj', 'resolve_conj'), ('is_neg', 'resolve_neg')):
        if hasattr(plain, resolve) and getattr(plain, lazy)():
            plain = getattr(plain, resolve)()
    if plain.numel() == 0:
        return b''
    data, size = memory(plain), plain.element_size()
    places = [plain.storage_offset()]
    for n, s in zip(plain.shape, plain.stride()):
        places = [p + i * s for p in places for i in range(n)]
    out = b''.join(data[p * size:p * size + size] for p in places)
    try:  # the same by torch's own gathering, where the dtype can do it
        dense = plain.contiguous()
        first = dense.storage_offset() * size
        assert memory(dense)[first:first + len(out)] == out, 'torch gathers other bytes'
    except (RuntimeError, NotImplementedError):
        pass
    return out


def short_name(x):
    return str(x).replace('torch.', '', 1)


def plain_row(t):
    return {'dtype': short_name(t.dtype), 'shape': list(t.shape), 'stride': list(t.stride()), 'layout': 'strided',
            'storage_offset': t.storage_offset(), 'nbytes': t.numel() * t.element_size(),
            'requires_grad': bool(t.requires_grad)}


def part(key, t):
    return dict(plain_row(t), key=key, crc32=crc(elements(t)))


SPARSE = {'sparse_coo': ('_indices', '_values'), 'sparse_csr': ('crow_indices', 'col_indices', 'values'),
          'sparse_bsr': ('crow_indices', 'col_indices', 'values'),
          'sparse_csc': ('ccol_indices', 'row_indices', 'values'),
          'sparse_bsc': ('ccol_indices', 'row_indices', 'values')}


def tensor_row(t):
    row = {'dtype': short_name(t.dtype), 'requires_grad': bool(t.requires_grad)}
    layout = short_name(getattr(t, 'layout', 'strided'))
    if getattr(t, 'is_nested', False):
        row.update(layout='jagged' if layout == 'jagged' else 'nested', crc32=None)
        if layout == 'jagged':
            row['parts'] = [part('values', t.values()), part('offsets', t.offsets())]
        return row
    if t.device.type == 'meta':
        row.update(shape=list(t.shape), layout='meta', crc32=None)
        return row
    if layout != 'strided':
        row.update(shape=list(t.shape), layout=layout, crc32=None,
                   parts=[part(n.lstrip('_'), getattr(t, n)()) for n in SPARSE[layout]])
        return row
    row = plain_row(t)
    if getattr(t, 'is_quantized', False):
        scheme = short_name(t.qscheme())
        row['quant'] = {'scheme': scheme}
        if 'per_tensor' in scheme:
            row['quant'].update(scale=t.q_scale(), zero_point=t.q_zero_point())
        else:
            row['quant'].update(axis=t.q_per_channel_axis())
        if t.dtype in (torch.qint8, torch.quint8, torch.qint32):
            row['crc32'] = crc(elements(t.int_repr()))
        else:
            del row['nbytes']
        return row
    row['crc32'] = crc(elements(t))
    return row


def children(value):
    if isinstance(value, dict):
        return [(k, v) for k, v in value.items()]
    if isinstance(value, (list, tuple)):
        return list(enumerate(value))
    return []


def is_storage(value):
    return 'Storage' in type(value).__name__ and hasattr(value, 'data_ptr')


def describe(root, dotted):
    """Rows in the order of the file, and the value as `ckpt show --json` prints it."""
    rows, groups, keep = [], {}, []

    def visit(value, path):
        if isinstance(value, torch.Tensor):
            row = tensor_row(value)
            tensor = {'$tensor': dict(row)}
            row = dict(row, key='.'.join(str(e) for e in path), path=list(path))
            if row['layout'] == 'strided' and storage_nbytes(untyped(value)):
                s = untyped(value)
                keep.append(s)
                at = s.data_ptr()
                row['shares'] = groups.setdefault(at, len(groups))
            rows.append(row)
            return tensor
        if is_storage(value):
            return {'$storage': {'nbytes': storage_nbytes(value)}}
        if isinstance(value, dict):
            items = [(k, visit(v, path + [k])) for k, v in value.items()]
            if all(isinstance(k, str) for k, _ in items):
                return collections.OrderedDict(items)
            return {'$dict': [[k, v] for k, v in items]}
        if isinstance(value, list):
            return [visit(v, path + [i]) for i, v in enumerate(value)]
        if isinstance(value, tuple):
            return {'$tuple': [visit(v, path + [i]) for i, v in enumerate(value)]}
        return value
    shown = visit(root, [])
    return rows, shown


# --- writers ----------------------------------------------------------------------------------------------------------

class Sizes(object):
    """The element size of each storage of a pickle, by its persistent ids and rebuild functions; nothing is built."""
    TYPED = {'Byte': 1, 'Char': 1, 'Short': 2, 'Int': 4, 'Long': 8, 'Half': 2, 'Float': 4, 'Double': 8, 'Bool': 1,
             'BFloat16': 2,
             'ComplexFloat': 4, 'ComplexDouble': 8, 'QInt8': 1, 'QUInt8': 1, 'QInt32': 4, 'QUInt4x2': 1, 'QUInt2x4': 1}
    HALVES = {'complex32': 2, 'bcomplex32': 2, 'complex64': 4, 'complex128': 8}

    def __init__(self, data):
        sizes = self.sizes = {}

        class Anything(dict):
            def __init__(self, *args):
                dict.__init__(self)

            def __setstate__(self, state):
                pass

            __hash__ = object.__hash__

        def v3(storage, offset, size, stride, grad, hooks, dtype, meta=None):
            name = short_name(dtype)
            sizes[storage] = self.HALVES.get(name) or element_size(dtype)
            return None

        class Reader(pickle.Unpickler):
            def find_class(reader, module, name):
                if module == 'torch._utils' and name == '_rebuild_tensor_v3':
                    return v3
                if name == '_rebuild_from_type_v2':
                    return lambda build, kind, arguments, state: build(*arguments)
                if name.endswith('Storage'):
                    return name[:-len('Storage')]
                if module == 'collections' and name == 'OrderedDict':
                    return collections.OrderedDict
                if module == 'torch' and hasattr(torch, name) and isinstance(getattr(torch, name), torch.dtype):
                    return getattr(torch, name)
                return Anything

            def persistent_load(reader, pid):
                if not isinstance(pid, tuple):  # protocol 0
                    kind, key = pid.split("'")[3].split('.')[-1], pid.split("'")[5]
                    kind = kind[:-len('Storage')]
                else:
                    kind, key = pid[1], pid[2]
                sizes.setdefault(key, self.TYPED.get(kind, 1))
                return key
        Reader(io.BytesIO(data)).load()


def swapped(data, unit):
    if unit == 1:
        return data
    out = bytearray(len(data))
    for i in range(unit):
        out[i::unit] = data[unit - 1 - i::unit]
    return bytes(out)


def save(root, path, protocol, **options):
    kwargs = {'pickle_protocol': protocol}
    if VERSION >= (1, 4):
        kwargs['_use_new_zipfile_serialization'] = not options.get('legacy', False)
    elif not options.get('legacy'):
        raise Absent
    if options.get('legacy') and VERSION < (1, 4):
        kwargs.pop('_use_new_zipfile_serialization', None)
    torch.save(root, path, **kwargs)


def write_zip(root, path, protocol):
    save(root, path, protocol)


def write_stream(root, path, protocol):
    """By a file object, as torch wrote until 1.x by itself: the folder in the archive is `archive`."""
    with open(path, 'wb') as f:
        save(root, f, protocol)


def write_crc_off(root, path, protocol):
    if not hasattr(torch.serialization, 'set_crc32_options'):
        raise Absent
    torch.serialization.set_crc32_options(False)
    try:
        save(root, path, protocol)
    finally:
        torch.serialization.set_crc32_options(True)


def aligned(alignment):
    def write(root, path, protocol):
        try:
            from torch.utils.serialization import config
            config.save.storage_alignment
        except (ImportError, AttributeError):
            raise Absent
        before = config.save.storage_alignment
        config.save.storage_alignment = alignment
        try:
            save(root, path, protocol)
        finally:
            config.save.storage_alignment = before
    return write


def write_skip_data(root, path, protocol):
    if not hasattr(torch.serialization, 'skip_data'):
        raise Absent
    with torch.serialization.skip_data():
        save(root, path, protocol)


def write_big_endian(root, path, protocol):
    """What a machine of the other byte order writes, by torch's own writer of archives."""
    if VERSION < (2, 1):
        raise Absent
    save(root, path + '.little', protocol)
    with zipfile.ZipFile(path + '.little') as z:
        prefix = z.namelist()[0].split('/')[0]
        records = [(n[len(prefix) + 1:], z.read(n)) for n in z.namelist()]
    os.remove(path + '.little')
    sizes = Sizes(dict(records)['data.pkl']).sizes
    writer = torch._C.PyTorchFileWriter(path)
    for name, data in records:
        if name in ('version', '.data/serialization_id', '.data/version'):
            continue
        if name == 'byteorder':
            data = b'big'
        if name.startswith('data/'):
            data = swapped(data, sizes[name[5:]])
        writer.write_record(name, data, len(data))
    writer.write_end_of_file()


def rezipped(method, keep=lambda name: True):
    def write(root, path, protocol):
        save(root, path + '.first', protocol)
        with zipfile.ZipFile(path + '.first') as z:
            records = [(n, z.read(n)) for n in z.namelist()]
        os.remove(path + '.first')
        with zipfile.ZipFile(path, 'w') as z:
            for name, data in records:
                if keep(name):
                    info = zipfile.ZipInfo(name, (2024, 2, 29, 1, 2, 2))
                    info.compress_type = method
                    z.writestr(info, data)
    return write


def write_legacy(root, path, protocol):
    if sys.version_info[0] == 2 and protocol == 0:
        raise Absent  # its pickle wants persistent ids of text
    save(root, path, protocol, legacy=True)


def write_legacy_big(root, path, protocol):
    """A stream of a machine of the other byte order: only sys_info tells, the data are little-endian all the same."""
    write_legacy(root, path, protocol)
    with open(path, 'rb') as f:
        data = f.read()
    begin = data.index(b'little_endian')
    for yes, no in ((b'\x88', b'\x89'), (b'I01\n', b'I00\n')):
        at = data.find(yes, begin, begin + 40)
        if at >= 0:
            data = data[:at] + no + data[at + len(yes):]
            break
    else:
        raise RuntimeError('no little_endian in sys_info')
    with open(path, 'wb') as f:
        f.write(data)


def write_legacy_twice(root, path, protocol):
    """Two checkpoints one after the other in a file; the first is the one that torch reads."""
    with open(path, 'wb') as f:
        save(root, f, protocol, legacy=True)
        save({'second': torch.ones(3)}, f, protocol, legacy=True)


def write_pickle(root, path, protocol):
    with open(path, 'wb') as f:
        pickle.dump(root, f, protocol=protocol)


def write_script(root, path, protocol):
    """TorchScript: every tensor a buffer, or a parameter."""
    if VERSION < (1, 4) or not isinstance(root, dict):
        raise Absent
    torch.jit.save(torch.jit.script(scripted(root)), path)


def scripted(root):
    module = torch.nn.Module()
    for name, value in root.items():
        if isinstance(value, dict):
            module.add_module('of_' + name, scripted(value))
        elif isinstance(value, torch.nn.Parameter):
            module.register_parameter(name, value)
        elif isinstance(value, torch.Tensor):
            module.register_buffer(name, value)
    return module


def write_tar(root, path, protocol):
    """torch 0.1.9 and older, replayed from its serialization.py: four members of pickles and raw data."""
    tensors, storages = collections.OrderedDict(), collections.OrderedDict()
    keep = []

    class Writer(pickle._Pickler if sys.version_info[0] > 2 else pickle.Pickler):
        def persistent_id(self, obj):
            if isinstance(obj, torch.Tensor):
                storage = obj.storage()
                keep.append(storage)
                name = short_name(type(storage).__name__ if not hasattr(storage, 'pickle_storage_type')
                                  else storage.pickle_storage_type())
                tensors[id(obj)] = (storage.data_ptr() or id(storage), name[:-len('Storage')], obj)
                if len(storage):
                    storages[storage.data_ptr()] = (name, obj)
                else:
                    storages[id(storage)] = (name, obj)
                return str(id(obj))
            return None

    class Raw(pickle._Pickler if sys.version_info[0] > 2 else pickle.Pickler):
        """References to classes by name alone: those of the time are gone."""

        def save(self, obj, *rest, **more):
            if isinstance(obj, Named):
                self.write(b'c' + obj.module.encode() + b'\n' + obj.name.encode() + b'\n')
            else:
                (pickle._Pickler if sys.version_info[0] > 2 else pickle.Pickler).save(self, obj, *rest, **more)

    def dump(obj, f):
        Raw(f, protocol).dump(obj)
    body = io.BytesIO()
    Writer(body, protocol).dump(root)
    numbers = {}

    def number(key):
        return numbers.setdefault(key, 1000 + 7 * len(numbers))
    text = body.getvalue()
    members = collections.OrderedDict()
    f = io.BytesIO()
    dump({'protocol_version': 1000, 'little_endian': True, 'type_sizes': {'short': 2, 'int': 4, 'long': 4}}, f)
    members['sys_info'] = f.getvalue()
    members['pickle'] = text
    f = io.BytesIO()
    dump(len(tensors), f)
    for key, (storage, kind, t) in tensors.items():
        dump((key, number(storage), Named('torch', kind + 'Tensor')), f)
        f.write(struct.pack('<i', t.dim()) + b'\xab\xcd\xef\x01')
        f.write(struct.pack('<%dq' % t.dim(), *t.shape) + struct.pack('<%dq' % t.dim(), *t.stride()))
        f.write(struct.pack('<q', t.storage_offset()))
    members['tensors'] = f.getvalue()
    f = io.BytesIO()
    dump(len(storages), f)
    for key, (name, t) in storages.items():
        data = memory(t)
        dump((number(key), 'cpu', Named('torch', name)), f)
        f.write(struct.pack('<q', len(data) // t.element_size()) + data)
    dump([], f)
    members['storages'] = f.getvalue()
    with tarfile.open(path, 'w', format=tarfile.PAX_FORMAT) as tar:
        for name in ('sys_info', 'pickle', 'tensors', 'storages'):
            info = tarfile.TarInfo(name)
            info.size = len(members[name])
            tar.addfile(info, io.BytesIO(members[name]))


Named = collections.namedtuple('Named', 'module name')

EVERY = tuple(b for b in BATCHES if b != 'typed')
PROTOCOLS = (0, 1, 2, 3, 4, 5)
STREAMS = [((2, 4), EVERY), (PROTOCOLS, ('typed', 'wrapped', 'quantized', 'module', 'root_tensor', 'root_list')),
           (PROTOCOLS, ('storages',))]
# name: (container, writer, what is written: protocols and batches)
OPTIONS = collections.OrderedDict([
    ('zip', ('zip', write_zip, [(PROTOCOLS, EVERY)])),
    ('stream', ('zip', write_stream, [((2,), ('strided', 'module'))])),
    ('crc_off', ('zip', write_crc_off, [((2, 4), ('strided', 'wrapped', 'sparse', 'quantized'))])),
    ('alignment_1', ('zip', aligned(1), [((2,), ('strided', 'lazy', 'quantized'))])),
    ('alignment_8', ('zip', aligned(8), [((2,), ('strided',))])),
    ('alignment_256', ('zip', aligned(256), [((2, 5), ('strided', 'mixed'))])),
    ('alignment_4096', ('zip', aligned(4096), [((2,), ('strided',))])),
    ('skip_data', ('zip', write_skip_data, [((2, 4), ('strided', 'wrapped', 'module'))])),
    ('big_endian',
     ('zip', write_big_endian, [(PROTOCOLS, ('strided', 'module')),
                                ((2, 4), ('lazy', 'wrapped', 'sparse', 'quantized', 'nested', 'root_list'))])),
    ('stored_again', ('zip', rezipped(zipfile.ZIP_STORED), [((2, 4), ('strided', 'module'))])),
    ('without_extras',
     ('zip', rezipped(zipfile.ZIP_STORED, lambda n: '/data/' in n or n.split('/', 1)[1] in ('data.pkl', 'version')),
      [((2,), ('strided', 'module'))])),
    ('deflated', ('zip', rezipped(zipfile.ZIP_DEFLATED), [((2, 4), ('strided', 'wrapped', 'sparse', 'module'))])),
    ('legacy', ('legacy', write_legacy, STREAMS)),
    ('legacy_big', ('legacy', write_legacy_big, [(PROTOCOLS, ('typed', 'module'))])),
    ('legacy_twice', ('legacy', write_legacy_twice, [((2,), ('typed', 'module', 'root_tensor'))])),
    ('pickle', ('pickle', write_pickle, STREAMS)),
    ('script', ('torchscript', write_script, [((2,), ('strided', 'lazy', 'wrapped', 'sparse', 'quantized', 'meta'))])),
    ('tar', ('tar', write_tar, [((0, 1, 2), ('strided_of_tar', 'root_list'))])),
])


def strided_of_tar():
    """Tensors of the dtypes that torch 0.1 had. It knew no scalars: what has no dimensions there is empty."""
    old = ('uint8', 'int8', 'int16', 'int32', 'int64', 'float16', 'float32', 'float64')
    return collections.OrderedDict(
        (name, collections.OrderedDict((what, t) for what, t in patterns(getattr(torch, name)) if t.dim()))
        for name in old)


def few_batch():
    """A little of every dtype: views of one storage, a scalar, an empty tensor, a Parameter."""
    out = collections.OrderedDict()
    for name, dtype in dtypes():
        base = filled(dtype, 14, 98)
        out[name] = collections.OrderedDict([
            ('transposed', strided(base, [3, 2], [1, 3], 2)), ('stepped', base[1::4]),
            ('scalar', strided(base, [], [], 13)), ('empty', torch.empty(0, 3, dtype=dtype)),
            ('parameter', torch.nn.Parameter(base[:2], requires_grad=False))])
    return out


BATCHES['strided_of_tar'] = strided_of_tar
BATCHES['few'] = few_batch
BATCHES['sparse_few'] = lambda: {'float32': sparse_batch()['float32']}

SELECTION = [('zip', 'few', 2), ('zip', 'few', 4), ('zip', 'module', 2), ('zip', 'quantized', 2), ('legacy', 'few', 2),
             ('legacy', 'few', 1), ('legacy', 'module', 2), ('legacy', 'quantized', 2), ('legacy', 'sparse_few', 2),
             ('pickle', 'few', 2), ('script', 'few', 2)]


# --- one file ---------------------------------------------------------------------------------------------------------

def read(path, container):
    if container == 'pickle':
        with open(path, 'rb') as f:
            return pickle.load(f)
    if container == 'torchscript':
        return torch.jit.load(path)
    return torch.load(path, weights_only=False) if VERSION >= (1, 13) else torch.load(path)


def of_script(module, root):
    out = collections.OrderedDict()
    for name, value in root.items():
        if isinstance(value, dict):
            out[name] = of_script(getattr(module, 'of_' + name), value)
        else:
            out[name] = getattr(module, name)
    return out


def difference(want, got):
    """The first row that differs, or None. Sharing is compared where both know it."""
    mine = dict((r['key'], r) for r in got)
    for row in want:
        other = mine.get(row['key'])
        if other is None:
            return '%s is missing' % row['key']
        for field in row:
            if field not in ('path', 'shares') and row[field] != other.get(field):
                return '%s: %s %s, saved was %s' % (row['key'], field, other.get(field), row[field])
    return None


def known(option, batch, protocol, differs):
    """Why torch cannot read this, or reads other things than were saved; None where it must read it."""
    container = OPTIONS[option][0]
    if protocol == 0 and container in ('zip', 'legacy'):
        return 'cannot read the persistent ids of protocol 0'
    if "UntypedStorage' has no attribute 'dtype'" in differs and container in ('legacy', 'pickle'):
        return 'cannot read untyped storages in streams'
    if batch == 'subclass' and VERSION < (2, 0) and "has no attribute 'items'" in differs:
        return 'cannot read a subclass without attributes'
    if container == 'legacy' and batch == 'nested':
        return 'builds nested tensors of a stream before their sizes are read'
    if container == 'legacy' and 'sparse' in batch and 'ind' in differs:
        return 'checks sparse tensors of a stream before their indices are read'
    if container == 'legacy' and 'storage has wrong size: expected 0' in differs:
        return 'enlarges the storage of an empty tensor of a stream before it is read'
    if container == 'torchscript' and batch == 'quantized':
        return 'cannot read empty or packed quantised tensors of TorchScript'
    if option == 'deflated':
        return 'takes compressed bytes for values where it maps the file'
    if option == 'big_endian' and 'crc32' in differs:
        return 'does not swap what _rebuild_tensor_v3 builds'
    return None


def zero(rows):
    """skip_data: the bytes are holes, which read as zeros."""
    for row in rows:
        if row.get('crc32'):
            row['crc32'] = crc(b'\0' * row['nbytes'])


def make(folder, option, batch, protocol):
    container, write, _ = OPTIONS[option]
    if batch == 'lazy' and VERSION < (2, 0) and protocol == 0:
        return None  # this torch forgets the marks, and cannot say what it has written
    name = '%s-%s-p%d%s' % (option, batch, protocol, '.pkl' if container == 'pickle' else '.pt')
    path = os.path.join(folder, name)
    root = BATCHES[batch]()
    if container == 'torchscript':
        for key in list(root):
            for inner in list(root[key]):
                if is_storage(root[key][inner]):
                    del root[key][inner]
    out = {'file': name, 'container': container, 'option': option, 'batch': batch, 'protocol': protocol}
    try:
        write(root, path, protocol)
    except Absent:
        return None
    except Exception as e:
        # Layouts that this writer does not take: the others go alone.
        root, left = without_refused(root, write, path, protocol)
        if root is None:
            return {'unwritten': '%s: %s: %s' % (name, type(e).__name__, str(e).split('\n')[0][:120])}
        out['left_out'] = left
    rows, shown = describe(root, container)
    if option == 'skip_data':
        zero(rows)
        shown = None
    out['rows'] = rows
    out['show'] = shown
    if container == 'torchscript':  # the names of a module's state_dict, and not the pickled object
        out['rows'] = [dict(r, key='of_' + r['key'], path=['of_' + r['key']]) for r in rows]
        out['show'] = None
    if container == 'pickle':
        for row in rows:
            row.pop('shares', None)
    if batch == 'subclass':
        out['policy'] = 'inspect'
    try:
        seen = read(path, container)
        if container == 'torchscript':
            seen = of_script(seen, root)
        theirs, _ = describe(seen, container)
        differs = difference(rows, theirs)
    except Exception as e:
        theirs = None
        differs = 'torch cannot read it: %s: %s' % (type(e).__name__, str(e).split('\n')[0][:100])
    if option == 'deflated' and batch == 'module' and not differs and VERSION >= (2, 1):
        # Only the first: the last ones would reach past the end of the file.
        mapped = torch.load(path, weights_only=False, mmap=True)['state_dict']['conv.weight']
        if crc(elements(mapped)) != rows[0]['crc32']:
            differs = 'state_dict.conv.weight: other bytes with mmap=True'
    if batch == 'lazy' and VERSION < (2, 0) or batch in ('wrapped', 'subclass') and differs and (
            'requires_grad' in differs or 'layout' in differs):
        if theirs is not None:  # this torch forgets it while writing: no byte of the file tells
            wanted = dict((r['key'], r) for r in theirs)
            out['rows'] = [dict(wanted[r['key']], key=o['key'], path=o['path']) for r, o in zip(rows, out['rows'])]
            out['show'] = None
            out['forgotten'] = differs
            differs = None
    if differs:
        out['torch'] = differs
        out['why'] = known(option, batch, protocol, differs)
    return out


def without_refused(root, write, path, protocol):
    """The object less the tensors that the writer refuses one by one."""
    if not isinstance(root, dict):
        return None, None
    kept, left = collections.OrderedDict(), []
    for key, items in root.items():
        if not isinstance(items, dict):
            return None, None
        inner = collections.OrderedDict()
        for name, t in items.items():
            try:
                write({'a': {'b': t}}, path, protocol)
                inner[name] = t
            except Exception as e:
                left.append('%s.%s: %s' % (key, name, str(e).split('\n')[0][:80]))
        if inner:
            kept[key] = inner
    if not kept:
        return None, None
    try:
        write(kept, path, protocol)
    except Exception:
        return None, None
    return kept, left


def select(folder):
    first = {}
    for option, batch, protocol in SELECTION:
        try:
            made = make(folder, option, batch, protocol)
        except Absent:
            made = None
        if made is None or 'rows' not in made:
            continue
        name = made['file'].rsplit('.', 1)[0]
        rows = (' "tensors": [\n%s\n ],\n "values": {}\n' %
                ',\n'.join('  ' + json.dumps(r, sort_keys=True) for r in made['rows']))
        same = first.setdefault(rows, name + '.json')
        with open(os.path.join(folder, name + '.json'), 'w') as f:
            f.write('{\n'
                    ' "made_by": {"script": "tests/torch/zoo_files.py", '
                    '"torch": "%s", "python": "%s", "protocol": %d},\n'
                    ' "shows": "zoo: %s, %s",\n'
                    ' "oracle_from": "the saved object%s",\n'
                    '%s}\n' % (torch.__version__, sys.version.split()[0], protocol, option, batch,
                               ': torch ' + made['why'] if made.get('torch') else '',
                               rows if same == name + '.json' else ' "same_as": "%s"\n' % same))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder')
    parser.add_argument('--only', action='append', default=[], help='only files whose name contains this')
    parser.add_argument('--selection', action='store_true', help='a few small files, each with an oracle')
    args = parser.parse_args()
    warnings.filterwarnings('ignore')
    if hasattr(torch, 'set_num_threads'):
        torch.set_num_threads(1)
    sys.modules['zoo_files'] = sys.modules['__main__']
    OfUser.__module__ = 'zoo_files'
    if args.selection:
        return select(args.folder)
    files, unwritten = [], []
    for option, (_, _, written) in OPTIONS.items():
        done = set()
        for batch, protocol in ((b, p) for protocols, batches in written for b in batches for p in protocols):
            if (batch, protocol) not in done and protocol <= pickle.HIGHEST_PROTOCOL:
                done.add((batch, protocol))
                if args.only and not any(o in '%s-%s-p%d' % (option, batch, protocol) for o in args.only):
                    continue
                try:
                    made = make(args.folder, option, batch, protocol)
                except Absent:
                    made = None
                if made and 'unwritten' in made:
                    unwritten.append(made['unwritten'])
                elif made:
                    files.append(made)
    with open(os.path.join(args.folder, 'zoo.json'), 'w') as f:
        json.dump(
            {'torch': torch.__version__, 'python': sys.version.split()[0], 'files': files, 'unwritten': unwritten}, f)
    return 0


if __name__ == '__main__':
    sys.exit(main())
