#!/usr/bin/env python3
"""Converts random state_dicts with the program `ckpt` and compares the files with what the real packages write.

    python tests/torch/convert.py --ckpt PROGRAM [--count N] [--seed S] [--torch PYTHON]

Every dtype of the format, strides, slices, tied, empty and scalar tensors, odd keys. The safetensors package's
`save_file` must write the same bytes, huggingface_hub must split into the same shards, and numpy must save and load the
same arrays; torch, also other versions of it, must load what was written. Where torch, numpy or safetensors cannot be
imported nothing is run. The last line is `N passed, N failed, N skipped`.
"""
import collections
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import zipfile

from checked import Checked, options

try:
    import numpy
    import safetensors
    import safetensors.torch
    import torch
    import random_objects
except ImportError as e:
    torch = e
try:
    import huggingface_hub
except ImportError:
    huggingface_hub = None

DTYPES = ('bool uint8 int8 int16 uint16 float16 bfloat16 int32 uint32 float32 float64 int64 uint64 complex64 '
          'float8_e5m2 float8_e4m3fn float8_e8m0fnu float8_e4m3fnuz float8_e5m2fnuz').split()
OLD_DTYPES = [getattr(torch, name, None) for name in (
    'bool uint8 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64').split()]
WORDS = ['weight', 'bias', 'layer', 'a.b', 'ü', '東京', 'x/y', 'back\\slash', 'sp ace', 'quo"te', 'tab\there', 'nul\x01',
         '\x7f', '\U0001f600', '0', '']


class Maker:
    def __init__(self, seed, number):
        self.random = random.Random(f'{seed}/{number}')

    def tensor(self):
        r = self.random
        dtype = getattr(torch, r.choice(DTYPES))
        shape = [r.choice((0, 1, 2, 3, 5, 17)) for _ in range(r.choice((0, 1, 1, 2, 2, 3)))]
        base = torch.tensor(list(r.randbytes(4096)), dtype=torch.uint8)
        if dtype == torch.bool:
            base = base % 2 == 0
        size = torch.empty(0, dtype=dtype).element_size()
        count = 1
        for n in shape:
            count *= n
        flat = base.view(dtype)[r.randrange(8):] if dtype != torch.bool else base
        if count * 2 > flat.numel():
            shape, count = [3], 3
        whole = flat[:count].clone() if r.random() < 0.7 else flat[:2 * count:2] if r.random() < 0.5 else flat[:count]
        assert size > 0
        out = whole.reshape(shape)
        return out.transpose(0, -1) if len(shape) > 1 and r.random() < 0.3 else out

    def weights(self):
        r = self.random
        out = {}
        for i in range(r.choice((1, 2, 5, 12))):
            key = r.choice(WORDS) + ('' if r.random() < 0.3 else f'.{i}')
            out[key] = r.choice(list(out.values())) if out and r.random() < 0.15 else self.tensor()
        return out


def ties(weights):
    """What is the same view of the same storage, by the first key in the order of bytes."""
    first, out = {}, {}
    for key in sorted(weights, key=lambda k: k.encode()):
        t = weights[key]
        place = (t.untyped_storage().data_ptr(), t.storage_offset(), t.dtype, tuple(t.shape), t.stride())
        if t.numel() and place in first:
            out[key] = first[place]
        else:
            first[place] = key
    return out


def metadata_of(data):
    return json.loads(data[8:8 + int.from_bytes(data[:8], 'little')]).get('__metadata__')


def same_bytes(ours, weights, metadata):
    """Whether the reference writes these bytes; it writes metadata in any order, so its text is put into ours."""
    kept = {k: t.contiguous() for k, t in weights.items() if k not in metadata}
    want = safetensors.torch.save(kept, metadata=dict(metadata) or None)
    length, theirs = int.from_bytes(ours[:8], 'little'), int.from_bytes(want[:8], 'little')
    if metadata_of(ours) != metadata_of(want) or ours[8 + length:] != want[8 + theirs:] or length != theirs:
        return False
    # Of two entries of metadata and more the reference writes any order.
    return ours == want or (len(metadata) > 1 and sorted(ours[:8 + length]) == sorted(want[:8 + theirs]))


