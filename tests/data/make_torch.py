#!/usr/bin/env python3
"""Writes the small files of tests/data/torch-VERSION (and, with torch 2.13, tests/data/demo) with the torch that is
installed, and beside each file NAME.json: what torch itself says of it. Runs under torch 1.13 and 2.13.

    python tests/data/make_torch.py            all files
    python tests/data/make_torch.py NAME…      only these

TorchScript's debug records name the source files. So that no path of a machine gets into them, that file is only
written from a copy in /src (cp -r tests /src), with a torch below /usr or /opt (python -m venv /opt/torch).
"""
import argparse
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import io
import linecache
import os
import pathlib
import pickle
import random
import re
import sys
import types
import uuid
import warnings

import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'torch'))
import expected  # noqa: E402

warnings.filterwarnings('ignore')
VERSION = '.'.join(torch.__version__.split('+')[0].split('.')[:2])
FILES = []


class Skip(Exception):
    pass


def file(name=None, show='', protocol=2, folder=None, suffix='.pt', legacy=False, alignment=None, crc=True,
         writer=None, **oracle):
    def add(make):
        FILES.append(types.SimpleNamespace(
            name=name or make.__name__, make=make, show=show or (make.__doc__ or '').strip(), protocol=protocol,
            folder=folder, suffix=suffix, legacy=legacy, alignment=alignment, crc=crc, writer=writer, oracle=oracle))
        return make
    return add


def ramp(*shape, dtype=torch.float32):
    n = 1
    for s in shape:
        n *= s
    return torch.arange(n, dtype=torch.float64).mul(0.25).sub(1.0).to(dtype).reshape(shape)


class MLP(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = torch.nn.Linear(6, 4)
        self.bn = torch.nn.BatchNorm1d(4)
        self.fc2 = torch.nn.Linear(4, 2)

    def forward(self, x):
        return self.fc2(torch.relu(self.bn(self.fc1(x))))


def trained(model, optimizer, width, steps=2):
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(8, width)).pow(2).sum().backward()
        optimizer.step()


@file()
def weight_norm():
    """g and v of both weight norms, and under want. the weights that torch computes of them with one thread"""
    from torch.nn.utils import parametrizations, parametrize
    if not hasattr(parametrizations, 'weight_norm'):
        raise Skip('torch 2 has both')
    torch.manual_seed(16)
    torch.set_num_threads(1)  # sums over the last dimension depend on their number
    out = collections.OrderedDict()
    for i, (dtype, shape, dim) in enumerate([
            (torch.float32, (3, 37), 0), (torch.float32, (4, 3, 2), 0), (torch.float32, (9, 5), 1),
            (torch.float32, (3, 4, 5), 1), (torch.float32, (31,), None), (torch.float64, (3, 11), 0),
            (torch.float64, (7, 3), 1), (torch.float64, (2, 3, 7), 1), (torch.bfloat16, (2, 39), 0),
            (torch.bfloat16, (2, 3, 21), 1), (torch.float16, (3, 29), 0), (torch.float16, (5, 9), None)]):
        module = torch.nn.Module()
        name = 'weight' if i % 3 else 'weight_hh_l0'
        weight = torch.randn(shape, dtype=torch.float64).to(dtype)
        module.register_parameter(name, torch.nn.Parameter(weight))
        old = i % 2 == 0
        (torch.nn.utils.weight_norm if old else parametrizations.weight_norm)(module, name=name, dim=dim)
        g = getattr(module, name + '_g') if old else module.parametrizations[name].original0
        g.data.copy_(torch.rand(g.shape, dtype=torch.float64).to(dtype) + 0.5)
        out.update((f'{i}.{key}', t.clone()) for key, t in module.state_dict().items())
        if old:
            torch.nn.utils.remove_weight_norm(module, name)
        else:
            parametrize.remove_parametrizations(module, name)
        out[f'want.{i}.{name}'] = getattr(module, name).detach().clone()
    return out


# --- state_dicts and training files -------------------------------------------------------------------------------

@file()
def state_dict():
    """state_dict of a module: OrderedDict with _metadata, int64 0-d buffer"""
    return MLP().state_dict()


@file()
def training():
    """training loop's dictionary: epoch, model, Adam with a numpy.float64 lr, numpy scalar best_loss"""
    model = MLP()
    optimizer = torch.optim.Adam(model.parameters(), lr=np.float64(1e-3))
    trained(model, optimizer, 6)
    return {'epoch': 3, 'arch': 'mlp', 'model': model.state_dict(), 'optimizer': optimizer.state_dict(),
            'best_loss': np.float64(0.25), 'rng': {'step': np.int64(17)}}


@file()
def ddp_and_ema():
    """keys with the prefix module., a second state_dict under ema, SGD with momentum, scheduler"""
    model = MLP()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
    trained(model, optimizer, 6)
    weights = collections.OrderedDict(('module.' + k, v) for k, v in model.state_dict().items())
    return {'state_dict': weights, 'state_dict_ema': MLP().state_dict(), 'optimizer': optimizer.state_dict(),
            'scheduler': scheduler.state_dict()}


@file('mlp', folder='demo')
def demo_mlp():
    """demo: epoch, numpy best_loss, model fc1.weight [10, 784] and fc1.bias [10], optimizer of Adam"""
    model = torch.nn.Sequential(collections.OrderedDict(fc1=torch.nn.Linear(784, 10)))
    optimizer = torch.optim.Adam([model.fc1.bias])
    trained(model, optimizer, 784)
    return {'epoch': 3, 'best_loss': np.float64(0.25), 'model': model.state_dict(),
            'optimizer': optimizer.state_dict()}


