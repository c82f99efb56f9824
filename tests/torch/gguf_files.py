#!/usr/bin/env python3
"""Writes random state_dicts as GGUF with the program `ckpt` and compares the files with what the gguf package writes.

    python tests/torch/gguf_files.py --ckpt PROGRAM [--count N] [--seed S]

Every dtype of the format, strides, tied and scalar tensors, odd names, metadata of every type; values quantised to Q8_0
and Q4_0 from every floating dtype, among them NaN, infinities, zeros of both signs, subnormal numbers and ties of the
rounding. gguf.GGUFWriter must write the same bytes, and gguf.GGUFReader read them. Where torch, numpy or gguf cannot be
imported nothing is run. Where ctransformers is, which has llama.cpp inside, that loads a model from such files and runs
it. The last line is `N passed, N failed, N skipped`.
"""
import collections
import importlib.util
import json
import os
import random
import subprocess
import sys
import tempfile

from checked import Checked, options

try:
    import gguf
    import gguf.quants
    import numpy
    import torch
except ImportError as e:
    torch = e
HAS_LLAMA = importlib.util.find_spec('ctransformers') is not None
# In a process of its own, which ends before the destructor that ends it with a fault.
EVALUATE = '''import ctransformers, json, os, sys
model = ctransformers.LLM(sys.argv[1], model_type='llama')
model.eval(model.tokenize('abcabc'))
print(json.dumps(list(model.logits)), flush=True)
os._exit(0)'''

WORDS = ['weight', 'bias', 'blk.0', 'a.b', 'ü', '東京', 'x/y', 'sp ace', 'quo"te', '\U0001f600', 'n' * 60, '']
DTYPES = 'int8 int16 int32 int64 float16 bfloat16 float32 float64'.split()
FLOATS = 'float32 float32 float32 float64 float16 bfloat16 float8_e4m3fn float8_e5m2'.split()


def numbers(r, dtype, count):
    """Values for blocks of 32: of one size in each block, with a few odd ones."""
    out = []
    while len(out) < count:
        size = 2.0 ** r.choice((0, 0, 0, 3, -8, -20, -120, -128, -133, -140, -147, 100, 124))
        kind = r.random()
        if kind < 0.1:
            block = [r.choice((0.0, -0.0)) for _ in range(32)]
        elif kind < 0.3:  # ties of both roundings
            block = [r.randrange(-254, 255) / 2 * size for _ in range(31)] + [r.choice((-127, 127, -8, 8, 4)) * size]
        else:
            block = [r.gauss(0, 1) * size for _ in range(32)]
        for odd in (float('inf'), float('-inf'), float('nan'), -float('nan'), 1e-45, -1e-45, 3.4e38, -0.0):
            if r.random() < 0.03:
                block[r.randrange(32)] = odd
        r.shuffle(block)
        out += block
    return torch.tensor(out[:count], dtype=torch.float64).to(torch.float32).to(getattr(torch, dtype))


def tensor(r):
    dtype = r.choice(DTYPES)
    shape = [r.choice((1, 2, 3, 5, 17)) for _ in range(r.choice((0, 1, 1, 2, 2, 3, 4)))]
    count = 1
    for n in shape:
        count *= n
    base = torch.tensor(list(r.randbytes(16 * count)), dtype=torch.uint8).view(getattr(torch, dtype))
    whole = base[:count].clone() if r.random() < 0.7 else base[:2 * count:2]
    out = whole.reshape(shape)
    return out.transpose(0, -1) if len(shape) > 1 and r.random() < 0.3 else out


def weights_of(r):
    out = collections.OrderedDict()
    for i in range(r.choice((0, 1, 2, 5, 12))):
        key = r.choice(WORDS) + ('' if r.random() < 0.3 else f'.{i}')
        out[key] = r.choice(list(out.values())) if out and r.random() < 0.15 else tensor(r)
    return out


