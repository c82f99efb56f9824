#!/usr/bin/env python3
"""Writes tests/data/archives/torch-VERSION: the zip archives of PyTorch's that torch.save did not write (TorchScript,
torch.package, PT2), archives packed again with compression, and tars around checkpoints; and beside each file
NAME.json: what torch says of it.

    python tests/data/make_archives.py            all files, with the torch that is installed (1.13 or 2.13)
    python tests/data/make_archives.py NAME…      only these
    python tests/data/make_archives.py --old      under torch 1.0 to 1.3: script_model.pt alone, without an oracle
    python tests/data/make_archives.py --old-oracle     the oracles of those files, which later ones do not read

TorchScript's debug records name the source files. So that no path of a machine gets into them, these files are only
written from a copy in /src (cp -r tests /src), with a torch below /usr or /opt (python -m venv /opt/torch).
"""
import json
import os
import sys
import tarfile
import types
import warnings
import zipfile

import torch

HERE = os.path.dirname(os.path.abspath(__file__))
VERSION = '.'.join(torch.__version__.split('+')[0].split('.')[:2])
OUT = os.path.join(HERE, 'archives', 'torch-' + VERSION)
MADE_BY = {'script': 'tests/data/make_archives.py', 'torch': torch.__version__, 'python': sys.version.split()[0]}
FILES = []
warnings.filterwarnings('ignore')


class Skip(Exception):
    pass


def file(name, **oracle):
    """A function that writes the file at a path and gives what its tensors must be: the object that torch reads
    back."""
    def add(make):
        FILES.append(types.SimpleNamespace(name=name, make=make, oracle=oracle))
        return make
    return add


def ramp(*shape):
    n = 1
    for s in shape:
        n *= s
    return torch.arange(n, dtype=torch.float64).mul(0.25).sub(1.0).to(torch.float32).reshape(shape)


# --- TorchScript ----------------------------------------------------------------------------------------------------

class Inner(torch.nn.Module):
    def __init__(self, weight=None):
        super(Inner, self).__init__()
        self.weight = weight if weight is not None else torch.nn.Parameter(ramp(2, 2))
        self.register_buffer('steps', torch.arange(3))

    def forward(self, x):
        return torch.matmul(x, self.weight)


class Net(torch.nn.Module):
    """What a module can hold: submodules, one of them under two names, tied weights, lists, typed dictionaries,
    views."""

    def __init__(self):
        super(Net, self).__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 2, bias=False))
        self.inner = Inner()
        self.tied = Inner(self.inner.weight)
        self.again = self.layers[0]
        self.base = ramp(4, 6)
        self.view = self.base[1:3, ::2]
        self.listed = [ramp(2), ramp(3)]
        self.named = {'a': ramp(1), 'b': ramp(2)}
        self.numbers = {'one': 1}
        self.halves = ramp(3).half()
        self.empty = torch.empty(0, 2)

    def forward(self, x):
        return self.again(self.tied(self.inner(self.layers(x)))[:, :2]).sum() + self.listed[0].sum()


def attributes(module, *names):
    """The tensors of a loaded module by their paths: its state_dict, and attributes that are in none."""
    out = dict(module.state_dict(keep_vars=True))
    out.update((n, getattr(module, n)) for n in names)
    return out


def constants(module):
    """The tensors of constants.pkl, in its order."""
    return tuple(t for _, t in sorted(module.code_with_constants[1].const_mapping.items(), key=lambda e: int(e[0][1:])))


def plain(value):
    return {str(k): plain(v) for k, v in value.items()} if isinstance(value, dict) else value


NET = ('base', 'view', 'listed', 'named', 'halves', 'empty')


def net_in(path):
    loaded = torch.jit.load(path)
    out = plain(attributes(loaded, *NET))
    out.update({'again.' + k: v for k, v in loaded.again.state_dict(keep_vars=True).items()})
    return out


def neutral():
    """Skips a file whose records would name folders of this machine."""
    if not HERE.startswith('/src/') or not torch.__file__.startswith(('/usr/', '/opt/')):
        raise Skip('its debug records would name %s and %s' % (HERE, os.path.dirname(torch.__file__)))