@file('plain', folder='demo')
def demo_plain():
    """demo: bare state_dict with fc1.weight [10, 784] and fc1.bias [10]"""
    return torch.nn.Sequential(collections.OrderedDict(fc1=torch.nn.Linear(784, 10))).state_dict()


@file('blocks', folder='demo')
def demo_blocks():
    """demo: fc1 with its bias and twelve blocks without one, all of 784 inputs"""
    linear = lambda rows, bias: torch.nn.Linear(784, rows, bias=bias)
    return torch.nn.Sequential(collections.OrderedDict(
        fc1=linear(2, True), blocks=torch.nn.Sequential(*[linear(1, False) for _ in range(12)]))).state_dict()


@file('head', folder='demo')
def demo_head():
    """demo: a weight [3, 4] beside keys that a head has no use for"""
    return {'weight': torch.arange(12, dtype=torch.float32).reshape(3, 4), 'bias': torch.zeros(3),
            'encoder.0.weight': torch.ones(4, 4), 'encoder.1.weight': torch.ones(4, 4)}


@file('encoder', folder='demo')
def demo_encoder():
    """demo: two layers under the names that DataParallel gives them"""
    torch.manual_seed(5)
    return {'module.encoder.layers.%d.fc1.%s' % (i, leaf): torch.randn(shape)
            for i in range(2) for leaf, shape in [('weight', (3, 4)), ('bias', (3,))]}


# --- dtypes -------------------------------------------------------------------------------------------------------

def all_dtypes():
    names = ('float16 float32 float64 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool complex32 '
             'complex64 complex128 bcomplex32 float8_e5m2 float8_e4m3fn float8_e5m2fnuz float8_e4m3fnuz '
             'float8_e8m0fnu float4_e2m1fn_x2 bits8 bits16 bits1x8 bits2x4 bits4x2 '
             'int1 int2 int3 int4 int5 int6 int7 uint1 uint2 uint3 uint4 uint5 uint6 uint7').split()
    return [getattr(torch, n) for n in names if hasattr(torch, n)]


def savable(tensor):
    try:
        torch.save(tensor, io.BytesIO())
        return True
    except Exception as e:
        print('  cannot be saved:', tensor.layout, tensor.dtype, type(e).__name__, str(e)[:60])
        return False


def patterned(dtype, n=6):
    """A tensor whose bytes are all different, made without arithmetic in its dtype."""
    if dtype is torch.bool:
        return torch.tensor([True, False, False, True, True, False][:n])
    size = torch.empty(0, dtype=dtype).element_size()
    raw = torch.tensor([(7 * i + 3) % 120 for i in range(n * size)], dtype=torch.uint8)
    if dtype.is_floating_point and size >= 2 or dtype.is_complex:
        try:
            return torch.arange(n, dtype=torch.float64).sub(2.5).to(dtype)
        except RuntimeError:
            pass
    return raw.view(dtype)


@file()
def dtypes():
    """every dtype that this torch can save, 6 elements each"""
    tensors = {}
    for dtype in all_dtypes():
        try:
            t = patterned(dtype)
        except Exception as e:
            print('  cannot be made:', dtype, type(e).__name__, str(e)[:60])
            continue
        if savable(t):
            tensors[expected.name_of_dtype(dtype)] = t
    return tensors


@file()
def dtypes_2d():
    """every dtype that can be saved: transposed slices [2, 2] of a [3, 4] matrix (offset, stride)"""
    tensors = {}
    for dtype in all_dtypes():
        try:
            t = patterned(dtype, 6)
            t = torch.cat([t, t]) if dtype in (torch.float32, torch.bool) else patterned(dtype, 12)
            if dtype is torch.bool:
                t = torch.tensor([True, False, True, True] * 3)
            t = t.as_strided((2, 2), (1, 4), 5)
        except Exception:
            continue
        if savable(t):
            tensors[expected.name_of_dtype(dtype)] = t
    return tensors


@file()
def special_floats():
    """nan, inf, -0.0, subnormals and extremes in every common floating dtype"""
    out = {}
    for d in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        i = torch.finfo(d)
        out[expected.name_of_dtype(d)] = torch.tensor(
            [float('nan'), float('inf'), float('-inf'), -0.0, 0.0, i.max, i.min, i.tiny, i.tiny / 4, i.eps], dtype=d)
    out['int64'] = torch.tensor([-2 ** 63, 2 ** 63 - 1, -1, 0, 1])
    return out


# --- geometry -----------------------------------------------------------------------------------------------------

@file()
def views():
    """slices with offset, steps, transposes, expanded stride 0, 0-d, zero-size, two views on one storage"""
    base = ramp(4, 6)
    line = ramp(10)
    return {'base': base, 'rows': base[1:3], 'column': base[:, 2], 'corner': base[2:, 3:], 'step': base[::2, ::3],
            'transposed': base.t(), 'line': line, 'line_tail': line[5:], 'line_step': line[1::3],
            'scalar': torch.tensor(2.5), 'element': base[3, 5],
            'expanded': torch.tensor([1.5, 2.5]).view(2, 1).expand(2, 5),
            'expanded_scalar': torch.tensor(7).expand(2, 3), 'empty': torch.empty(0), 'empty_2d': torch.empty(3, 0, 2),
            'empty_slice': line[10:], 'permuted': ramp(2, 3, 4).permute(2, 0, 1), 'overlap': line.unfold(0, 4, 2),
            'channels_last': ramp(1, 3, 2, 2).contiguous(memory_format=torch.channels_last), 'one': ramp(1, 1, 1)}


@file()
def large_storage():
    """a small view that keeps a large storage"""
    return {'slice': ramp(40, 50)[10, 5:8]}


