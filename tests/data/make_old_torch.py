#!/usr/bin/env python
"""Writes tests/data/torch-old: what torch wrote before the zip format, and an oracle beside each file.

    python tests/data/make_old_torch.py write      the files of an old torch: run with Python 2.7 and torch 1.4, and
                                                   with Python 3.7 and torch 1.0
    python tests/data/make_old_torch.py tar        the files of torch 0.1, of which no program runs any more: the bytes
                                                   that its writer of 2017 (torch/serialization.py, _save, with the tar
                                                   members sys_info, pickle, tensors, storages) gave, replayed
    python tests/data/make_old_torch.py oracles    what torch says of them: run with torch 2.13
"""
import collections
import io
import os
import pickle
import struct
import sys
import tarfile

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, 'torch-old')
SHOWS = {
    'legacy_1.0_py3.pt': 'torch 1.0, Python 3.7: a training checkpoint in the stream format, views and shared storages',
    'legacy_1.4_py2.pt': 'torch 1.4, Python 2.7: the same; names are Python 2 strings',
    'legacy_two_1.0_py3.pt': 'torch 1.0, Python 3.7: two checkpoints one after another in one file',
    'plain_pickle_1.4_py2.pkl': 'torch 1.4, Python 2.7: pickle.dump of a dictionary of tensors',
    'tar_0.1_py3.pt':
        'torch 0.1 (replayed), protocol 2: a dictionary of tensors of several types, views, an empty tensor',
    'tar_0.1_py2.pt': 'torch 0.1 (replayed), protocol 0: persistent ids as text',
    'tar_0.1_first.pt': 'torch 0.1 (replayed), the first form: no locations, no views',
}


def write():
    import torch
    name = '%s_py%d' % ('.'.join(torch.__version__.split('.')[:2]), sys.version_info[0])
    torch.manual_seed(7)
    model = torch.nn.Sequential(collections.OrderedDict([('fc', torch.nn.Linear(3, 2)),
                                                         ('bn', torch.nn.BatchNorm1d(2))]))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.randn(4, 3)).pow(2).sum().backward()
        optimizer.step()
    base = torch.arange(12, dtype=torch.float32)
    saved = {'epoch': 3, 'model': model.state_dict(), 'optimizer': optimizer.state_dict(),
             'views': [base[2:5], base.view(3, 4).t(), base[::2], torch.tensor(2.5), torch.empty(0, 3)],
             'ints': [torch.arange(4, dtype=t)
                      for t in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)],
             'halves': torch.tensor([0.5, -1.5]).half(), 'parameter': model.fc.bias}
    torch.save(saved, os.path.join(OUT, 'legacy_%s.pt' % name))
    if sys.version_info[0] == 2:
        with open(os.path.join(OUT, 'plain_pickle_%s.pkl' % name), 'wb') as f:
            pickle.dump({'w': base.view(3, 4), 'n': torch.arange(3)}, f, 2)
        return
    with open(os.path.join(OUT, 'legacy_two_%s.pt' % name), 'wb') as f:
        torch.save({'first': base[:4].clone()}, f)
        torch.save({'second': base[4:].clone()}, f)


class FakeStorage(object):
    def __init__(self, key, kind, data, numel):
        self.key, self.kind, self.data, self.numel = key, kind, data, numel


class FakeTensor(object):
    def __init__(self, key, storage, size, stride, offset):
        self.key, self.storage, self.size, self.stride, self.offset = key, storage, size, stride, offset


class Writer(getattr(pickle, '_Pickler', pickle.Pickler)):
    """The pickler of that writer: tensors and storages are persistent ids of their keys, and classes by name."""

    def persistent_id(self, obj):
        return str(obj.key) if isinstance(obj, (FakeTensor, FakeStorage)) else None


class Name(object):
    """A class of torch 0.1 that a pickle names."""

    def __init__(self, module, name):
        self.module, self.name = module, name

    def __reduce__(self):
        raise TypeError


def dump(value, f, protocol):
    class WithNames(Writer):
        dispatch = dict(Writer.dispatch)

        def save_name(self, obj):
            self.write(b'c' + obj.module.encode() + b'\n' + obj.name.encode() + b'\n')
            self.memoize(obj)
        dispatch[Name] = save_name
    WithNames(f, protocol).dump(value)