@file('scripted.pt', weights='')
def scripted(path):
    """torch.jit.script: submodules, tied weights, one module under two names, lists, dictionaries, views"""
    neutral()
    torch.jit.script(Net().eval()).save(path)
    return net_in(path)


@file('lite.ptl', weights='')
def lite(path):
    """the same for the lite interpreter"""
    neutral()
    torch.jit.script(Net().eval())._save_for_lite_interpreter(path)
    return net_in(path)


@file('script_rnn.pt', weights='', selected=[])
def script_rnn(path):
    """an RNN, which keeps its weights in a list too, buffers of either kind, and tensors that are plain attributes"""
    neutral()
    class Recurrent(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.plain = ramp(2)
            self.register_buffer('cache', ramp(1), persistent=False)
            self.rnn = torch.nn.LSTM(2, 3)
            self.norm = torch.nn.BatchNorm1d(3)
            self.scale = torch.nn.Parameter(ramp(1))
            self.fixed = torch.nn.Parameter(ramp(1), requires_grad=False)
            self.fc = torch.nn.Linear(3, 2, bias=False)

        def forward(self, x):
            return self.fc(self.norm(self.rnn(x)[0])) * self.scale + self.plain + self.cache + self.fixed
    torch.jit.script(Recurrent().eval()).save(path)
    return dict(torch.jit.load(path).state_dict(keep_vars=True))


@file('traced.pt', weights='module')
def traced(path):
    """torch.jit.trace of a module whose forward has constants"""
    neutral()
    class Traced(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = torch.nn.Linear(3, 2)
            self.outside = ramp(2)

        def forward(self, x):
            return self.fc(x) * torch.tensor([3.0, 4.0]) + torch.tensor([[1, 2]])
    torch.jit.trace(Traced(), torch.zeros(1, 3)).save(path)
    loaded = torch.jit.load(path)
    return {'module': attributes(loaded), 'constants': constants(loaded)}


@file('frozen.pt', weights='')
def frozen(path):
    """torch.jit.freeze: every weight is a constant"""
    neutral()
    torch.jit.freeze(torch.jit.script(Net().eval())).save(path)
    return {'constants': constants(torch.jit.load(path))}


@file('script_dtypes.pt', weights='')
def script_dtypes(path):
    """a buffer of every dtype: storage classes that exist in C++ only"""
    names = ('float16 float32 float64 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool complex32 '
             'complex64 complex128 float8_e5m2 float8_e4m3fn float8_e5m2fnuz float8_e4m3fnuz float8_e8m0fnu').split()
    module = torch.nn.Module()
    for name in names:
        if not hasattr(torch, name):
            continue
        dtype = getattr(torch, name)
        size = torch.empty(0, dtype=dtype).element_size()
        raw = torch.tensor([(7 * i + 3) % 120 for i in range(6 * size)], dtype=torch.uint8)
        module.register_buffer('as_' + name,
                               torch.tensor([True, False, True]) if dtype is torch.bool else raw.view(dtype))
    torch.jit.script(module).save(path)
    return attributes(torch.jit.load(path))


@file('script_bits.pt', weights='')
def script_bits(path):
    """conj and neg bits, whose metadata restore_type_tag wraps"""
    module = torch.nn.Module()
    z = torch.complex(ramp(3, 4), ramp(3, 4).flip(0))
    module.register_buffer('plain', z)
    module.register_buffer('conj', z.clone().conj())
    module.register_buffer('neg', z.clone().conj().imag[1:])
    torch.jit.script(module).save(path)
    loaded = torch.jit.load(path)
    if not loaded.conj.is_conj():
        raise Skip('this torch drops the bits')
    return attributes(loaded)


@file('script_sparse.pt', weights='', named_only=True)
def script_sparse(path):
    """sparse tensors as buffers: C++ writes other arguments than Python"""
    dense = torch.tensor([[0., 1., 0., 2.], [0., 0., 3., 0.], [4., 0., 0., 0.], [0., 0., 0., 5.]])
    module = torch.nn.Module()
    module.register_buffer('coo', dense.to_sparse().coalesce())
    module.register_buffer('csr', dense.to_sparse_csr())
    module.register_buffer('dense', dense)
    torch.jit.script(module).save(path)
    return attributes(torch.jit.load(path))


@file('script_quantized.pt', weights='', named_only=True)
def script_quantized(path):
    """quantised tensors as buffers"""
    module = torch.nn.Module()
    x = ramp(4, 4)
    module.register_buffer('tensor', torch.quantize_per_tensor(x, 0.1, 10, torch.quint8))
    module.register_buffer('channel', torch.quantize_per_channel(x, torch.full((4,), .25, dtype=torch.float64),
                                                                 torch.zeros(4, dtype=torch.int64), 0, torch.qint8))
    module.register_buffer('dense', x)
    torch.jit.script(module).save(path)
    return attributes(torch.jit.load(path))


# --- torch.package --------------------------------------------------------------------------------------------------

@file('package.pt')
def package(path):
    """torch.package: two pickles that share a storage, beside text, source and bytes that begin as a pickle does"""
    weights = {'w': ramp(2, 3), 'row': None, 'n': 3}
    weights['row'] = weights['w'][1]
    with torch.package.PackageExporter(path) as e:
        e.save_pickle('model', 'weights.pkl', weights)
        e.save_pickle('model', 'extra', [weights['w'], torch.arange(4)])
        e.save_text('model', 'notes.txt', 'notes')
        e.save_binary('model', 'blob.bin', b'\x80\x03zz')
        e.save_source_string('model.code', 'x = 1\n')
    read = torch.package.PackageImporter(path)
    first, second = read.load_pickle('model', 'weights.pkl'), read.load_pickle('model', 'extra')
    assert torch.equal(first['w'], second[0])
    second[0] = first['w']  # one storage in the file; torch reads it for each pickle
    return {'model/weights.pkl': first, 'model/extra': second}


@file('package_module.pt', weights='res\\/m.pkl')
def package_module(path):
    """torch.package of a whole module of torch's own classes"""
    with torch.package.PackageExporter(path) as e:
        e.extern('torch.**')
        e.extern('collections')
        e.save_pickle('res', 'm.pkl', torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2)))
    return {'res/m.pkl': torch.package.PackageImporter(path).load_pickle('res', 'm.pkl')}