@file()
def rank():
    """ranks 0 to 12"""
    return [torch.arange(2).reshape((1,) * (r - 1) + (2,)) if r else torch.tensor(0) for r in range(13)]


@file('expanded_far', strict_exit=1)
def expanded_far():
    """an expanded tensor of 4 MB over 4 bytes: its digest is refused (output_limit), the row stays"""
    return {'far': torch.tensor([1.0]).expand(1000, 1000), 'near': torch.tensor([1.0]).expand(16)}


@file()
def tied():
    """tied tensors: one object twice, two views of the whole, a dictionary reached by two paths"""
    w = ramp(3, 2)
    inner = {'w': w, 'v': ramp(2)}
    return {'encoder.weight': w, 'decoder.weight': w, 'alias': w.view(6), 'first': inner, 'second': inner,
            'list': [w, w]}


# --- kinds of tensors ---------------------------------------------------------------------------------------------

@file()
def parameters():
    """Parameters (also without gradient), tensors with requires_grad, a buffer"""
    return {'param': torch.nn.Parameter(ramp(2, 2)), 'frozen': torch.nn.Parameter(ramp(3), requires_grad=False),
            'ints': torch.nn.Parameter(torch.arange(3), requires_grad=False), 'grad': ramp(2).requires_grad_(),
            'plain': ramp(2)}


@file()
def parameter_attributes():
    """Parameters with Python attributes (_rebuild_parameter_with_state)"""
    p = torch.nn.Parameter(ramp(2, 3))
    p.is_norm, p.group, p.scale = True, 'decay', 0.5
    q = torch.nn.Parameter(ramp(2), requires_grad=False)
    q.tensor_model_parallel = False
    return {'p': p, 'q': q}


@file()
def tensor_attributes():
    """tensors with Python attributes (_rebuild_from_type_v2)"""
    t = ramp(2, 3)
    t.name_of_layer, t.sizes = 'conv', [1, 2]
    return {'t': t, 'plain': ramp(2)}


def hook(grad):
    return grad


@file()
def backward_hooks():
    """a tensor with a backward hook (torch keeps only the fact in a warning, hooks are empty)"""
    t = ramp(2, 3).requires_grad_()
    t.register_hook(hook)
    return {'t': t}


class Sub(torch.Tensor):
    pass


@file('tensor_subclass', ls_error='global_not_allowed', ls_policy='inspect')
def tensor_subclass():
    """tensor of a user's subclass: refused by default, a row under inspect"""
    return {'t': ramp(2, 2).as_subclass(Sub)}


@file()
def conj_neg():
    """conj and neg bits, contiguous and strided, neg by imag of a conj"""
    def fresh():  # torch does not save a complex and a real view of one storage
        return torch.complex(ramp(3, 4), ramp(3, 4).flip(0))
    z = fresh()
    d = torch.complex(ramp(2, 2, dtype=torch.float64), ramp(2, 2, dtype=torch.float64))
    out = {'z': z, 'conj': z.conj(), 'conj_strided': z.conj()[::2, 1::2], 'conj_t': z.t().conj(),
           'conj_offset': z[1:].conj(), 'neg': fresh().conj().imag, 'neg_strided': fresh().conj().imag[1:, ::3],
           'real': fresh().real, 'd_conj': d.conj(), 'd_neg': d.clone().conj().imag,
           'resolved': z.conj().resolve_conj()}
    out['neg_only'] = torch._neg_view(ramp(4))
    out['neg_ints'] = torch._neg_view(torch.arange(6)[1::2])
    # Without zeros: torch negates complex numbers as 0 - x in whole vectors and as -x in what is left over, so the
    # sign of a zero depends on where it stands.
    out['both'] = torch._neg_view((z + (0.125 + 0.125j)).conj())
    return out


# --- sharing of typed and untyped storages ------------------------------------------------------------------------

@file()
def mixed_views():
    """uint8 tensor and float8 view on one untyped storage"""
    if not hasattr(torch, 'float8_e4m3fn'):
        raise Skip('no float8')
    base = torch.arange(16, dtype=torch.uint8)
    return {'bytes': base, 'fp8': base.view(torch.float8_e4m3fn), 'fp8_tail': base[8:].view(torch.float8_e5m2),
            'u16': base.view(torch.uint16)[2:5]}


@file()
def storages():
    """storages saved as values: untyped and typed, beside a tensor on one of them"""
    t, u = torch.arange(5, dtype=torch.uint8), ramp(5)
    return {'untyped': expected.untyped(t), 'tensor': t, 'typed': ramp(3, dtype=torch.float64).storage(),
            'typed_of': u.storage(), 'of': u[2:], 'alone': expected.untyped(ramp(7))}


@file()
def storage_root():
    """the top object is a storage"""
    return ramp(4).storage()


@file()
def tensor_root():
    """the top object is a tensor"""
    return ramp(2, 3)


@file()
def list_root():
    """the top object is a list with tensors and tuples"""
    return [ramp(2), (ramp(3), 'x'), {'k': [ramp(1)]}, None]


@file()
def empty_root():
    """an empty dictionary"""
    return {}


# --- one object, many encodings -----------------------------------------------------------------------------------

def same_object():
    t = ramp(3, 4)
    return {'w': t, 'v': t[1:, ::2], 'step': 1234567890123, 'lr': 0.1, 'name': 'm\u00e9l\u00e4nge',
            'flags': [True, None],
            'raw': b'\x00\xff', 'nested': {'a': (1, 2.5), 3: 'three'}, 'param': torch.nn.Parameter(ramp(2)),
            'ints': torch.arange(4, dtype=torch.int16), 'scalar': np.float64(0.5), 'array': np.arange(3.0)}


