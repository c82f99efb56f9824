"""Random objects as training programs save them, and whether two of them are the same."""
import collections
import math
import random

import numpy
import torch

TEXTS = ['', 'lr', 'a.b', 'x/y', 'ü', '東京', '\U0001f600', '\ud800', 'nul\0', 'tab\t', 'quo"te', 'long' * 100]
CONSTANTS = [torch.float32, torch.bfloat16, torch.bool, torch.float8_e5m2, torch.per_tensor_affine,
             torch.device('cpu'), torch.device('cuda', 1), torch.Size([2, 3]), torch.Size([]), torch.sparse_coo]
DTYPES = [getattr(torch, name) for name in (
    'bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64 complex128 uint16 uint32 uint64 '
    'complex32 float8_e5m2 float8_e4m3fn float8_e8m0fnu float4_e2m1fn_x2').split()]


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.made = []  # what later values may share
        self.storages = []

    def number(self):
        r = self.random
        return r.choice((0, 1, -1, 255, 256, 65535, 65536, 2**31 - 1, 2**31, -2**31, -2**31 - 1, 2**63 - 1, -2**63,
                         2**63, -2**64, 2**2039 - 1, r.randrange(-10**6, 10**6), 128, -128, -129, 32768, -2**39,
                         2**39 - 1, 2**39))

    def real(self):
        return self.random.choice((0.0, -0.0, 1e-5, math.nan, math.inf, -math.inf, 5e-324, self.random.random()))

    def leaf(self):
        r = self.random
        return r.choice((lambda: None, lambda: r.random() < 0.5, self.number, self.real, lambda: r.choice(TEXTS),
                         lambda: complex(self.real(), 1.5), lambda: r.randbytes(r.choice((0, 1, 7, 300))),
                         lambda: bytearray(r.randbytes(r.choice((0, 5)))), lambda: r.choice(CONSTANTS)))()

    def key(self):
        r = self.random
        return r.choice((lambda: r.choice(TEXTS), self.number, lambda: 0.5, lambda: None, lambda: torch.float32,
                         lambda: r.randbytes(2), lambda: (r.choice(TEXTS), self.number()), lambda: ()))()

    def strided(self):
        """A tensor, perhaps a view of a storage that others have, too."""
        r = self.random
        if self.storages and r.random() < 0.3:
            base = r.choice(self.storages)
        else:
            dtype = r.choice(DTYPES)
            raw = torch.tensor(list(r.randbytes(r.choice((16, 48, 160)))), dtype=torch.uint8)
            base = raw % 2 == 0 if dtype == torch.bool else raw.view(dtype)
            self.storages.append(base)
        if base.dtype == torch.uint8 and r.random() < 0.5:
            base = base.view(torch.float8_e5m2)  # two types on one storage
        shape = [r.choice((0, 1, 2, 2, 3)) for _ in range(r.choice((0, 1, 1, 2, 3)))]
        count = math.prod(shape)
        if count > base.numel():
            shape, count = [1], 1
        offset = r.randrange(base.numel() - count + 1)
        out = base[offset:offset + count].view(shape)
        how = r.random()
        if how < 0.2 and len(shape) > 1:
            out = out.transpose(0, -1)
        elif how < 0.3 and 1 in shape:
            out = out.expand([4 if n == 1 else n for n in shape])
        elif how < 0.4 and base.numel() > 4:
            out = base[::2]
        return out

    def tensor(self):
        r = self.random
        if r.random() < 0.85:
            out = self.strided()
            if out.dtype in (torch.complex64, torch.complex128) and r.random() < 0.4:
                out = torch.conj(out)
            if out.dtype in (torch.float32, torch.float64, torch.bfloat16, torch.complex64):
                if r.random() < 0.2:
                    return torch.nn.Parameter(out.detach(), r.random() < 0.5)
                out = out.detach().requires_grad_(r.random() < 0.3)
            if r.random() < 0.05:
                out.note = self.leaf()
            return out
        values = torch.rand(3, 4)
        return r.choice((
            lambda: torch.quantize_per_tensor(values, 0.1, 3, torch.quint8),
            lambda: torch.quantize_per_channel(values, torch.rand(3).double() + 0.1, torch.tensor([0, 1, 2]), 0,
                                               torch.qint8),
            lambda: (values > 0.5).float().to_sparse(), lambda: values.to_sparse().coalesce(),
            lambda: values.to_sparse_csr(), lambda: torch.empty(2, 3, device='meta'),
            lambda: torch.nn.Parameter(torch.rand(2)), lambda: values.to_sparse_bsc((3, 2))))()

    def value(self, depth):
        r = self.random
        if self.made and r.random() < 0.15:
            return r.choice(self.made)
        if depth == 0 or r.random() < 0.3:
            out = self.tensor() if r.random() < 0.5 else self.leaf()
        else:
            out = self.container(depth - 1)
        if r.random() < 0.3:
            self.made.append(out)
        return out

    def container(self, depth):
        r = self.random
        count = r.choice((0, 1, 2, 3, 5))
        which = r.randrange(8)
        if which == 0:
            out = []
            self.made.append(out)  # so that it may contain itself
            out.extend(self.value(depth) for _ in range(count))
        elif which == 1:
            out = tuple(self.value(depth) for _ in range(count))
        elif which == 2:
            out = collections.OrderedDict((self.key(), self.value(depth)) for _ in range(count))
            if r.random() < 0.5:
                out._metadata = collections.OrderedDict({'': {'version': 1}})
        elif which == 3:
            out = {self.key() for _ in range(count)}
        elif which == 4:
            out = collections.Counter({r.choice(TEXTS): 3, 5: 2})
        else:
            out = {}
            self.made.append(out)
            for _ in range(count):
                out[self.key()] = self.value(depth)
        return out