@file('package_scripts.pt', weights='model\\/weights.pkl', selected=['model/weights.pkl'])
def package_scripts(path):
    """torch.package of a dictionary with two modules of TorchScript, one of them under two keys"""
    neutral()
    torch.package.package_exporter._gate_torchscript_serialization = False
    first, second = torch.jit.script(torch.nn.Linear(3, 2)), torch.jit.script(torch.nn.GRU(1, 1))
    with torch.package.PackageExporter(path) as e:
        e.save_pickle('model', 'weights.pkl', {'w': ramp(2), 'first': first, 'rest': [second, first]})
    return torch.package.PackageImporter(path).load_pickle('model', 'weights.pkl')


# --- PT2 ------------------------------------------------------------------------------------------------------------

class Exported(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a = torch.nn.Linear(3, 3)
        self.b = torch.nn.Linear(3, 3, bias=False)
        self.b.weight = self.a.weight
        self.register_buffer('kept', ramp(2))
        self.register_buffer('dropped', ramp(2), persistent=False)
        self.register_buffer('halves', ramp(4).half()[1:])

    def forward(self, x):
        return (self.b(self.a(x)) + torch.tensor([1.0, 2.0, 3.0]) + self.kept.sum() + self.dropped.sum() +
                self.halves.sum())


class Plain(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(2, 2)

    def forward(self, x):
        return self.fc(x)


def export(module, *inputs):
    if not hasattr(torch, 'export'):
        raise Skip('no torch.export')
    program = torch.export.export(module, inputs)
    for node in program.graph.nodes:
        node.meta.pop('stack_trace', None)  # the paths of this machine
    return program


@file('tied.pt2', weights='weights')
def tied(path):
    """torch.export.save: tied weights, a buffer that is not persistent, a lifted constant, a view"""
    torch.export.save(export(Exported(), torch.zeros(1, 3)), path)
    loaded = torch.export.load(path)
    return {'weights': dict(loaded.state_dict), 'constants': dict(loaded.constants)}


@file('plain.pt2', weights='')
def plain_pt2(path):
    """torch.export.save of a module without constants"""
    torch.export.save(export(Plain(), torch.zeros(1, 2)), path)
    return dict(torch.export.load(path).state_dict)


@file('two.pt2')
def two(path):
    """two models in one PT2 archive"""
    programs = {'first': export(Plain(), torch.zeros(1, 2)), 'second': export(Plain(), torch.zeros(1, 2))}
    torch.export.pt2_archive._package.package_pt2(path, exported_programs=programs)
    loaded = torch.export.pt2_archive._package.load_pt2(path).exported_programs
    return {name: dict(program.state_dict) for name, program in loaded.items()}


@file('before_2_8.pt2', weights='weights',
      oracle_from='the layout of torch 2.1 to 2.7 (torch/export/__init__.py), packed by hand')
def before_2_8(path):
    """torch.export.save of torch 2.1 to 2.7: whole files of torch.save in a zip of Python's"""
    import io
    if not hasattr(torch, 'export'):
        raise Skip('no torch.export')

    def saved(value):
        out = io.BytesIO()
        torch.save(value, out)
        return out.getvalue()
    weights, others = {'fc.weight': ramp(2, 3), 'fc.bias': ramp(2)}, {'lifted': ramp(3)}
    with zipfile.ZipFile(path, 'w') as z:
        z.writestr('serialized_exported_program.json', '{}')
        z.writestr('serialized_state_dict.pt', saved(weights))
        z.writestr('serialized_constants.pt', saved(others))
        z.writestr('serialized_example_inputs.pt', saved(((torch.zeros(1, 3),), {})))
        z.writestr('version', '8.2')
    return {'weights': weights, 'constants': others}


# --- packed again, and tars -----------------------------------------------------------------------------------------

def deflate(source, path):
    with zipfile.ZipFile(source) as read, zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as out:
        for i in read.infolist():
            out.writestr(zipfile.ZipInfo(i.filename, (2024, 1, 2, 3, 4, 6)), read.read(i), zipfile.ZIP_DEFLATED)
    os.remove(source)


for original in (scripted, frozen, package_module, tied, before_2_8):
    def deflated(path, original=original):
        expected_object = original(path + '.stored')
        deflate(path + '.stored', path)
        return expected_object
    deflated.__doc__ = 'every record deflated: ' + original.__doc__
    stem, suffix = next(f.name for f in FILES if f.make is original).split('.')
    told = next(f.oracle for f in FILES if f.make is original)
    file('%s_deflated.%s' % (stem, suffix), **told)(deflated)


def add(tar, name, data):
    import io
    member = tarfile.TarInfo(name)
    member.size, member.mtime = len(data), 1700000000
    tar.addfile(member, io.BytesIO(data))


def saved(value, **options):
    import io
    out = io.BytesIO()
    torch.save(value, out, **options)
    return out.getvalue()


def weights():
    return {'encoder.weight': ramp(4, 3), 'encoder.bias': ramp(4), 'steps': torch.arange(3)}


@file('model.nemo', weights='')
def nemo(path):
    """a tar as NeMo writes it: configuration, tokenizer, and one checkpoint"""
    with tarfile.open(path, 'w:') as tar:
        add(tar, './model_config.yaml', b'target: model\n')
        add(tar, './model_weights.ckpt', saved(weights()))
        add(tar, './tokenizer.model', bytes(range(200)))
    return weights()


@file('tensor_parallel.nemo', or_exit=[4])
def tensor_parallel(path):
    """a tar as NeMo writes it of a model split over two ranks: two checkpoints"""
    with tarfile.open(path, 'w:') as tar:
        add(tar, './model_config.yaml', b'target: model\n')
        for rank in range(2):
            add(tar, './mp_rank_%02d/model_weights.ckpt' % rank, saved(weights()))
    return None


# ----------------------------------------------------------------------------------------------------------------------

def write(entry):
    os.makedirs(OUT, exist_ok=True)
    path = os.path.join(OUT, entry.name)
    torch.manual_seed(7)
    obj = Skip
    try:
        obj = entry.make(path)
    except Skip as e:
        print('skipped %s: %s' % (entry.name, e))
    except Exception as e:
        print('skipped %s: cannot be written: %s: %s' % (entry.name, type(e).__name__, str(e)[:100]))
    if obj is Skip:
        for left in (path, path + '.stored'):
            if os.path.exists(left):
                os.remove(left)
        return
    oracle(path, obj, (entry.make.__doc__ or '').strip(), **entry.oracle)


def oracle(path, obj, shows, **more):
    sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'torch'))
    import expected
    document = {'made_by': MADE_BY, 'shows': shows, 'oracle_from': 'loaded by torch', 'file': os.path.basename(path)}
    document.update(more)
    document.update({
                'tensors': expected.rows(obj) if obj is not None else [], 'values': {}})
    with open(path + '.json', 'w') as f:
        f.write('{\n')
        for i, (key, value) in enumerate(document.items()):
            text = ('[\n  %s\n ]' % ',\n  '.join(json.dumps(r) for r in value) if key == 'tensors' and value
                    else json.dumps(value))
            f.write(' %s: %s%s\n' % (json.dumps(key), text, ',' if i + 1 < len(document) else ''))
        f.write('}\n')
    print('%-28s %6d  %d rows' % (os.path.basename(path), os.path.getsize(path), len(document['tensors'])))