for p in range(6):
    file('protocol_%d' % p, protocol=p, show='one object with pickle_protocol=%d' % p)(same_object)
file('alignment_4096', alignment=4096, show='storage_alignment 4096')(same_object)
file('crc_off', crc=False, show='set_crc32_options(False): no checksums')(same_object)
file('legacy', legacy=True, show='the stream format of torch < 1.6')(same_object)
for p in (0, 1, 3, 4, 5):
    file('legacy_protocol_%d' % p, legacy=True, protocol=p, show='stream format, protocol %d' % p)(same_object)


@file(legacy=True)
def legacy_views():
    """stream format: views, sharing, zero-size storages"""
    return views()


@file(legacy=True)
def legacy_dtypes():
    """stream format: every dtype with a storage class of its own"""
    names = 'float16 float32 float64 bfloat16 int8 int16 int32 int64 uint8 bool complex64 complex128'.split()
    return {n: patterned(getattr(torch, n)) for n in names}


@file(legacy=True)
def legacy_untyped():
    """stream format: UntypedStorage (float8, uint16); torch cannot read its own file"""
    if not hasattr(torch, 'float8_e4m3fn'):
        raise Skip('no float8')
    return {'fp8': patterned(torch.float8_e4m3fn), 'u16': patterned(torch.uint16), 'f32': ramp(2)}


@file(legacy=True, named_only=True, ls_policy='inspect', ls_error='global_not_allowed')
def legacy_module():
    """stream format: whole pickled module of a user's class, whose source text is inside"""
    source = ('import torch\n\n\n'
              'class Net(torch.nn.Module):\n'
              '    def __init__(self):\n'
              '        super().__init__()\n'
              '        self.w = torch.nn.Parameter(torch.ones(2, 3))\n'
              '        self.register_buffer("b", torch.zeros(2))\n')
    module = types.ModuleType('net')
    module.__file__ = 'net.py'
    sys.modules['net'] = module
    linecache.cache['net.py'] = (len(source), None, source.splitlines(True), 'net.py')
    exec(compile(source, 'net.py', 'exec'), module.__dict__)
    return module.Net()


def plain_pickle(obj, path, protocol):
    with open(path, 'wb') as f:
        pickle.dump(obj, f, protocol=protocol)


for p in (2, 4):
    file('plain_pickle_%d' % p, protocol=p, suffix='.pkl', writer=plain_pickle,
         show='pickle.dump of tensors: torch.storage._load_from_bytes, protocol %d' % p)(same_object)


@file(suffix='.pkl', protocol=4, writer=plain_pickle)
def plain_pickle_values():
    """pickle.dump of a dictionary of numpy arrays, no torch in it"""
    return {'fc1.weight': np.arange(6.0).reshape(2, 3).astype(np.float32), 'fc1.bias': np.zeros(2, np.float32), 'n': 3}


# --- numpy --------------------------------------------------------------------------------------------------------

def numpy_scalars():
    """numpy scalars of every simple dtype"""
    out = {n: getattr(np, n)(1.5 if n[0] in 'fc' else 3) for n in
           'float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 complex64 complex128'.split()}
    out.update({'bool': np.bool_(True), 'negative': np.int64(-2 ** 62), 'big': np.uint64(2 ** 64 - 1),
                'nan': np.float64('nan'), 'inf': np.float32('-inf'), 'tenth': np.float32(0.1),
                'minus_zero': np.float64(-0.0), 'datetime': np.datetime64('2024-01-02T03:04:05'),
                'str': np.str_('text'), 'bytes': np.bytes_(b'by'), 'longdouble': np.longdouble(1.5)})
    return out


def numpy_arrays():
    """numpy arrays: C, Fortran, big-endian, 0-d, empty, every simple dtype"""
    names = ('float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 complex64 complex128 '
             'bool').split()
    out = {n: np.arange(3).astype(n) for n in names}
    out.update({'c': np.arange(6.0).reshape(2, 3), 'fortran': np.asfortranarray(np.arange(6.0).reshape(2, 3)),
                'big_f8': np.arange(4, dtype='>f8'), 'big_i2': np.array([1, -2, 300], dtype='>i2'),
                'zero_d': np.array(2.5), 'empty': np.zeros((0, 3)), 'strided': np.arange(10)[::3],
                'high_bytes': np.array([0, 127, 128, 255], np.uint8),
                'rank3': np.arange(24, dtype=np.int32).reshape(2, 3, 4),
                'fortran3': np.asfortranarray(np.arange(24, dtype=np.int32).reshape(2, 3, 4)),
                'big_fortran': np.asfortranarray(np.arange(6, dtype='>i4').reshape(2, 3))})
    return out


def numpy_inert():
    """numpy arrays that are no tensors: text, bytes, structured, object, datetime, record; a dtype as a value"""
    return {'str': np.array(['ab', 'c']), 'bytes': np.array([b'ab', b'c']),
            'struct': np.array([(1, 2.0)], dtype=[('a', 'i4'), ('b', 'f8')]),
            'object': np.array([1, 'x', None], dtype=object),
            'datetime': np.array(['2024-01-01'], dtype='M8[D]'), 'timedelta': np.array([5], dtype='m8[s]'),
            'sub': np.zeros(2, dtype=[('v', 'f4', (3,))]), 'masked': np.ma.array([1, 2], mask=[0, 1]),
            'ok': np.arange(2.0)}


for p in (2, 5):
    for make in (numpy_scalars, numpy_arrays, numpy_inert):
        file('%s_p%d' % (make.__name__, p), protocol=p)(make)


# --- Python values ------------------------------------------------------------------------------------------------