def tar(path, root, tensors, storages, views, protocol, first_form=False):
    def member(write_it, archive, name):
        f = io.BytesIO()
        write_it(f)
        info = tarfile.TarInfo(name)
        info.size = len(f.getvalue())
        archive.addfile(info, io.BytesIO(f.getvalue()))

    def write_tensors(f):
        dump(len(tensors), f, protocol)
        for t in tensors:
            kind = Name('torch', (t.storage.kind if t.storage else 'Float') + 'Tensor')
            storage = t.storage.key if t.storage else None
            dump((t.key, kind, storage) if first_form else (t.key, storage, kind), f, protocol)
            f.write(struct.pack('<i', len(t.size)) + b'\x7f\x00\x00\x01')
            f.write(struct.pack('<%dq' % len(t.size), *t.size) + struct.pack('<%dq' % len(t.size), *t.stride))
            f.write(struct.pack('<q', t.offset))

    def write_storages(f):
        dump(len(storages), f, protocol)
        for s in storages:
            kind = Name('torch', s.kind + 'Storage')
            dump((s.key, kind) if first_form else (s.key, 'cpu', kind), f, protocol)
            f.write(struct.pack('<q', s.numel) + s.data)
        if not first_form:
            dump(views, f, protocol)
    with tarfile.open(path, mode='w:', format=tarfile.PAX_FORMAT) as archive:
        system = {'protocol_version': 1000, 'little_endian': True, 'type_sizes': {'short': 2, 'int': 4, 'long': 4}}
        member(lambda f: dump(system, f, protocol), archive, 'sys_info')
        member(lambda f: dump(root, f, protocol), archive, 'pickle')
        member(write_tensors, archive, 'tensors')
        member(write_storages, archive, 'storages')


def write_tars():
    floats = FakeStorage(94000000000016, 'Float', struct.pack('<12f', *(i * 0.25 - 1 for i in range(12))), 12)
    longs = FakeStorage(94000000000032, 'Long', struct.pack('<3q', 1, -2, 1 << 40), 3)
    part = FakeStorage(94000000000048, 'Float', None, 4)
    weight = FakeTensor(94000000000064, floats, (3, 4), (4, 1), 0)
    turned = FakeTensor(94000000000080, floats, (4, 2), (1, 4), 4)
    counts = FakeTensor(94000000000096, longs, (3,), (1,), 0)
    of_part = FakeTensor(94000000000112, part, (2, 2), (2, 1), 0)
    root = collections.OrderedDict([('fc.weight', weight), ('fc.turned', turned), ('counts', counts)])
    tar(os.path.join(OUT, 'tar_0.1_first.pt'), root, [weight, turned, counts], [floats, longs], [], 2, True)
    root['part'] = of_part
    tensors, views = [weight, turned, counts, of_part], [(part.key, floats.key, 6, 4)]
    for name, protocol in (('py3', 2), ('py2', 0)):
        tar(os.path.join(OUT, 'tar_0.1_%s.pt' % name), {'model': root, 'storage': longs}, tensors, [floats, longs],
            views, protocol)


def oracles():
    sys.path.insert(0, os.path.join(os.path.dirname(HERE), 'torch'))
    import torch
    import numpy as np
    import expected
    for name, shows in sorted(SHOWS.items()):
        path = os.path.join(OUT, name)
        document = {'made_by': {'script': 'tests/data/make_old_torch.py', 'torch': torch.__version__,
                                'numpy': np.__version__, 'python': sys.version.split()[0]},
                    'shows': shows, 'oracle_from': 'loaded by torch'}
        if name == 'tar_0.1_first.pt':  # torch does not read its first form: the tensors are those of the later one
            later = torch.load(os.path.join(OUT, 'tar_0.1_py3.pt'), weights_only=False)['model']
            seen = collections.OrderedDict((k, v) for k, v in later.items() if k != 'part')
            document['oracle_from'] = 'the same tensors in the later form, which torch reads'
        elif name.endswith('.pkl'):
            with open(path, 'rb') as f:  # the names are bytes to Python 3
                seen = {k.decode(): v for k, v in pickle.load(f, encoding='bytes').items()}
        else:
            seen = torch.load(path, weights_only=False)
        document.update(expected.describe(seen, 2))
        with open(os.path.splitext(path)[0] + '.json', 'w') as f:
            f.write(expected.dumps(document))
        print(name, os.path.getsize(path))


if __name__ == '__main__':
    if not os.path.isdir(OUT):
        os.makedirs(OUT)
    {'write': write, 'tar': write_tars, 'oracles': oracles}[sys.argv[1]]()
