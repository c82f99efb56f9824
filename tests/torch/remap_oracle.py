#!/usr/bin/env python3
"""Compares what key rules make of tensors with what PyTorch's own functions make of them.

    python tests/torch/remap_oracle.py --ckpt PROGRAM [--count N] [--seed S] [--skip-code 77]

Casts: every pair of dtypes, with every bit pattern of the small types and random ones of the large. Structure: N random
chains of split, merge, stack, unstack, transpose, permute, reshape, squeeze, unsqueeze, narrow, pad and the three
layouts of qkv, on tensors of all dtypes and all strides. `ckpt ls --rules --digest` must give the keys, dtypes, shapes
and digests. Where torch cannot be imported nothing is run, and the exit code is --skip-code (0 unless given).
"""
import json
import os
import random
import subprocess
import sys
import tempfile
import zlib

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import seeded  # noqa: E402

try:
    import torch
except ImportError as e:
    torch = e

NAMES = ('uint8 int8 int16 int32 int64 uint16 uint32 uint64 float16 bfloat16 float32 float64 complex32 complex64 '
         'complex128 bool float8_e5m2 float8_e4m3fn float8_e5m2fnuz float8_e4m3fnuz float8_e8m0fnu bcomplex32').split()
INTEGERS = {'uint8': (0, 2**8 - 1), 'int8': (-2**7, 2**7 - 1), 'int16': (-2**15, 2**15 - 1),
            'int32': (-2**31, 2**31 - 1), 'int64': (-2**63, 2**63 - 1),
            'uint16': (0, 2**16 - 1), 'uint32': (0, 2**32 - 1), 'uint64': (0, 2**64 - 1), 'bool': (0, 1)}


def kind(name):
    return 'integer' if name in INTEGERS else 'complex' if 'complex' in name else 'real'


def dtypes():
    return [n for n in NAMES if hasattr(torch, n)]


def crc(tensor):
    dense = torch.empty(tensor.numel(), dtype=tensor.dtype)
    dense.view(tensor.shape).copy_(tensor)
    return '%08x' % zlib.crc32(dense.view(torch.uint8).numpy().tobytes())