def values():
    """None, booleans, integers, floats, complex"""
    return {'none': None, 'true': True, 'false': False,
            'ints': [0, 1, 255, 256, 65535, 65536, 2 ** 31 - 1, 2 ** 31, -1, -128, -2 ** 31, 2 ** 40, -2 ** 40, 2 ** 53,
                     2 ** 53 + 1,
                     -2 ** 53 - 1, 2 ** 63 - 1, 2 ** 63, -2 ** 63, 2 ** 64, 2 ** 100, -2 ** 100, 10 ** 50, -10 ** 50],
            'floats': [0.0, -0.0, 0.1, 1e-300, 5e-324, 1.7976931348623157e308, float('nan'), float('inf'),
                       float('-inf'), 1e16, 123456789.0, 1 / 3],
            'complex': [1 + 2j, complex(0, -0.0), complex('nan'), complex(float('inf'), 1)]}


def strings():
    """text and bytes: Unicode, control characters, lone surrogates, empty"""
    return {'empty': '', 'ascii': 'plain', 'unicode': 'z\u00fcrich \u6771\u4eac \U0001f525', 'surrogate': 'a\ud800b',
            'control': 'tab\tnl\nnul\x00esc\x1b[31m del\x7f c1\x85 bidi\u202e', 'quote': '"\\/\'', 'long': 'x' * 300,
            'kelvin \u212a': 'key', 'slash/key': 1, 'dot.key': 2, 'back\\slash': 3, 'bytes': bytes(range(256)),
            'no_bytes': b'', 'bytearray': bytearray(b'ab\xff'), 'no_bytearray': bytearray(), 'ascii_bytes': b'abc'}


def containers():
    """lists, tuples, sets, dictionaries of every class, nested, shared"""
    shared = ['shared']
    counter = collections.Counter('abbccc')
    ordered = collections.OrderedDict([('z', 1), ('a', 2)])
    return {'list': [], 'tuple': (), 'dict': {}, 'set': set(), 'frozenset': frozenset(), 't1': (1,), 't2': (1, 2),
            't3': (1, 2, 3), 't4': (1, 2, 3, 4), 'l1': [1], 'nested': [[[[1, (2, [3])]]]], 'set3': {1, 2, 3},
            'frozen': frozenset(['x', 'y']), 'ordered': ordered, 'default': collections.defaultdict(list, {'k': [1]}),
            'plain_default': collections.defaultdict(None, a=1),
            'counter': counter, 'deque': collections.deque([1, 2, 3]), 'deque_max': collections.deque([1, 2], maxlen=4),
            'shared': [shared, shared], 'dollar': {'$int': 'not one'}, 'set_of_tuples': {(1, 2), (3, 4)}}


def keys():
    """dictionary keys that are no text"""
    return {1: 'int', -5: 'negative', 2.5: 'float', None: 'none', False: 'bool', (1, 'a'): 'tuple', int: 'class',
            's': 'str', 2 ** 70: 'big', b'b': 'bytes', 'inner': {0: {'step': 1}, 1: {'step': 2}}}


def objects():
    """objects of the standard library and of torch that stay inert"""
    utc = datetime.timezone.utc
    return {'namespace': argparse.Namespace(lr=0.1, layers=[1, 2], name='run', nested=argparse.Namespace(x=None)),
            'simple': types.SimpleNamespace(a=1, b='two'), 'path': pathlib.PurePosixPath('/data/set/x.txt'),
            'windows': pathlib.PureWindowsPath('C:/x'), 'datetime': datetime.datetime(2024, 2, 29, 12, 30, 15, 678),
            'aware': datetime.datetime(2024, 1, 1, tzinfo=utc), 'date': datetime.date(2024, 1, 2),
            'time': datetime.time(1, 2, 3),
            'delta': datetime.timedelta(days=1, seconds=2, microseconds=3), 'decimal': decimal.Decimal('1.50'),
            'fraction': fractions.Fraction(3, 4), 'uuid': uuid.UUID(int=0x12345678123456781234567812345678),
            'enum': uuid.SafeUUID.safe, 'partial': functools.partial(int, base=2), 'range': range(0, 10, 3),
            'slice': slice(1, None, 2), 'ellipsis': Ellipsis, 'none_type': type(None), 'regex': re.compile('a+', re.I),
            'bytesio': io.BytesIO(b'inside'), 'class': collections.OrderedDict, 'function': len,
            'size': torch.Size([2, 3]),
            'dtype': torch.bfloat16, 'device': torch.device('cpu'), 'device_index': torch.device('cuda', 1),
            'np_class': np.float64, 'np_dtype': np.dtype('f4'), 'tensor': ramp(2)}


for p in (2, 4, 5):
    for make in (values, strings, containers, keys, objects):
        file('%s_p%d' % (make.__name__, p), protocol=p)(make)
for p in (0, 1, 3):
    for make in (values, strings, containers):
        file('%s_p%d' % (make.__name__, p), protocol=p)(make)


@file()
def object_tensors():
    """tensors as attributes of inert objects, in a deque, under keys that are no text"""
    return {'namespace': argparse.Namespace(weight=ramp(2), name='n'), 'simple': types.SimpleNamespace(w=ramp(3)),
            'by_int': {0: ramp(1), 7: ramp(2)}, 'by_none': {None: ramp(1)}, 'by_float': {2.5: ramp(1)},
            'by_bool': {True: ramp(1)},
            'by_tuple': {(1, 'a'): ramp(1)}, 'deque': collections.deque([ramp(2), ramp(1)]), 'a.b/c\\d': ramp(2)}


