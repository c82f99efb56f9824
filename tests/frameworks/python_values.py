#!/usr/bin/env python3
"""Saves values of Python's standard library, numpy, torch and omegaconf beside a small state_dict, as settings and
random states stand in checkpoints, under the pickle protocols 2, 4 and 5 in tests/data/frameworks/values.

    pip install torch==2.13.0 numpy==2.4.6 omegaconf==2.4.0
    python tests/frameworks/python_values.py
"""
import argparse
import collections
import datetime
import decimal
import enum
import fractions
import functools
import io
import pathlib
import random
import re
import sys
import types
import uuid
import zoneinfo

import numpy
import omegaconf
import torch

import keep
import tiny


def records():
    named = collections.OrderedDict(a=1)
    named.note = 'an attribute of the dictionary'
    return {
        'namespace': argparse.Namespace(lr=0.1, betas=(0.9, 0.999), inner=argparse.Namespace(depth=2)),
        'simple': types.SimpleNamespace(name='run', inner=types.SimpleNamespace(items=[1, 2])),
        'enums': [uuid.SafeUUID.unsafe, enum.FlagBoundary.STRICT],
        'flags': [re.IGNORECASE | re.MULTILINE, re.RegexFlag(0)],
        'paths': [pathlib.PurePosixPath('data/train'), pathlib.PurePosixPath('/data/train'),
                  pathlib.PureWindowsPath('C:\\data\\train'), pathlib.PosixPath('data'), pathlib.PurePosixPath()],
        'times': [datetime.datetime(2024, 2, 29, 12, 30, 15, 250000),
                  datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone.utc),
                  datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone(datetime.timedelta(hours=-3), 'there')),
                  datetime.datetime(2024, 2, 29, fold=1, tzinfo=zoneinfo.ZoneInfo('Europe/Paris')),
                  datetime.date(2024, 2, 29), datetime.time(23, 59, 59),
                  datetime.timedelta(days=-1, seconds=3, microseconds=7)],
        'numbers': [decimal.Decimal('-1.50E+3'), decimal.Decimal('NaN'), fractions.Fraction(-1, 3), 1 - 2j, 2 ** 70],
        'uuid': uuid.UUID(int=2 ** 127 + 5),
        'namedtuple': decimal.Decimal('1.25').as_tuple(),
        'errors': [ValueError('text', 3), KeyError('key'), OSError('disk full'), RuntimeWarning()],
        'pattern': re.compile(r'layers\.(\d+)', re.IGNORECASE),
        'bytes_io': io.BytesIO(b'content'),
        'partials': [functools.partial(int, base=2), functools.partial(torch.add, alpha=2),
                     functools.partial(max, 1, 2)],
        'ordered': named,
    }


def containers():
    inner = []
    inner.append(inner)
    outer = {'items': [inner]}
    outer['self'] = outer
    return {
        'range': range(2, 10, 3), 'slice': slice(None, 5, 2), 'deque': collections.deque([1, 2], maxlen=5),
        'counter': collections.Counter('abca'), 'lists': collections.defaultdict(list, a=[1]),
        'ints': collections.defaultdict(int, b=2), 'set': {1, 'a', None}, 'frozenset': frozenset([1, (2, 3)]),
        'bytes': b'\x00\xff', 'bytearray': bytearray(b'abc'), 'nested': ((1, [2, {3: (4,)}]), ()), 'cycles': outer,
        'keys': {None: 0, True: 1, 1.5: 2, (1, 'a'): 3, b'x': 4, frozenset([1]): 5, -7: 6, 'text': 7, int: 8,
                 collections.OrderedDict: 9, len: 10, numpy.float64: 11, torch.nn.functional.relu: 12},
    }


def objects_of_libraries():
    structured = numpy.array([(1, 2.5)], dtype=[('a', 'i4'), ('b', 'f8')])
    simple = '?bhiqBHIQefdFD'
    return {
        'size': torch.Size([2, 3]), 'dtypes': [torch.float32, torch.bfloat16, torch.float8_e4m3fn],
        'device': torch.device('cuda:1'), 'layout': torch.strided,
        'scalars': [numpy.dtype(c).type(1) for c in simple],
        'odd_scalars': [numpy.datetime64('2024-02-29'), numpy.timedelta64(3, 's'), numpy.str_('text'),
                        numpy.bytes_(b'text'), numpy.longdouble(1)],
        'arrays': [numpy.array([0, 1], dtype=c) for c in simple],
        'array_orders': [numpy.arange(6).reshape(2, 3).T, numpy.arange(4, dtype='>f4'), numpy.zeros((0, 2)),
                         numpy.array(3.5)],
        'odd_arrays': [structured, structured[0], numpy.array([None, 'a'], dtype=object), numpy.array(['ab', 'c']),
                       numpy.array([b'ab']), numpy.array(['2024-02-29'], dtype='datetime64[s]'),
                       numpy.array([1], dtype=numpy.longdouble)],
        'numpy_dtypes': [numpy.dtype('f4'), structured.dtype],
        'classes': [int, collections.OrderedDict, torch.nn.Linear, numpy.float64, type(None)],
        'functions': [torch.relu, torch.nn.functional.relu, len],
        'random': {'python': random.getstate(), 'numpy': numpy.random.get_state(), 'torch': torch.get_rng_state()},
        'generators': [numpy.random.default_rng(7), torch.Generator().manual_seed(7)],
    }


def settings():
    return omegaconf.OmegaConf.create({
        'lr': 0.1, 'name': 'run_${lr}', 'missing': '???', 'none': None, 'layers': [1, {'width': 4}],
        'path': pathlib.Path('data'), 'optimizer': {'betas': [0.9, 0.999], 'lr': '${lr}'}})


def main():
    random.seed(7)
    numpy.random.seed(7)
    torch.manual_seed(7)
    config = settings()
    values = {'state_dict': torch.nn.Linear(2, 2).state_dict(), 'records': records(), 'containers': containers(),
              'objects': objects_of_libraries(), 'config': config, 'layers': config.layers}
    with tiny.empty_folder():
        for protocol in (2, 4, 5):
            name = 'values_p%d.pt' % protocol
            torch.save(values, name, pickle_protocol=protocol)
            keep.keep_file(name, 'values', name, 'python %d.%d' % sys.version_info[:2],
                           'values of the standard library, numpy, torch and omegaconf', weights='state_dict',
                           protocol=protocol)


if __name__ == '__main__':
    main()