# Run by another version of PyTorch: OUT loads in its safe mode, and is what IN is without it.
OTHER_VERSION = """
import sys, torch
for pair in zip(sys.argv[1::2], sys.argv[2::2]):
    want, got = (torch.load(path, **how) for path, how in zip(pair, ({}, {'weights_only': True})))
    assert type(got) is type(want) and list(got) == list(want) and got._metadata == want._metadata
    place = [{}, {}]
    for key in want:
        tensors = want[key], got[key]
        assert type(tensors[0]) is type(tensors[1]), key
        if isinstance(tensors[0], torch.Tensor):
            facts = [(t.dtype, t.shape, t.stride(), t.storage_offset(), t.requires_grad,
                      t.numel() and p.setdefault(t.storage().data_ptr(), len(p))) for t, p in zip(tensors, place)]
            a, b = tensors
            assert facts[0] == facts[1] and ((a == b) | ((a != a) & (b != b))).all(), (key, facts)
        else:
            assert tensors[0] == tensors[1], key
print(torch.__version__)
"""


class Run(Checked):
    def ckpt(self, *args):
        done = subprocess.run([self.program, *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        return done.returncode, done.stdout.decode('utf-8', 'replace')

    def one(self, name, weights, legacy):
        source, out = (os.path.join(self.folder, f) for f in ('in.pt', 'out.safetensors'))
        torch.save(weights, source, _use_new_zipfile_serialization=not legacy)
        try:
            weights = torch.load(source, weights_only=True)
        except AttributeError:  # torch writes some dtypes to old files that it cannot read
            torch.save(weights, source)
            weights = torch.load(source, weights_only=True)
        code, said = self.ckpt('convert', source, out, '--force', '--select', '')
        if code:
            return self.check(name, False, said)
        with open(out, 'rb') as f:
            ours = f.read()
        metadata = ties(weights)
        self.check(name + ': the bytes of the safetensors package', same_bytes(ours, weights, metadata), said)
        code, said = self.ckpt('diff', source, out, '--select-a', '', '--select-b', '')
        self.check(name + ': ckpt diff finds the two equal', code == 0, said)

    def arrays(self, name, weights):
        """The archive has each array as numpy.save writes it; keys that are one record's name stay out."""
        source, out = (os.path.join(self.folder, f) for f in ('arrays.pt', 'out.npz'))
        names = collections.Counter(key.rstrip('\x01') for key in weights)
        weights = {k: t for k, t in weights.items() if names[k] == 1}
        torch.save(weights, source)
        code, said = self.ckpt('convert', source, out, '--force', '--select', '', '--raw')
        if code or not weights:
            return self.check(name, not weights, said)
        with zipfile.ZipFile(out) as archive:
            want = {}
            for key, t in weights.items():
                if t.dtype == torch.bfloat16 or str(t.dtype).startswith('torch.float8'):
                    t = t.contiguous().view(torch.uint16 if t.dtype == torch.bfloat16 else torch.uint8)
                made = io.BytesIO()
                numpy.save(made, numpy.ascontiguousarray(t.numpy()).reshape(t.shape))
                want[key + '.npy'] = made.getvalue()
            self.check(name + ': the arrays that numpy saves',
                       {i.filename: archive.read(i) for i in archive.infolist()} == want, said)
            self.check(name + ': checksums', archive.testzip() is None)
        loaded = numpy.load(out, allow_pickle=False)
        self.check(name + ': numpy loads them', sorted(loaded.files) == sorted(weights))

    def objects(self, seed):
        """A whole object comes back from torch's safe mode as it was, and is the same for ours."""
        source, out, again = (os.path.join(self.folder, f) for f in ('object.pt', 'written.pt', 'again/written.pt'))
        os.makedirs(os.path.dirname(again), exist_ok=True)
        made = {'first': random_objects.Maker(seed).value(4), 'last': [1]}
        torch.save(made, source)
        for new, old in ((out, source), (again, out)):
            code, said = self.ckpt('convert', old, new, '--force')
            if code:
                return self.check(f'object {seed}', False, said)
        loaded = torch.load(out, weights_only=True)
        comparison = random_objects.Comparison()
        self.check(f'object {seed}: torch loads the same', comparison.same(made, loaded), comparison.why)
        with open(out, 'rb') as one, open(again, 'rb') as other:
            self.check(f'object {seed}: what is written again is the same', one.read() == other.read())

    def other_versions(self, pythons):
        """Weights of what torch 1.13 knows load in its safe mode, and in that of others."""
        paths = []
        for number in range(20):
            maker = Maker('old', number)
            weights = collections.OrderedDict((k, t) for k, t in maker.weights().items() if t.dtype in OLD_DTYPES)
            weights._metadata = collections.OrderedDict({'': {'version': 1}})
            weights['parameter'] = torch.nn.Parameter(torch.rand(2, 3))
            weights['others'] = [1, 'x', (2, None), True, 2 ** 70, torch.Size([2])]
            source, out = (os.path.join(self.folder, f'{name}{number}.pt') for name in ('old', 'new'))
            torch.save(weights, source)
            code, said = self.ckpt('convert', source, out, '--select', '')
            self.check(f'weights {number} for other versions', code == 0, said)
            paths += [source, out]
        for python in pythons:
            done = subprocess.run([python, '-W', 'ignore', '-c', OTHER_VERSION, *paths], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True)
            self.check('torch of ' + python, done.returncode == 0, done.stdout[-600:])
            print('torch', done.stdout.strip()[-600:])

    def shards(self):
        weights = collections.OrderedDict((f'layer.{i}', torch.full((n,), float(i)))
                                          for i, n in enumerate((5, 30, 7, 7, 100, 1, 2, 60)))
        source = os.path.join(self.folder, 'shards.pt')
        torch.save(weights, source)
        for most in (1, 28, 120, 121, 400, 10 ** 6):
            folder = os.path.join(self.folder, str(most))
            os.mkdir(folder)
            out = os.path.join(folder, 'model.safetensors')
            code, said = self.ckpt('convert', source, out, '--force', '--max-shard-size', str(most))
            self.check(f'shards of {most} bytes', code == 0, said)
            split = huggingface_hub.split_torch_state_dict_into_shards(
                weights, max_shard_size=most, filename_pattern='model{suffix}.safetensors')
            for file, keys in split.filename_to_tensors.items():
                with open(os.path.join(folder, file), 'rb') as f:
                    ours = f.read()
                self.check(f'{file} of {most}', ours == safetensors.torch.save({k: weights[k] for k in keys}))
            if split.is_sharded:
                want = {'metadata': split.metadata, 'weight_map': split.tensor_to_filename}
                with open(out + '.index.json', 'rb') as f:
                    self.check(f'index of {most}', f.read() ==
                               (json.dumps(want, indent=2, sort_keys=True) + '\n').encode())
                code, said = self.ckpt('diff', source, out + '.index.json')
                self.check(f'the set of {most} is equal', code == 0, said)


def main():
    args = options(200, [('--torch', {
        'action': 'append', 'default': [sys.executable],
        'help': 'Python with another version of PyTorch, which must load what was written'})])
    if isinstance(torch, ImportError):
        print(f'not run: {torch}\n0 passed, 0 failed, {args.count} skipped')
        return 0
    with tempfile.TemporaryDirectory() as folder:
        run = Run(args.ckpt, folder)
        for number in range(args.count):
            run.one(f'seed {args.seed}, number {number}', Maker(args.seed, number).weights(), number % 5 == 4)
            run.arrays(f'arrays of seed {args.seed}, number {number}', Maker(args.seed, number).weights())
        for number in range(args.count):
            run.objects(f'{args.seed}/{number}')
        run.other_versions(args.torch)
        if huggingface_hub is not None:
            run.shards()
    return run.end(int(huggingface_hub is None))


if __name__ == '__main__':
    sys.exit(main())