def cycles():
    """a list in itself, a dictionary in itself, a tuple that contains itself, an object pointing at its parent"""
    l = [1]
    l.append(l)
    d = {'k': 1}
    d['self'] = d
    inner = []
    t = (inner, 2)
    inner.append(t)
    space = types.SimpleNamespace(x=1)
    space.me = space
    return {'list': l, 'dict': d, 'tuple': t, 'object': space, 'w': ramp(2)}


for p in (0, 2, 4):
    file('cycles_p%d' % p, protocol=p)(cycles)


@file()
def cycle_root():
    """the root is in itself"""
    d = {'w': ramp(2)}
    d['root'] = d
    return d


@file()
def big():
    """more than 1,000 items: pickle writes batches"""
    return {'list': list(range(2001)), 'dict': {i: i % 7 for i in range(1500)},
            'text': ['k%d' % i for i in range(1001)]}


@file(protocol=4)
def many_tensors():
    """60 tensors: memo indices beyond one byte"""
    return {'layer.%d.w' % i: t for i, t in enumerate(ramp(60, 2))}


@file()
def many_tensors_p2():
    """60 views of one storage at protocol 2: LONG_BINPUT"""
    return many_tensors()


@file()
def rng():
    """states of random generators: torch's tensor, numpy's tuple, Python's"""
    random.seed(5)
    np.random.seed(5)
    return {'torch': torch.get_rng_state()[:64].clone(), 'numpy': np.random.get_state(), 'python': random.getstate()}


# --- a user's own classes: refused by default -----------------------------------------------------------------

@dataclasses.dataclass
class Config:
    width: int = 4
    names: tuple = ('a', 'b')


class Mode(enum.Enum):
    FAST = 1


Point = collections.namedtuple('Point', 'x y')


class Slotted:
    __slots__ = ('a', 'b')

    def __init__(self):
        self.a, self.b = 1, [2]


class MyDict(dict):
    pass


REFUSED = dict(ls_error='global_not_allowed', ls_policy='inspect')


@file(**REFUSED)
def user_dataclass():
    """a dataclass of the program itself beside the weights: refused by default"""
    return {'model': {'w': ramp(2)}, 'config': Config()}


@file(**REFUSED)
def user_classes():
    """Enum, namedtuple, slots, subclass of dict, function of the program itself: refused by default"""
    return {'w': ramp(2), 'mode': Mode.FAST, 'point': Point(1, 2.5), 'slots': Slotted(), 'mydict': MyDict(a=1),
            'function': hook}


@file('user_module', named_only=True, **REFUSED)
def user_module():
    """whole pickled module of a class of the program itself"""
    return {'epoch': 1, 'model': MLP()}


@file(named_only=True)
def whole_module():
    """whole pickled torch.nn.Sequential under the key model"""
    return {'epoch': 1, 'model': torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))}


# --- kinds that are not one array ----------------------------------------------------------------

@file()
def sparse():
    """sparse tensors of every layout"""
    dense = torch.tensor([[0., 1., 0., 2.], [0., 0., 3., 0.], [4., 0., 0., 0.], [0., 0., 0., 5.]])
    out = {'coo': dense.to_sparse().coalesce(), 'csr': dense.to_sparse_csr()}
    for name in ('csc', 'bsr', 'bsc'):
        try:
            out[name] = getattr(dense, 'to_sparse_' + name)(*([] if name == 'csc' else [(2, 2)]))
        except Exception as e:
            print('  no', name, e)
    out['coo_hybrid'] = torch.sparse_coo_tensor(torch.tensor([[0, 2]]), ramp(2, 3), (4, 3))
    return {k: v for k, v in out.items() if savable(v)}


@file()
def quantized():
    """quantised tensors: per tensor, per channel, 4 bits"""
    x = ramp(4, 4)
    out = {'quint8': torch.quantize_per_tensor(x, 0.1, 10, torch.quint8),
           'qint8': torch.quantize_per_tensor(x, 0.05, 0, torch.qint8),
           'qint32': torch.quantize_per_tensor(x, 0.01, 0, torch.qint32),
           'channel': torch.quantize_per_channel(x, torch.tensor([.1, .2, .3, .4], dtype=torch.float64),
                                                 torch.zeros(4, dtype=torch.int64), 0, torch.qint8)}
    try:
        out['quint4x2'] = torch.quantize_per_channel(x, torch.full((4,), .5), torch.zeros(4), 0, torch.quint4x2)
    except Exception as e:
        print('  no quint4x2', e)
    return out


@file()
def nested():
    """nested tensor, strided"""
    try:
        return {'nested': torch.nested.nested_tensor([ramp(2, 3), ramp(1, 3)])}
    except Exception as e:
        raise Skip(e)


@file()
def jagged():
    """nested tensor, jagged"""
    try:
        return {'jagged': torch.nested.nested_tensor([ramp(2, 3), ramp(1, 3)], layout=torch.jagged)}
    except Exception as e:
        raise Skip(e)