def old():
    """Under torch 1.0 to 1.3, whose archives model.json describes."""
    class Part(torch.jit.ScriptModule):
        def __init__(self, weight):
            super(Part, self).__init__()
            self.weight = weight
            self.register_buffer('steps', torch.arange(3))

        @torch.jit.script_method
        def forward(self, x):
            return torch.matmul(x, self.weight)

    class Model(torch.jit.ScriptModule):
        def __init__(self):
            super(Model, self).__init__()
            weight = torch.nn.Parameter(ramp(2, 2))
            self.first = Part(weight)
            self.second = Part(weight)
            self.register_buffer('halves', ramp(4).half())
            self.register_buffer('view', ramp(2, 3)[:, 1:])
            if VERSION != '1.0':
                from typing import Dict
                self.named = torch.jit.Attribute({'x': ramp(2)}, Dict[str, torch.Tensor])

        @torch.jit.script_method
        def forward(self, x):
            return self.first(self.second(x)) + self.view.sum()
    if not os.path.isdir(OUT):
        os.makedirs(OUT)
    model = Model()
    model.save(os.path.join(OUT, 'script_model.pt'))
    loaded = torch.jit.load(os.path.join(OUT, 'script_model.pt')).state_dict()
    assert (sorted(loaded) == sorted(model.state_dict())
            and all((loaded[k] == v).all() for k, v in model.state_dict().items() if k != 'halves'))


def old_oracles():
    """Of the object that old() saves: what it loads again is compared there."""
    weight = torch.nn.Parameter(ramp(2, 2))
    for folder in sorted(os.listdir(os.path.join(HERE, 'archives'))):
        path = os.path.join(HERE, 'archives', folder, 'script_model.pt')
        if not os.path.exists(path):
            continue
        obj = {'first.weight': weight, 'second.weight': weight, 'first.steps': torch.arange(3),
               'second.steps': torch.arange(3), 'halves': ramp(4).half(), 'view': ramp(2, 3)[:, 1:]}
        if folder != 'torch-1.0':
            obj['named'] = {'x': ramp(2)}
        MADE_BY['torch'] = folder[6:]
        layout = ('data.pkl, with storage ids as legacy files have them' if folder == 'torch-1.3'
                  else 'model.json describes the module')
        oracle(path, obj, 'TorchScript of torch %s: %s' % (folder[6:], layout), weights='',
               oracle_from='the saved object: no later torch reads the file')


def main(names):
    if names == ['--old']:
        return old()
    if names == ['--old-oracle']:
        return old_oracles()
    for entry in FILES:
        if not names or entry.name in names:
            write(entry)


if __name__ == '__main__':
    main(sys.argv[1:])