def run(program, path, rules):
    with open(path + '.rules', 'w', encoding='utf-8') as f:
        f.write(rules)
    done = subprocess.run([program, 'ls', path, '--rules', path + '.rules', '--digest', '--json'],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    if done.returncode < 0:
        return {'error': {'code': 'signal %d' % -done.returncode}}
    return json.loads(done.stdout.decode('utf-8'))


def code_of(document):
    """Of the document, or of its only row."""
    e = document.get('error') or (document.get('tensors') or [{}])[0].get('error')
    return e and e['code']


def differences(document, wanted):
    """`wanted`: tensors by key, in order."""
    if 'tensors' not in document:
        return ['refused: %s' % json.dumps(document.get('error'))[:300]]
    rows = document['tensors']
    out = []
    if [r['key'] for r in rows] != list(wanted):
        out.append('keys %s, should be %s' % ([r['key'] for r in rows][:8], list(wanted)[:8]))
    table = {r['key']: r for r in rows}
    for key, t in wanted.items():
        row = table.get(key)
        if row is None:
            continue
        for field, x in (('dtype', str(t.dtype)[6:]), ('shape', list(t.shape)), ('crc32', crc(t))):
            if row.get(field) != x:
                out.append('%s: %s is %s, should be %s; %s' % (key, field, row.get(field), x, row.get('error')))
    return out


# --- casts ------------------------------------------------------------------------------------------------------------

def patterns(name, r):
    """Elements of a dtype: all bit patterns of at most 16 bits, edge cases and random ones of the others."""
    dtype = getattr(torch, name)
    if name == 'bool':
        return torch.tensor([False, True])
    size = torch.tensor([], dtype=dtype).element_size()
    if size == 1:
        return torch.arange(256, dtype=torch.int32).to(torch.uint8).view(dtype)
    if size == 2:
        return torch.arange(65536, dtype=torch.int32).to(torch.int16).view(dtype)
    raw = bytearray(r.randbytes(20000 * size))
    t = torch.frombuffer(raw, dtype=torch.uint8).view(dtype)
    if kind(name) != 'integer':  # what is near the numbers that the small types hold
        halves = {'float32': torch.float32, 'float64': torch.float64, 'complex32': torch.float16,
                  'complex64': torch.float32, 'complex128': torch.float64}.get(name, torch.bfloat16)
        small = torch.cat([torch.arange(65536, dtype=torch.int32).to(torch.int16).view(d).to(torch.float64)
                           for d in (torch.float16, torch.bfloat16)])
        small = torch.cat([small, small * (1 + 2**-11), small * (1 + 2**-12), small * (1 - 2**-30), small * (1 + 2**-4),
                           small * (1 + 2**-3)]).to(halves)
        small = small[: len(small) // 2 * 2]
        t = torch.cat([t, small.view(dtype)])
    else:
        least, most = INTEGERS[name]
        edges = [n for k in range(64) for n in (2**k - 1, 2**k, 2**k + 1, -2**k - 1, -2**k, 1 - 2**k)
                 if least <= n <= most]
        t = torch.cat([t, torch.tensor(edges, dtype=dtype),
                       torch.tensor([r.randint(max(least, -2**20), min(most, 2**30)) for _ in range(5000)],
                                    dtype=dtype)])
    return t


def allowed(a, b):
    if b == 'float8_e8m0fnu' or (kind(a) == 'complex') != (kind(b) == 'complex'):
        return False
    return a == b or kind(a) == 'integer' or kind(b) != 'integer'


def not_nan(t):
    """The elements that are numbers, as PyTorch says."""
    if t.dtype.is_complex:
        halves = torch.view_as_real(t.to(torch.complex128) if t.dtype != torch.complex128 else t)
        return t[~(halves.isnan().any(-1))]
    return t[~t.to(torch.float64).isnan()] if t.dtype.is_floating_point else t


def fitting(t, to):
    """The integers that fit into another integer type."""
    values = [n for n in t.tolist() if INTEGERS[to][0] <= n <= INTEGERS[to][1]]
    return torch.tensor(values, dtype=t.dtype)


def check_casts(program, folder, r):
    names = dtypes()
    for a in names:
        all_of_them = patterns(a, r)
        tensors = {'numbers': not_nan(all_of_them)}
        if len(all_of_them) != len(tensors['numbers']):
            tensors['all'] = all_of_them
        for b in names:
            path = os.path.join(folder, 'cast.pt')
            if not allowed(a, b):
                torch.save({'x': all_of_them[:4]}, path)
                code = code_of(run(program, path, 'cast %s x\n' % b))
                right = 'rule_invalid' if b == 'float8_e8m0fnu' else 'remap_failed'
                yield '%s to %s' % (a, b), [] if code == right else ['should not be possible: %s' % code]
                continue
            mine = dict(tensors)
            if kind(a) == kind(b) == 'integer' and a != b:
                mine = {'numbers': fitting(all_of_them, b)}
                if len(mine['numbers']) < len(all_of_them):
                    torch.save({'x': all_of_them}, path)
                    code = code_of(run(program, path, 'cast %s x\n' % b))
                    problems = [] if code == 'conversion' else ['should fail: %s' % code]
                    yield '%s to %s, values that do not fit' % (a, b), problems
            torch.save(mine, path)
            try:
                wanted = {k: t.to(getattr(torch, b)) for k, t in mine.items()}
            except (RuntimeError, NotImplementedError) as e:
                yield '%s to %s' % (a, b), None if 'not' in str(e) else [str(e)]
                continue
            yield '%s to %s' % (a, b), differences(run(program, path, 'cast %s **\n' % b), wanted)


# --- structure --------------------------------------------------------------------------------------------------------

def factors(n, r):
    out = []
    while n > 1 and len(out) < 4:
        out.append(r.choice([k for k in range(1, n + 1) if n % k == 0]))
        n //= out[-1]
    return out + ([n] if n > 1 or not out else [])


class Chain:
    """Tensors by key below a prefix, and the rules that made them of one."""

    def __init__(self, r, prefix):
        self.r, self.prefix, self.rules, self.fresh = r, prefix, [], 0
        name = r.choice(dtypes())
        dtype = getattr(torch, name)
        shape = [r.choice((1, 2, 3, 4, 6, 8, 12)) for _ in range(r.randrange(5))]
        if r.random() < 0.05 and shape:
            shape[r.randrange(len(shape))] = 0
        size = torch.tensor([], dtype=dtype).element_size()
        numel = 1
        for n in shape:
            numel *= n
        raw = torch.frombuffer(bytearray(r.randbytes(numel * size) + b'\0' * 16), dtype=torch.uint8)[:numel * size]
        t = (raw % 2).to(torch.bool) if name == 'bool' else raw.view(dtype)
        if name == 'complex32':  # PyTorch negates halves by way of float32, which makes signalling NaNs quiet ones
            t = torch.nan_to_num(raw.view(torch.float16)).view(dtype)
        self.source = self.strided(t.reshape(shape))
        self.now = {prefix + '.x': self.source}

    def strided(self, t):
        r = self.r
        if t.dim() > 1 and r.random() < 0.3:
            order = list(range(t.dim()))
            r.shuffle(order)
            t = t.permute(order)
        if t.dim() and t.shape[0] > 1 and r.random() < 0.3:
            t = t[r.randrange(2)::r.choice((1, 2))]
        if t.dim() and t.shape[-1] > 1 and r.random() < 0.2:
            t = t[..., 1:]
        if t.dim() < 5 and r.random() < 0.1:
            t = t.unsqueeze(0).expand(3, *t.shape)
        if t.is_complex() and r.random() < 0.5:
            t = t.conj()
        return t

    def name(self):
        self.fresh += 1
        return '%s.n%d' % (self.prefix, self.fresh)

    def one(self):
        return self.r.choice(list(self.now))

    def dim(self, t, extra=0):
        d = self.r.randrange(t.dim() + extra)
        return d, d if self.r.random() < 0.5 else d - t.dim() - extra

    def put(self, key, made):
        """The tensors of `made` where `key` stood."""
        out = {}
        for k, t in self.now.items():
            if k == key:
                out.update(made)
            else:
                out[k] = t
        self.now = out

    def join(self, keys, name, tensor):
        """`tensor` at the place of the first of `keys`."""
        self.put(keys[0], {name: tensor})
        for k in keys[1:]:
            self.now.pop(k, None)

    def step(self):
        r, key = self.r, self.one()
        t = self.now[key]
        verb = r.choice(('split sizes merge stack unstack transpose permute reshape squeeze squeeze_one unsqueeze '
                         'narrow pad qkv qkv_back cast').split())
        if t.dim() == 0 and verb not in ('reshape', 'squeeze', 'unsqueeze', 'cast', 'stack'):
            return
        d, shown = self.dim(t) if t.dim() else (0, 0)
        if verb in ('split', 'sizes'):
            n = r.choice((1, 2, 3, 4))
            if verb == 'split':
                if t.shape[d] % n or not t.shape[d]:
                    return
                sizes, text = [t.shape[d] // n] * n, ''
            else:
                cuts = sorted(r.randrange(t.shape[d] + 1) for _ in range(n - 1))
                sizes = [b - a for a, b in zip([0] + cuts, cuts + [t.shape[d]])]
                text = '%s ' % sizes
            names = [self.name() for _ in range(n)]
            self.rules.append('split %d %s%s -> %s' % (shown, text, key, ', '.join(names)))
            self.put(key, dict(zip(names, torch.split(t, sizes, d))))
        elif verb == 'merge':
            keys = [k for k, o in self.now.items()
                    if o.dtype == t.dtype and o.dim() == t.dim()
                    and all(a == b or i == d for i, (a, b) in enumerate(zip(o.shape, t.shape)))]
            r.shuffle(keys)
            keys = keys[:r.randrange(1, 4)]
            name = self.name()
            self.rules.append('merge %d %s -> %s' % (shown, ', '.join(keys), name))
            self.join(keys, name, torch.cat([self.now[k].resolve_conj() for k in keys], d))
        elif verb == 'stack':
            keys = [k for k, o in self.now.items() if o.dtype == t.dtype and o.shape == t.shape]
            r.shuffle(keys)
            keys = keys[:r.randrange(1, 13)]
            base, name = self.name(), self.name()
            d, shown = self.dim(t, 1)
            for i, k in enumerate(keys):
                self.rules.append('rename %s -> %s.%d' % (k, base, i))
            self.rules.append('stack %d %s.{e:int} -> %s by {e}' % (shown, base, name))
            self.join(keys, name, torch.stack([self.now[k].resolve_conj() for k in keys], d))
        elif verb == 'unstack':
            if not 0 < t.shape[d] < 13:
                return
            base = self.name()
            self.rules.append('unstack %d %s -> %s.{e} by {e}' % (shown, key, base))
            self.put(key, {'%s.%d' % (base, i): part for i, part in enumerate(t.unbind(d))})
        elif verb == 'transpose':
            e, other = self.dim(t)
            self.rules.append('transpose %d %d %s' % (shown, other, key))
            self.now[key] = t.transpose(d, e)
        elif verb == 'permute':
            order = list(range(t.dim()))
            r.shuffle(order)
            self.rules.append('permute (%s) %s' % (', '.join(map(str, order)), key))
            self.now[key] = t.permute(order)
        elif verb == 'reshape':
            if not t.numel():
                return
            shape = factors(t.numel(), r)
            if r.random() < 0.5:
                shape[r.randrange(len(shape))] = -1
            self.rules.append('reshape (%s) %s' % (', '.join(map(str, shape)), key))
            self.now[key] = t.reshape(shape)
        elif verb == 'squeeze':
            self.rules.append('squeeze %s' % key)
            self.now[key] = t.squeeze()
        elif verb == 'squeeze_one':
            if t.shape[d] != 1:
                return
            self.rules.append('squeeze %d %s' % (shown, key))
            self.now[key] = t.squeeze(d)
        elif verb == 'unsqueeze':
            if t.dim() > 5:
                return
            d, shown = self.dim(t, 1)
            self.rules.append('unsqueeze %d %s' % (shown, key))
            self.now[key] = t.unsqueeze(d)
        elif verb == 'narrow':
            start = r.randrange(t.shape[d] + 1)
            length = r.randrange(t.shape[d] - start + 1)
            self.rules.append('narrow %d %d %d %s' % (shown, start, length, key))
            self.now[key] = t.narrow(d, start, length)
        elif verb == 'pad':
            if t.dtype == getattr(torch, 'float8_e8m0fnu', None):
                return
            before, after = r.randrange(3), r.randrange(3)
            value = (1 if t.dtype in (torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64)
                     else r.choice((-1, 2)))
            blank = torch.full([before + after if i == d else n for i, n in enumerate(t.shape)], value,
                               dtype=torch.complex128 if t.is_complex() else torch.float64).to(t.dtype)
            self.rules.append('pad %d %d %d with %d %s' % (shown, before, after, value, key))
            self.now[key] = torch.cat([blank.narrow(d, 0, before), t.resolve_conj(), blank.narrow(d, before, after)], d)
        elif verb == 'qkv':
            choices = [(h, k, layout) for h, k in ((1, 1), (2, 1), (2, 2), (4, 2), (3, 3), (6, 2))
                       if t.shape[d] % (h + 2 * k) == 0
                       for layout in ('concat', 'grouped') + (('interleaved',) if h == k else ())]
            if not choices:
                return
            h, k, layout = r.choice(choices)
            names = [self.name() for _ in range(3)]
            self.rules.append('split %d qkv(heads=%d, kv_heads=%d, layout=%s) %s -> %s' %
                              (shown, h, k, layout, key, ', '.join(names)))
            self.put(key, dict(zip(names, split_qkv(t, d, h, k, layout))))
        elif verb == 'qkv_back':
            choices = [(h, k, layout) for h, k in ((1, 1), (2, 1), (2, 2), (4, 2), (3, 3))
                       for layout in ('concat', 'grouped') + (('interleaved',) if h == k else ())
                       if t.shape[d] % h == 0]
            if not choices:
                return
            h, k, layout = r.choice(choices)
            same = [o for o, x in self.now.items() if o != key and x.dtype == t.dtype and x.dim() == t.dim() and
                    all(a == (b if i != d else b // h * k) for i, (a, b) in enumerate(zip(x.shape, t.shape)))]
            if len(same) < 2:
                return
            keys, name = [key] + r.sample(same, 2), self.name()
            self.rules.append('merge %d qkv(heads=%d, kv_heads=%d, layout=%s) %s -> %s' %
                              (shown, h, k, layout, ', '.join(keys), name))
            self.join(keys, name, merge_qkv([self.now[x] for x in keys], d, h, k, layout))
        elif verb == 'cast':
            to = {'float16': 'float32', 'bfloat16': 'float32', 'float32': 'float64', 'uint8': 'int32', 'bool': 'int8',
                  'int16': 'float64'}.get(str(t.dtype)[6:])
            if to is None or not t.isfinite().all():
                return
            self.rules.append('cast %s %s' % (to, key))
            self.now[key] = t.to(getattr(torch, to))


def split_qkv(t, d, h, k, layout):
    t = t.movedim(d, 0)
    size = t.shape[0] // (h + 2 * k)
    if layout == 'concat':
        parts = t.split([h * size, k * size, k * size])
    else:
        grid = t.reshape(k, h // k + 2, size, *t.shape[1:])
        parts = [p.reshape(-1, *t.shape[1:]) if p.numel() else p.reshape(n * size, *t.shape[1:])
                 for p, n in ((grid[:, :-2], h), (grid[:, -2], k), (grid[:, -1], k))]
    return [p.movedim(0, d) for p in parts]


def merge_qkv(parts, d, h, k, layout):
    q, key, v = (p.resolve_conj().movedim(d, 0) for p in parts)
    if layout == 'concat':
        out = torch.cat([q, key, v])
    else:
        size, rest = q.shape[0] // h, q.shape[1:]
        out = torch.cat([q.reshape(k, h // k, size, *rest), key.reshape(k, 1, size, *rest),
                         v.reshape(k, 1, size, *rest)],
                        1).reshape((h + 2 * k) * size, *rest)
    return out.movedim(0, d)


def check_chains(program, folder, r, count):
    made = 0
    while made < count:
        chains = []
        while len(chains) < min(50, count - made):
            chain = Chain(r, 't%d' % len(chains))
            for _ in range(r.randrange(1, 7)):
                chain.step()
            chains.append(chain)
        made += len(chains)
        path = os.path.join(folder, 'chains.pt')
        torch.save({c.prefix + '.x': c.source for c in chains}, path)
        wanted = {k: t for c in chains for k, t in c.now.items()}
        problems = differences(run(program, path, '\n'.join(rule for c in chains for rule in c.rules)), wanted)
        if not problems:
            for c in chains:
                yield c.prefix, []
            continue
        for c in chains:  # one by one, to say which
            torch.save({c.prefix + '.x': c.source}, path)
            problems = differences(run(program, path, '\n'.join(c.rules)), c.now)
            yield '%s %s %s' % (c.source.dtype, tuple(c.source.shape),
                                tuple(c.source.stride())), problems + c.rules if problems else []


def main():
    args = seeded.arguments(__doc__, 1000, torch)
    r = random.Random(args.seed)
    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory() as folder:
        for checks in (check_casts(args.ckpt, folder, r), check_chains(args.ckpt, folder, r, args.count)):
            for what, problems in checks:
                if problems is None:
                    skipped += 1
                elif not problems:
                    passed += 1
                else:
                    failed += 1
                    if failed <= 20:
                        print('%s: %s' % (what, '\n    '.join(problems[:12])))
    return seeded.report(passed, failed, skipped)


if __name__ == '__main__':
    sys.exit(main())