@file()
def sparse_kinds():
    """sparse tensors with batch and dense dimensions, 32-bit indices, blocks, no values; each with its dense copy"""
    dense = torch.tensor([[0., 1., 0., 2.], [0., 0., 3., 0.], [4., 0., 0., 0.], [0., 0., 0., 5.]])
    batch = torch.stack([dense, dense.flip(0) * 2])
    out = {'coo_twice': torch.sparse_coo_tensor(torch.tensor([[1, 1, 0], [2, 2, 3]]), torch.tensor([1., 2., 4.]),
                                                (2, 4)),
           'coo_dense2': torch.sparse_coo_tensor(torch.tensor([[0, 2], [1, 0]]), ramp(2, 2, 3),
                                                 (3, 2, 2, 3)).coalesce(),
           'coo_empty': torch.sparse_coo_tensor((3, 4)), 'coo_int': (dense * 2).to(torch.int32).to_sparse(),
           'coo_half': dense.half().to_sparse(), 'coo_bool': dense.bool().to_sparse(),
           'coo_complex': torch.complex(dense, dense.flip(0)).to_sparse()}
    for kind in ('csr', 'csc', 'bsr', 'bsc'):
        blocks = [] if kind in ('csr', 'csc') else [(2, 2)]
        for name, source, dims in (('batch', batch, 0), ('hybrid', torch.stack([dense, dense + dense], -1), 1)):
            try:
                made = getattr(source, 'to_sparse_' + kind)(*blocks, **({'dense_dim': dims} if dims else {}))
                outer, inner = ((made.crow_indices(), made.col_indices()) if kind in ('csr', 'bsr')
                                else (made.ccol_indices(), made.row_indices()))
                out['%s_%s' % (kind, name)] = made
                out['%s_%s_int32' % (kind, name)] = torch.sparse_compressed_tensor(
                    outer.int(), inner.int(), made.values(), made.shape, layout=made.layout)
            except Exception as e:
                print('  no', kind, name, str(e)[:80])
    out = {k: v for k, v in out.items() if savable(v)}
    for name, t in list(out.items()):
        if name.endswith('_int32') and not name.startswith('csr'):
            continue  # the same numbers as without
        try:
            out[name + '.dense'] = t.to_dense()
        except Exception as e:
            print('  no dense', name, str(e)[:80])
    return out


@file()
def quantized_kinds():
    """quantised tensors: every type and scheme, strided, packed with odd sizes, axes; each with what torch makes of
    it"""
    x = torch.linspace(-3, 3, 30).reshape(5, 6)
    scales, zeros = torch.tensor([.1, .07, .3, .01, .2]), torch.tensor([.5, -.25, 1., 0., 3.])
    out = {'strided': torch.quantize_per_tensor(x, 0.1, 3, torch.quint8).t(),
           'slice': torch.quantize_per_tensor(x, 0.1, 3, torch.qint8)[1:4, 2:],
           'channel_0': torch.quantize_per_channel(x, scales.double(), torch.tensor([1, -2, 0, 3, 4]), 0, torch.qint8),
           'channel_1': torch.quantize_per_channel(x.t().contiguous(), scales.double(), torch.tensor([1, 2, 0, 3, 4]),
                                                   1, torch.quint8),
           'channel_int32': torch.quantize_per_channel(x, scales.double() / 1e8, torch.tensor([1, -2, 0, 3, 4]), 0,
                                                       torch.qint32),
           'int32': torch.quantize_per_tensor(x, 1e-9, 5, torch.qint32),
           'float_qparams': torch.quantize_per_channel(x, scales, zeros, 0, torch.quint8)}
    for name, make in (('quint4x2', lambda t: torch.quantize_per_channel(x[:, :5] + 3, scales, zeros, 0, t)),
                       ('quint2x4', lambda t: torch.quantize_per_channel(x[:, :5] + 3, scales * 5, zeros, 0, t)),
                       ('quint4x2_tensor', lambda t: torch.quantize_per_tensor(x[0, :5] + 3, .3, 2, t))):
        try:
            out[name] = make(getattr(torch, name[:8]))
        except Exception as e:
            print('  no', name, str(e)[:80])
    out = {k: v for k, v in out.items() if savable(v)}
    for name, t in list(out.items()):
        out[name + '.dequantized'] = t.dequantize()
    return out


@file()
def quantized_large():
    """quantised tensors of which `show` prints the edges; rows of packed ones begin inside a byte"""
    if not hasattr(torch, 'quint2x4'):
        raise Skip('no quint2x4')
    x = torch.linspace(-3, 3, 9 * 11).reshape(9, 11)
    scales, zeros = torch.linspace(.2, 1, 9), torch.linspace(-2, 2, 9)
    out = {'tensor': torch.quantize_per_tensor(x, 0.1, 3, torch.qint8),
           'channel': torch.quantize_per_channel(x, scales.double(), torch.arange(9), 0, torch.quint8)}
    for name in ('quint4x2', 'quint2x4'):
        out[name] = torch.quantize_per_channel(x, scales, zeros, 0, getattr(torch, name))
        out[name + '_cube'] = torch.quantize_per_channel(x.reshape(9, 11, 1).expand(9, 11, 3).contiguous(), scales,
                                                         zeros, 0, getattr(torch, name))
    return out


@file(named_only=True)
def quantized_module():
    """state_dict of quantised modules (packed parameters as a tuple), a packed parameter as an object, a generator"""
    from torch.ao.nn import quantized as nnq
    linear = nnq.Linear(4, 3)
    out = {'model': torch.nn.Sequential(linear, nnq.Conv2d(1, 2, 2)).state_dict(),
           'packed': linear._packed_params._packed_params}
    try:
        torch.save(torch.Generator(), io.BytesIO())
        out['generator'] = torch.Generator()
    except Exception as e:
        print('  no generator', e)
    return out


@file(named_only=True)
def quantized_whole():
    """whole quantised modules: linear, convolution, embedding, a functional, and dynamic ones"""
    from torch.ao.nn import quantized as nnq
    # A convolution that was loaded lacks these, and has no state_dict without them.
    for name in ('_parameters', '_buffers', '_modules', '_state_dict_pre_hooks', '_state_dict_hooks'):
        setattr(nnq.Conv2d, name, {})
    model = torch.nn.Sequential(collections.OrderedDict([
        ('linear', nnq.Linear(4, 3)), ('conv', nnq.Conv2d(1, 2, 2)), ('quantize', nnq.Quantize(0.5, 3, torch.quint8)),
        ('embedding', nnq.Embedding(12, 4)), ('functional', nnq.QFunctional())]))
    model.linear.scale, model.linear.zero_point = 0.25, 7
    dynamic = torch.ao.quantization.quantize_dynamic(torch.nn.Sequential(torch.nn.Linear(3, 2)), dtype=torch.qint8)
    return {'model': model, 'dynamic': dynamic}


