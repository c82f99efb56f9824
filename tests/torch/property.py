#!/usr/bin/env python3
"""Writes random objects with torch.save and compares what the program `ckpt` says of them with what PyTorch says.

    python tests/torch/property.py --ckpt PROGRAM [--count N] [--seed S] [--keep FOLDER] [--skip-code 77]

Every object is made from the seed and its own number alone: `--seed S --first I --count 1` repeats number I.
A mismatch is made smaller before it is printed. Where torch cannot be imported nothing is run, and the exit code
is --skip-code (0 unless given).
"""
import argparse
import collections
import datetime
import decimal
import functools
import os
import pathlib
import pickle
import random
import sys
import tempfile
import types
import uuid
import warnings

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import oracle  # noqa: E402
import seeded  # noqa: E402

try:
    import numpy as np
    import torch
except ImportError as e:
    torch = e
else:
    import expected

WORDS = ('weight bias running_mean layer conv1 fc.weight a b state lr \u00fcber \u6771\u4eac x/y back\\slash sp ace '
         '$dollar 0 module.fc t\tab').split(' ')


class Maker:
    """One random object."""

    def __init__(self, seed, number):
        self.r = random.Random('%s/%s' % (seed, number))
        r = self.r
        self.kind = r.choices(('zip', 'legacy', 'pickle'), (8, 2, 1))[0]
        self.protocol = r.choices(range(6), (1, 1, 8, 1, 2, 2))[0]
        self.alignment = r.choice((64, 64, 64, 1, 8, 256, 4096)) if self.kind == 'zip' else 64
        self.crc = r.random() > 0.1
        self.left = r.choice((5, 20, 50, 90))
        self.tensors, self.boxes = [], []

    def make(self):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            root = self.box(0)
            if self.r.random() < 0.1:
                return self.tensor()
            return root

    # --- containers ---

    def key(self):
        r = self.r
        x = r.random()
        if x < 0.8:
            k = r.choice(WORDS)
            return k if r.random() < 0.5 else '%s%d' % (k, r.randrange(20))
        if x < 0.95:
            return r.choice((0, 1, 2, 7, -3, 1000, 2 ** 31, 140245072983168))
        return r.choice((None, 2.5, True, (1, 'a'), b'k'))

    def box(self, depth):
        r = self.r
        if self.boxes and r.random() < 0.08:
            return r.choice(self.boxes)
        kind = r.choices(('dict', 'list', 'tuple', 'ordered', 'default', 'deque', 'namespace', 'simple'),
                         (8, 5, 4, 3, 1, 1, 1, 1))[0]
        if kind in ('namespace',) and self.protocol < 2:
            kind = 'simple'
        n = r.choice((0, 1, 2, 3, 4, 6)) if depth else r.choice((1, 3, 6, 10))
        if kind == 'tuple':
            made = tuple(self.item(depth + 1) for _ in range(n))
        elif kind in ('list', 'deque'):
            made = [] if kind == 'list' else collections.deque(maxlen=r.choice((None, None, 50)))
            for _ in range(n):
                made.append(self.item(depth + 1))
        elif kind in ('namespace', 'simple'):
            made = argparse.Namespace() if kind == 'namespace' else types.SimpleNamespace()
            for i in range(n):
                setattr(made, 'f%d' % i, self.item(depth + 1))
        else:
            made = {'dict': dict, 'ordered': collections.OrderedDict,
                    'default': functools.partial(collections.defaultdict, r.choice((list, int, None)))}[kind]()
            for _ in range(n):
                made[self.key()] = self.item(depth + 1)
            if r.random() < 0.02:
                made['itself'] = made
        if kind == 'list' and r.random() < 0.02:
            made.append(made)
        self.boxes.append(made)
        return made

    def item(self, depth):
        self.left -= 1
        x = self.r.random()
        if x < 0.35 and depth < 7 and self.left > 0:
            return self.box(depth)
        if x < 0.75:
            return self.tensor()
        return self.value()

    # --- tensors ---

    def shape(self, most=60):
        r = self.r
        rank = r.choices(range(6), (2, 5, 6, 3, 2, 1))[0]
        while True:
            out = [r.choice((1, 1, 2, 2, 3, 3, 4, 5, 7)) if r.random() < 0.95 else 0 for _ in range(rank)]
            n = 1
            for s in out:
                n *= s
            if n <= most:
                return out

    def dtype(self):
        names = ('float32 float32 float32 float64 float16 bfloat16 int64 int32 int16 int8 uint8 bool complex64 '
                 'complex128')
        new = ('uint16 uint32 uint64 complex32 bcomplex32 float8_e5m2 float8_e4m3fn float8_e5m2fnuz float8_e4m3fnuz '
               'float8_e8m0fnu float4_e2m1fn_x2 bits8 bits16 bits1x8 bits2x4 bits4x2')
        chosen = self.r.choice((names if self.r.random() < 0.75 else new).split())
        if chosen == 'complex32' and expected_version() < (2, 0):
            chosen = 'complex64'
        return getattr(torch, chosen, torch.float32)

    def fresh(self):
        r, shape, dtype = self.r, self.shape(), self.dtype()
        n = 1
        for s in shape:
            n *= s
        if dtype is torch.bool:
            return torch.tensor([r.random() < 0.5 for _ in range(n)], dtype=dtype).reshape(shape)
        size = torch.empty(0, dtype=dtype).element_size()
        raw = torch.tensor(list(r.getrandbits(8) for _ in range(n * size)), dtype=torch.uint8)
        flat = raw.view(dtype) if n else torch.empty(0, dtype=dtype)
        return flat.as_strided(shape, contiguous(shape), 0)

    def view(self, t):
        r = self.r
        for _ in range(r.randrange(1, 4)):
            how = r.randrange(6)
            if how == 0 and t.dim() >= 2:
                t = t.transpose(*r.sample(range(t.dim()), 2))
            elif how == 1 and t.dim():
                d = r.randrange(t.dim())
                n = t.shape[d]
                a = r.randrange(n) if n and r.random() < 0.95 else r.randrange(n + 1)
                t = t.narrow(d, a, r.randrange(min(1, n - a), n - a + 1))
            elif how == 2 and t.dim():
                d = r.randrange(t.dim())
                shape, stride = list(t.shape), list(t.stride())
                step = r.randrange(1, 4)
                shape[d] = -(-shape[d] // step)
                stride[d] *= step
                t = t.as_strided(shape, stride, t.storage_offset())
            elif how == 3 and t.dim() and t.numel():
                d = r.randrange(t.dim())
                t = t.select(d, r.randrange(t.shape[d]))
            elif how == 4 and t.dim() < 6:
                n = r.choice((1, 2, 3, 8, 40) if r.random() < 0.1 else (1, 2, 3))
                t = t.unsqueeze(0).expand(*([n] + list(t.shape)))
            elif how == 5:
                t = t.unsqueeze(r.randrange(t.dim() + 1))
        return t

    def tensor(self):
        r = self.r
        if self.tensors and r.random() < 0.15:
            return r.choice(self.tensors)
        if self.tensors and r.random() < 0.4:
            t = self.view(r.choice(self.tensors).detach())
        else:
            t = self.fresh()
            if r.random() < 0.3:
                self.tensors.append(t)
                t = self.view(t)
            elif (t.dtype is torch.uint8 and t.dim() and t.is_contiguous() and r.random() < 0.5
                  and hasattr(torch, 'float8_e5m2')):
                self.tensors.append(t)
                t = t.view(torch.float8_e5m2)
        simple = t.dtype in (torch.float32, torch.float64, torch.complex64, torch.complex128, torch.float16)
        if simple and expected_version() >= (2, 0):
            if t.dtype.is_complex and r.random() < 0.4:
                t = t.conj()
            # torch's negation of the others changes NaNs and zeros.
            if r.random() < 0.08 and t.dtype in (torch.float32, torch.float64):
                t = torch._neg_view(t)
        if simple and t._is_view() is False and r.random() < 0.1:
            t = t.clone().requires_grad_() if t.numel() else t
        if r.random() < 0.12 and not t.is_conj() and not t.is_neg():
            t = torch.nn.Parameter(t.detach(), requires_grad=simple and r.random() < 0.6)
        if r.random() < 0.05 and not t.is_conj() and not t.is_neg():
            t.tag = r.choice(('text', [1, 2], {'k': None}))
        self.tensors.append(t)
        return t

    # --- other values ---

    def value(self):
        r = self.r
        which = r.randrange(12)
        if which == 0:
            return r.choice((None, True, False))
        if which == 1:
            bits = r.choice((3, 8, 9, 16, 17, 31, 32, 33, 53, 54, 63, 64, 65, 200, 2100))
            n = r.getrandbits(bits)
            return r.choice((n, -n, 2 ** bits, -2 ** bits, 2 ** bits - 1))
        if which == 2:
            return r.choice((0.0, -0.0, 0.1, 1e-3, 1e300, -5e-324, float('nan'), float('inf'), -float('inf'),
                             r.random(), r.gauss(0, 1e6), float(r.randrange(1000))))
        if which == 3:
            return self.text()
        if which == 4:
            b = bytes(r.getrandbits(8) for _ in range(r.choice((0, 1, 2, 30, 300))))
            return bytearray(b) if r.random() < 0.3 else b
        if which == 5:
            items = [r.choice((r.randrange(100), self.text(), 1.5, None, (1, 2))) for _ in range(r.randrange(5))]
            return r.choice((set, frozenset))(items)
        if which == 6:
            return self.numpy_scalar()
        if which == 7:
            return self.numpy_array()
        if which == 8:
            return r.choice((complex(r.random(), -2.5), complex('nan'), range(3), range(5, -2, -3), slice(None, 4),
                             Ellipsis))
        if which == 9:
            return r.choice((torch.Size([2, 3]), torch.Size([]), torch.float32, torch.int64, torch.device('cpu'),
                             torch.device('cuda:1')))
        if which == 10:
            partial = functools.partial(int, base=8)
            partial.__dict__  # made when it is asked for: the file would have None, and what is compared later {}
            out = [datetime.datetime(2024, 2, 29, 1, 2, 3, 4), datetime.timedelta(3, 4, 5), decimal.Decimal('1.10'),
                   collections.Counter('hello'), partial, dict, len]
            if self.protocol >= 2:
                out += [uuid.UUID(int=r.getrandbits(128)), pathlib.PurePosixPath('/a/b')]
            return r.choice(out)
        n = r.choice((5, 1001, 2500))
        return list(range(n)) if r.random() < 0.5 else {i: None for i in range(n)}

    def text(self):
        r = self.r
        alphabet = 'abc \u00e9\u0416\u6771\U0001f525\n\x00\x1b"\\/' if r.random() < 0.5 else 'abcdefgh_.'
        s = ''.join(r.choice(alphabet) for _ in range(r.choice((0, 1, 5, 20, 300))))
        return s + '\udcff' if r.random() < 0.05 else s

    def numpy_scalar(self):
        name = self.r.choice(('float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 complex64 '
                              'complex128 bool_').split())
        return getattr(np, name)(self.r.choice((0, 1, 3, 100)) if name != 'float64' else self.r.random())

    def numpy_array(self):
        r = self.r
        code = r.choice('f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 c8 c16 b1'.split())
        order = r.choice('<<>') if code[1:] != '1' else '|'
        shape = self.shape(40)
        n = int(np.prod(shape))
        a = np.array([r.randrange(100) for _ in range(n)]).astype(order + code).reshape(shape)
        if r.random() < 0.3:
            a = np.asfortranarray(a)
        if r.random() < 0.2 and a.ndim:
            a = a[::2]
        return a


def contiguous(shape):
    out, step = [], 1
    for s in reversed(shape):
        out.append(step)
        step *= max(s, 1)
    return out[::-1]


@functools.lru_cache(None)
def expected_version():
    return tuple(int(x) for x in torch.__version__.split('+')[0].split('.')[:2])


# --- one object against the program -----------------------------------------------------------------------------------

def write(maker, root, path):
    if maker.kind == 'pickle':
        with open(path, 'wb') as f:
            pickle.dump(root, f, protocol=maker.protocol)
        return
    config = None
    if maker.kind == 'zip' and maker.alignment != 64:
        try:
            from torch.utils.serialization import config
            config.save.storage_alignment = maker.alignment
        except ImportError:
            pass
    off = not maker.crc and hasattr(torch.serialization, 'set_crc32_options')
    if off:
        torch.serialization.set_crc32_options(False)
    try:
        torch.save(root, path, pickle_protocol=maker.protocol, _use_new_zipfile_serialization=maker.kind == 'zip')
    finally:
        if config:
            config.save.storage_alignment = 64
        if off:
            torch.serialization.set_crc32_options(True)


def problems_of(program, maker, root, path):
    """Lines of text; None where torch does not write the object, or where the program says that it cannot read it
    yet."""
    try:
        write(maker, root, path)
    except (RuntimeError, KeyError, ValueError, AttributeError, TypeError, NotImplementedError) as e:
        if 'view the same data as different types' in str(e) or isinstance(e, KeyError) or 'dtype' in str(e):
            return None
        raise
    try:
        if maker.kind == 'pickle':
            with open(path, 'rb') as f:
                seen = pickle.load(f)
        else:
            seen = torch.load(path, weights_only=False)
        loaded = True
    except Exception:
        seen, loaded = root, False
    rows = expected.rows(seen)
    keys = [r['key'] for r in rows]
    if len(rows) > 3000 or len(set(keys)) != len(keys):
        return None
    if not loaded and maker.kind == 'pickle':
        for row in rows:
            row['shares'] = None
    told = {'tensors': rows, 'values': {'': expected.Renderer(maker.protocol).render(seen)}}
    for p, v in expected.leaves(seen, 3):
        told['values'][expected.path_text(p)] = expected.Renderer(maker.protocol).render(v)
    if any('error' in r for r in rows):
        told['strict_exit'] = 1
    out = []
    for check in (oracle.check_ls, oracle.check_show):
        try:
            out += check(program, path, told)
        except oracle.NotReadYet:
            return None
        except oracle.Failed as e:
            out.append('%s: %s' % (check.__name__[6:], e))
    return out


def smaller(root):
    """Objects with less in them."""
    if isinstance(root, dict):
        items = list(root.items())
        yield from (v for _, v in items)
        if len(items) > 1:
            for part in halves(items):
                yield type_of(root)(part)
    elif type(root) in (list, tuple, collections.deque):
        items = list(root)
        yield from items
        if len(items) > 1:
            for part in halves(items):
                yield type(root)(part)
    elif isinstance(root, (argparse.Namespace, types.SimpleNamespace)):
        yield from vars(root).values()


def type_of(d):
    return collections.OrderedDict if isinstance(d, collections.OrderedDict) else dict


def halves(items):
    middle = len(items) // 2
    yield items[:middle]
    yield items[middle:]
    if 2 < len(items) < 12:
        for i in range(len(items)):
            yield items[:i] + items[i + 1:]


def shrink(program, maker, root, path, budget=60):
    problems, best = problems_of(program, maker, root, path), root
    while budget > 0:
        for candidate in smaller(best):
            if candidate is best:
                continue
            budget -= 1
            if budget <= 0:
                break
            try:
                found = problems_of(program, maker, candidate, path)
            except Exception:
                continue
            if found:
                best, problems = candidate, found
                break
        else:
            break
    write(maker, best, path)
    return best, problems


def outline(v, depth=0):
    if isinstance(v, torch.Tensor):
        bits = ''.join((' conj' if v.is_conj() else '', ' neg' if v.is_neg() else '',
                        ' grad' if v.requires_grad else '', ' attributes' if getattr(v, '__dict__', None) else ''))
        return ('%s(%s %s/%s+%d%s)' %
                (type(v).__name__, v.dtype, tuple(v.shape), tuple(v.stride()), v.storage_offset(), bits))
    if isinstance(v, np.ndarray):
        return 'ndarray(%s %s%s)' % (v.dtype.str, v.shape, ' F' if v.flags.fnc else '')
    if depth > 6:
        return '...'
    if isinstance(v, dict):
        return '%s{%s}' % ('' if type(v) is dict else type(v).__name__, ', '.join(
            '%r: %s' % (k, outline(x, depth + 1)) for k, x in list(v.items())[:8]) + (', ...' if len(v) > 8 else ''))
    if type(v) in (list, tuple, collections.deque):
        return ('%s[%s]' % (type(v).__name__,
                            ', '.join(outline(x, depth + 1) for x in list(v)[:8]) + (', ...' if len(v) > 8 else '')))
    if isinstance(v, (argparse.Namespace, types.SimpleNamespace)):
        return ('%s(%s)' % (type(v).__name__,
                            ', '.join('%s=%s' % (k, outline(x, depth + 1)) for k, x in vars(v).items())))
    text = '%s %r' % (type(v).__name__, v)
    return text if len(text) < 100 else text[:97] + '...'


def main():
    args = seeded.arguments(__doc__, 200, torch,
                            (('--first', {'type': int, 'default': 0}),
                             ('--keep', {'metavar': 'FOLDER', 'help': 'keep the files of mismatches here'})))
    seed = args.seed
    sys.setrecursionlimit(10000)
    if hasattr(sys, 'set_int_max_str_digits'):
        sys.set_int_max_str_digits(0)
    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(args.first, args.first + args.count):
            maker = Maker(seed, number)
            root = maker.make()
            path = os.path.join(folder, 'object%d.pt' % number)
            problems = problems_of(args.ckpt, maker, root, path)
            if problems is None:
                skipped += 1
            elif not problems:
                passed += 1
            else:
                failed += 1
                if failed <= 20:
                    best, problems = shrink(args.ckpt, maker, root, path)
                    print('number %d (--seed %d --first %d --count 1), %s, protocol %d, alignment %d%s:' % (
                        number, seed, number, maker.kind, maker.protocol, maker.alignment,
                        '' if maker.crc else ', no crc'))
                    print('  object: ' + outline(best))
                    for p in problems[:5]:
                        print('  ' + p)
                    if args.keep:
                        os.makedirs(args.keep, exist_ok=True)
                        os.replace(path, os.path.join(args.keep, 'object-%d-%d.pt' % (seed, number)))
            if os.path.exists(path):
                os.remove(path)
    if skipped:
        print('%d objects are skipped: torch does not write them, or the program does not read them yet' % skipped)
    return seeded.report(passed, failed, skipped)


if __name__ == '__main__':
    sys.exit(main())