class Comparison:
    """Whether a loaded object is the saved one, with the same things shared; `why` says where it is not."""

    def __init__(self):
        self.seen, self.storages, self.why = {}, {}, ''

    def differ(self, path, a, b):
        self.why = self.why or f'at {path}: {a!r:.200} became {b!r:.200}'
        return False

    def same(self, a, b, path='root'):
        if type(a) is not type(b):
            return self.differ(path, type(a), type(b))
        if isinstance(a, (list, dict, set, torch.Tensor)):
            if id(a) in self.seen:
                return self.seen[id(a)][1] is b or self.differ(path, 'shared', 'not shared')
            self.seen[id(a)] = a, b  # both live on, so that ids stay theirs
        if isinstance(a, torch.Tensor):
            return self.tensors(a, b) or self.differ(path, a, b)
        if isinstance(a, dict):
            attributes = self.same(getattr(a, '__dict__', None), getattr(b, '__dict__', None), path + '.__dict__')
            return attributes and len(a) == len(b) and all(
                self.same(x, y, f'{path} key {x!r:.50}') and self.same(a[x], b[y], f'{path}/{x!r:.50}')
                for x, y in zip(a, b)) or self.differ(path, a, b)
        if isinstance(a, (list, tuple)):
            return len(a) == len(b) and all(self.same(x, y, f'{path}/{i}') for i, (x, y) in enumerate(zip(a, b))) \
                or self.differ(path, a, b)
        if isinstance(a, float):
            return numpy.float64(a).tobytes() == numpy.float64(b).tobytes() or self.differ(path, a, b)
        if isinstance(a, complex):
            return self.same(a.real, b.real, path) and self.same(a.imag, b.imag, path)
        return a == b or self.differ(path, a, b)

    def storage(self, a, b):
        """Tensors share a storage as before."""
        if a.nbytes() == 0:
            return True
        return self.storages.setdefault(a.data_ptr(), b.data_ptr()) == b.data_ptr() and a.nbytes() == b.nbytes()

    def tensors(self, a, b):
        facts = [(t.dtype, t.shape, t.layout, t.requires_grad, t.device, t.is_quantized) for t in (a, b)]
        if facts[0] != facts[1] or not self.same(getattr(a, 'note', None), getattr(b, 'note', None), 'an attribute'):
            return False
        if a.device.type == 'meta':
            return a.stride() == b.stride()
        if a.is_quantized:
            return a.qscheme() == b.qscheme() and torch.equal(a.int_repr(), b.int_repr()) and \
                torch.equal(a.dequantize(), b.dequantize())
        if a.layout == torch.sparse_coo:
            return a.is_coalesced() == b.is_coalesced() and self.same(a._indices(), b._indices()) and \
                self.same(a._values(), b._values())
        if a.layout != torch.strided:
            return torch.equal(a.values(), b.values()) and torch.equal(a.to_dense(), b.to_dense())
        kept = a.is_conj() or a.is_neg() or (
            a.stride() == b.stride() and a.storage_offset() == b.storage_offset() and
            (a.numel() == 0 or self.storage(a.untyped_storage(), b.untyped_storage())))
        return kept and not b.is_conj() and raw(a) == raw(b)


def raw(t):
    t = t.detach().resolve_conj().resolve_neg().contiguous()
    return bytes(t.view(-1).view(torch.uint8).tolist()) if t.numel() else b''