@file()
def nested_kinds():
    """nested tensors: strided, with other dtypes, transposed and empty; jagged with lengths, along another dimension"""
    try:
        lists = [ramp(2, 3), ramp(1, 3), ramp(4, 3)]
        out = {'double': torch.nested.nested_tensor([t.double() for t in lists]),
               'flat': torch.nested.nested_tensor([ramp(3), ramp(5)]),
               'transposed': torch.nested.nested_tensor(lists).transpose(1, 2)}
        out['lengths'] = torch.nested.nested_tensor_from_jagged(ramp(8, 3), torch.tensor([0, 3, 6, 8]),
                                                                lengths=torch.tensor([2, 3, 1]))
        out['ragged_2'] = torch.nested.nested_tensor(lists, layout=torch.jagged).transpose(1, 2)
    except Exception as e:
        raise Skip(e)
    return {k: v for k, v in out.items() if savable(v)}


@file()
def meta():
    """meta tensors: no data"""
    return {'meta': torch.empty(2, 3, device='meta'), 'real': ramp(2)}


def jit_save(obj, path, protocol):
    torch.jit.save(obj, path)


@file(named_only=True, writer=jit_save, suffix='.pt', key_only=True)
def torchscript():
    """TorchScript archive of a tiny module"""
    if not HERE.startswith('/src/') or not torch.__file__.startswith(('/usr/', '/opt/')):
        raise Skip('its debug records would name %s and %s' % (HERE, os.path.dirname(torch.__file__)))
    class Tiny(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = torch.nn.Linear(3, 2)
            self.register_buffer('count', torch.tensor(3))

        def forward(self, x):
            return self.fc(x) + self.count
    return torch.jit.trace(Tiny(), torch.zeros(1, 3))


# ------------------------------------------------------------------------------------------------------------------

def save(entry, obj, path):
    if entry.writer:
        return entry.writer(obj, path, entry.protocol)
    if entry.alignment:
        from torch.utils.serialization import config
        config.save.storage_alignment = entry.alignment
    if not entry.crc:
        torch.serialization.set_crc32_options(False)
    try:
        torch.save(obj, path, pickle_protocol=entry.protocol, _use_new_zipfile_serialization=not entry.legacy)
    finally:
        if entry.alignment:
            config.save.storage_alignment = 64
        if not entry.crc:
            torch.serialization.set_crc32_options(True)


def load(entry, path):
    if entry.writer is jit_save:
        return torch.jit.load(path)
    if entry.writer is plain_pickle:
        with open(path, 'rb') as f:
            return pickle.load(f)
    return torch.load(path, weights_only=False)


def write(entry):
    folder = os.path.join(HERE, entry.folder or 'torch-' + VERSION)
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, entry.name + entry.suffix)
    torch.manual_seed(7)
    try:
        obj = entry.make()
        if entry.crc is False and not hasattr(torch.serialization, 'set_crc32_options'):
            raise Skip('no set_crc32_options')
        if entry.alignment:
            try:
                from torch.utils.serialization import config  # noqa: F401
            except ImportError:
                raise Skip('no storage_alignment')
        save(entry, obj, path)
    except Skip as e:
        print('skipped %s: %s' % (entry.name, e))
        return None
    except Exception as e:
        if os.path.exists(path):
            os.remove(path)
        print('skipped %s: cannot be written: %s: %s' % (entry.name, type(e).__name__, str(e)[:100]))
        return None
    document = {'made_by': {'script': 'tests/data/make_torch.py', 'torch': torch.__version__, 'numpy': np.__version__,
                            'python': sys.version.split()[0], 'protocol': entry.protocol}, 'shows': entry.show}
    try:
        seen, document['oracle_from'] = load(entry, path), 'loaded by torch'
    except Exception as e:
        seen = obj
        document['oracle_from'] = 'the saved object: torch cannot read the file (%s)' % type(e).__name__
    document.update(entry.oracle)
    told = expected.describe(seen, entry.protocol) if entry.writer is not jit_save else {
        'tensors': expected.rows(dict(seen.state_dict(keep_vars=True))), 'values': {}}
    if document['oracle_from'].startswith('loaded') and entry.writer is not jit_save:
        mine = expected.rows(obj)
        theirs = told['tensors']
        if [{k: v for k, v in r.items() if k != 'shares'} for r in mine] != [
                {k: v for k, v in r.items() if k != 'shares'} for r in theirs]:
            bad = [a['key'] for a, b in zip(mine, theirs) if {**a, 'shares': 0} != {**b, 'shares': 0}]
            print('  note: %s: the loaded object differs from the saved one at %s' % (entry.name, bad))
            document['not_as_saved'] = bad
    if entry.oracle.get('named_only'):
        told['values'] = {}
    document.update(told)
    with open(os.path.splitext(path)[0] + '.json', 'w') as f:
        f.write(expected.dumps(document))
    return path


def main():
    wanted = sys.argv[1:]
    total = 0
    for entry in FILES:
        if wanted and entry.name not in wanted:
            continue
        if entry.folder == 'demo' and VERSION != '2.13':
            continue
        path = write(entry)
        if path:
            total += 1
            size = os.path.getsize(path)
            print('%-70s %6d' % (os.path.relpath(path, HERE), size) + ('  LARGE' if size > 24576 else ''))
    print(total, 'files')


if __name__ == '__main__':
    main()