def metadata_of(r):
    """JSON, and the calls of GGUFWriter that mean the same."""
    given, calls = {'general.architecture': 'llama'}, []

    def add(value, kind, item=None, written_out=False):
        key = f'{r.choice(("llama", "tokenizer.ggml", "ü"))}.{len(given)}'
        plain = (kind if item is None else item).name.lower()
        given[key] = {'type': plain, 'value': value} if written_out else value
        calls.append((key, value, kind, item))

    T = gguf.GGUFValueType
    whole = {T.UINT8: (0, 255), T.INT8: (-128, 127), T.UINT16: (0, 65535), T.INT16: (-32768, 32767),
             T.UINT32: (0, 2 ** 32 - 1), T.INT32: (-2 ** 31, 2 ** 31 - 1), T.UINT64: (0, 2 ** 64 - 1),
             T.INT64: (-2 ** 63, 2 ** 63 - 1)}
    for _ in range(r.choice((0, 3, 10))):
        kind = r.choice(list(whole))
        value = r.choice((*whole[kind], r.randint(*whole[kind])))
        add(value, kind, written_out=True)
        add([value] * r.choice((1, 3)), T.ARRAY, kind, True)
        add(r.choice((0, 7, 2 ** 32 - 1)), T.UINT32)
        add(r.choice((-1, -2 ** 31)), T.INT32)
        add(r.choice((2 ** 32, 2 ** 63, 2 ** 64 - 1)), T.UINT64)
        add(-2 ** 31 - 1, T.INT64)
        add(r.choice((1e-5, 0.1, -0.0, 1e30, 1e-46)), T.FLOAT32)
        add(0.1, T.FLOAT64, written_out=True)
        add(r.choice((True, False)), T.BOOL)
        add(r.choice(('ü\n"', 'x' * 70000, 'a')), T.STRING)
        add(['a', '', 'ü'], T.ARRAY, T.STRING)
        add([1, -2, 3], T.ARRAY, T.INT32)
        add([0.5, -1e-5], T.ARRAY, T.FLOAT32)
        add([True, False], T.ARRAY, T.BOOL)
    return given, calls


def tiny_llama():
    """A model of two layers, and the metadata that llama.cpp wants of it."""
    torch.manual_seed(0)
    hidden, inner, tokens = 64, 128, ['<unk>', '<s>', '</s>', *(f'<0x{i:02X}>' for i in range(256)), *'abcdefgh']
    weights = {'token_embd.weight': torch.randn(len(tokens), hidden) / 20}
    for i in range(2):
        for name, *shape in (('attn_norm', hidden), ('ffn_norm', hidden), ('attn_q', hidden, hidden),
                             ('attn_k', hidden, hidden), ('attn_v', hidden, hidden), ('attn_output', hidden, hidden),
                             ('ffn_gate', inner, hidden), ('ffn_up', inner, hidden), ('ffn_down', hidden, inner)):
            weights[f'blk.{i}.{name}.weight'] = torch.randn(*shape) / 10 if len(shape) > 1 else torch.ones(*shape)
    weights['output_norm.weight'] = torch.ones(hidden)
    weights['output.weight'] = torch.randn(len(tokens), hidden) / 3
    sizes = {'context_length': 128, 'embedding_length': hidden, 'block_count': 2, 'feed_forward_length': inner,
             'rope.dimension_count': 32, 'attention.head_count': 2, 'attention.head_count_kv': 2,
             'attention.layer_norm_rms_epsilon': 1e-5}
    return {k: t.bfloat16() for k, t in weights.items()}, {
        'general.architecture': 'llama', **{'llama.' + k: v for k, v in sizes.items()},
        'tokenizer.ggml.model': 'llama', 'tokenizer.ggml.tokens': tokens,
        'tokenizer.ggml.scores': [-float(i) for i in range(len(tokens))],
        'tokenizer.ggml.token_type': [2, 3, 3] + [6] * 256 + [1] * 8, 'tokenizer.ggml.bos_token_id': 1,
        'tokenizer.ggml.eos_token_id': 2, 'tokenizer.ggml.unknown_token_id': 0}


class Run(Checked):
    def path(self, name):
        return os.path.join(self.folder, name)

    def convert(self, name, weights, metadata, *words):
        """The bytes of the file that the program writes; None where it fails."""
        torch.save(weights, self.path('in.pt'))
        with open(self.path('meta.json'), 'w') as f:
            json.dump(metadata, f, ensure_ascii=False)
        done = subprocess.run([self.program, 'convert', self.path('in.pt'), self.path('out.gguf'), '--force',
                               '--select', '', '--gguf-meta', self.path('meta.json'), *words],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        if done.returncode:
            return self.check(name, False, done.stdout.decode('utf-8', 'replace'))
        with open(self.path('out.gguf'), 'rb') as f:
            return f.read()

    def package(self, calls, arrays):
        """The bytes that gguf.GGUFWriter writes. `arrays`: a name, its array, and a type that numpy does not have."""
        writer = gguf.GGUFWriter(self.path('want.gguf'), 'llama')
        for key, value, kind, item in calls:
            writer.add_key_value(key, value, kind, item)
        for key, array, kind in arrays:
            writer.add_tensor(key, array, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        with open(self.path('want.gguf'), 'rb') as f:
            return f.read()

    def plain(self, name, r):
        weights, (given, calls) = weights_of(r), metadata_of(r)
        ours = self.convert(name, weights, given)
        if ours is None:
            return
        arrays = []
        for key, t in weights.items():
            t = t.contiguous().reshape(t.shape or (1,))
            is_brain = t.dtype == torch.bfloat16
            array = t.view(torch.int16).numpy() if is_brain else t.numpy()
            if is_brain:
                array = numpy.frombuffer(array.tobytes(), numpy.uint8).reshape(*t.shape[:-1], -1)
            arrays.append((key, array, gguf.GGMLQuantizationType.BF16 if is_brain else None))
        self.check(name + ': the bytes of the gguf package', ours == self.package(calls, arrays))
        read = gguf.GGUFReader(self.path('out.gguf'))
        self.check(name + ': the package reads the names and shapes', [(t.name, *t.shape) for t in read.tensors] ==
                   [(k, *reversed(t.shape or (1,))) for k, t in weights.items()])
        self.check(name + ': and the values', all(
            t.data.tobytes() == a.tobytes() for t, (_, a, _) in zip(read.tensors, arrays)))
        self.check(name + ': and the metadata', all(
            read.fields[key].contents() == value or kind == gguf.GGUFValueType.FLOAT32 or
            item == gguf.GGUFValueType.FLOAT32 for key, value, kind, item in calls))

    def quantised(self, name, r):
        """Each floating dtype, as the package quantises it; what cannot be quantised stays as it is."""
        how = r.choice(('Q8_0', 'Q4_0'))
        kind = gguf.GGMLQuantizationType[how]
        weights, arrays = {}, []
        for i in range(r.choice((1, 3, 6))):
            shape = r.choice(((1, 32), (3, 64), (2, 2, 96), (33, 32), (2, 1, 1, 64), (64,), (3, 31), (2, 40)))
            count = 1
            for n in shape:
                count *= n
            dtype = r.choice(FLOATS) if len(shape) > 1 and shape[-1] % 32 == 0 else 'float32'
            t = numbers(r, dtype, count).reshape(shape)
            weights[f'{i}.weight'] = t
            has_numpy = dtype in ('float32', 'float64', 'float16')
            array = t.numpy() if has_numpy else t.to(torch.float32).numpy()
            takes = len(shape) > 1 and shape[-1] % 32 == 0
            if takes:
                with numpy.errstate(all='ignore'):
                    array = gguf.quants.quantize(array, kind)
                if how == 'Q8_0':  # which NaN numpy's largest value is depends on its place
                    scales = array.reshape(-1, 34)[:, :2].view(numpy.float16)
                    scales[numpy.isnan(scales)] = numpy.nan
            arrays.append((f'{i}.weight', array, kind if takes else None))
        ours = self.convert(name, weights, {'general.architecture': 'llama'}, '--dtype', '**=' + how)
        if ours is not None:
            self.check(f'{name}: {how} of the gguf package', ours == self.package([], arrays))

    def llama(self):
        """llama.cpp loads a model of each kind, and its logits are about those of the model that is not quantised."""
        weights, metadata = tiny_llama()
        logits = {}
        for how, most in (('float32', 0), ('Q8_0', 0.1), ('Q4_0', 1)):
            words = ['--dtype', '**=float32', '--dtype', '**=' + how]
            if self.convert(how + ' for llama.cpp', weights, metadata, *words) is None:
                return
            done = subprocess.run([sys.executable, '-c', EVALUATE, self.path('out.gguf')], stdout=subprocess.PIPE)
            logits[how] = numpy.array(json.loads(done.stdout or '[0]'))
            apart = abs(logits[how] - logits['float32']).mean()
            self.check(how + ' runs in llama.cpp', abs(logits[how]).max() > 1 and apart <= most, apart)


def main():
    args = options(100)
    if isinstance(torch, ImportError):
        print(f'not run: {torch}\n0 passed, 0 failed, {2 * args.count} skipped')
        return 0
    with tempfile.TemporaryDirectory() as folder:
        run = Run(args.ckpt, folder)
        for number in range(args.count):
            run.plain(f'seed {args.seed}, number {number}', random.Random(f'{args.seed}/{number}'))
            run.quantised(f'blocks of seed {args.seed}, number {number}', random.Random(f'{args.seed}/q{number}'))
        if HAS_LLAMA:
            run.llama()
    return run.end(int(not HAS_LLAMA))


if __name__ == '__main__':
    sys.exit(main())
