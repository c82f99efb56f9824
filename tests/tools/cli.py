#!/usr/bin/env python3
"""Checks what the program `ckpt` prints and with which exit code it ends.

    python tests/tools/cli.py --ckpt PROGRAM

Files are written here, pickle by pickle, or come from tests/data. Standard library only. The last line is
`N passed, N failed`; the exit code is 1 when something failed.
"""
import argparse
import base64
import gzip
import io
import json
import math
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from harness import on_terminal  # noqa: E402

DATA = os.path.join(os.path.dirname(HERE), 'data')
MLP = os.path.join(DATA, 'demo', 'mlp.pt')

passed = failed = skipped = 0
program = ''
folder = ''


def check(name, ok, detail=''):
    global passed, failed
    if ok:
        passed += 1
    else:
        failed += 1
        print('FAILED: ' + name)
        if detail:
            print('    ' + str(detail)[:600])


def ckpt(*args, env=None, timeout=30):
    done = subprocess.run([program, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          timeout=timeout, env={**os.environ, **(env or {})})
    return done.returncode, done.stdout.decode('utf-8'), done.stderr.decode('utf-8')


def terminal(name, *args, env=None):
    """What a command prints on a terminal; None, and one more skipped, where there can be none."""
    global skipped
    out = on_terminal([program, *args], stderr=subprocess.DEVNULL, env=env or {})
    if out is None:
        skipped += 1
        print('skipped: %s: there is no pseudo-terminal' % name)
    return out


def document(name, code, *args):
    """The JSON document of a command that must end with `code`, on one document and nothing else."""
    got, out, err = ckpt(*args, '--json')
    try:
        parsed = json.loads(out)
    except ValueError as e:
        check(name, False, 'exit %d, %s: %s %s' % (got, e, out[:200], err[:200]))
        return {}
    check(name, got == code and err == '', 'exit %d, should be %d; %s%s' % (got, code, out[:300], err[:200]))
    return parsed


def equal(name, got, want):
    check(name, got == want and repr(got) == repr(want), 'got  %r\n    want %r' % (got, want))


# --- files ------------------------------------------------------------------------------------------------------------

def save(name, data, records=()):
    """A zip checkpoint with this pickle and these records of data/."""
    path = os.path.join(folder, name)
    with zipfile.ZipFile(path, 'w') as z:
        z.writestr('archive/data.pkl', data)
        z.writestr('archive/byteorder', 'little')
        for key, content in records:
            z.writestr('archive/data/' + key, content)
        z.writestr('archive/version', '3\n')
    return path


def text(s):
    raw = s.encode('utf-8', 'surrogatepass')
    return b'X' + struct.pack('<I', len(raw)) + raw


def number(n):
    return b'J' + struct.pack('<i', n)


def tensor(key, numel, shape, offset=0, stride=None):
    """torch._utils._rebuild_tensor_v2 over a FloatStorage."""
    if stride is None:
        stride, step = [], 1
        for n in reversed(shape):
            stride.insert(0, step)
            step *= n
    tup = lambda xs: b'(' + b''.join(number(x) for x in xs) + b't'
    return (b'ctorch._utils\n_rebuild_tensor_v2\n((' + text('storage') + b'ctorch\nFloatStorage\n' + text(key) +
            text('cpu') +
            number(numel) + b'tQ' + number(offset) + tup(shape) + tup(stride) + b'\x89ccollections\nOrderedDict\n)RtR')


def dictionary(entries):
    return b'}(' + b''.join((text(k) if isinstance(k, str) else k) + v for k, v in entries) + b'u'


def floats(n):
    return struct.pack('<%df' % n, *range(n))


PROTO = b'\x80\x02'


# --- usage ------------------------------------------------------------------------------------------------------------

def usage():
    for flag in ('--help', '-h', '--version'):
        code, out, err = ckpt(flag)
        check(flag, code == 0 and out and not err, (code, out, err))
    for name in ('info', 'ls', 'show', 'globals', 'verify', 'diff', 'map'):
        code, out, _ = ckpt(name, '--help')
        check(name + ' --help', code == 0 and ('FILE' in out or 'A B' in out), (code, out))
    for args in ((), ('ls',), ('ls', '--frobnicate', MLP), ('ls', MLP, '{i:'), ('ls', MLP, '--policy', 'lax'),
                 ('show', '-'), ('globals', MLP, '-'),
                 ('diff', MLP), ('diff', MLP, '-'), ('diff', MLP, MLP, '--select-a', '[1'),
                 ('map', MLP), ('map', MLP, '--suggest'), ('map', MLP, '--rules', '-'), ('map', MLP, '--rules', ''),
                 ('map', MLP, '--suggest', '--target', '-'), ('map', MLP, '--suggest', '--target', MLP, '--rules', MLP),
                 ('map', MLP, '--suggest', '--target', MLP, '--explain', 'x'),
                 ('map', MLP, '--rules', MLP, '--select-target', 'x'), ('map', MLP, '--rules', MLP, '--select', '[1'),
                 ('ls', MLP, '--all', '--rules', MLP), ('ls', MLP, '--max-nodes', 'many'), ('show', MLP, '[1'),
                 ('show', MLP, '["a]'), ('show', MLP, '[1.5]'), ('sohw', MLP), ('ls', '')):
        code, out, err = ckpt(*args)
        check('wrong usage: %s' % (args,), code == 3 and not out and err.startswith('ckpt: ') and err.count('\n') == 1,
              (code, out, err))
    for args, advice in ((('ls', framework('lightning-2', 'swa.ckpt')), 'the one you mean: --select PATH'),
                         (('show', MLP, 'epoch', 'nothing at all like it'), 'ckpt show FILE')):
        code, out, err = ckpt(*args)
        check('hints name options of the program: ' + args[0], advice in err and 'state_dict(path)' not in err and
              'open_options' not in err and '::' not in err, (code, err))
    check('a mistyped command suggests one', '"show"' in ckpt('sohw', MLP)[2])
    check('wrong usage with --json is a document', document('usage --json', 3, 'ls')['error']['code'] == 'usage')
    check('a file alone is info', ckpt(MLP)[:2] == ckpt('info', MLP)[:2])
    code, out, err = ckpt(os.path.join(folder, 'absent.pt'))
    check('an absent file', code == 2 and not out and 'cannot_open' in err and err.count('\n') == 1, (code, out, err))
    check('it is named once', err.count('absent') == 1, err)
    check('an absent file, --json',
          document('absent', 2, 'show', os.path.join(folder, 'absent.pt'))['error']['number'] == 101)
    check('a folder without checkpoints', document('folder', 2, 'ls', folder)['error']['code'] == 'not_a_checkpoint')
    path = os.path.join(folder, 'cut_stream.pt')
    with open(os.path.join(DATA, 'torch-2.13', 'legacy.pt'), 'rb') as f, open(path, 'wb') as cut:
        cut.write(f.read()[:-1])
    several = os.path.join(folder, 'several.pt')
    with open(os.path.join(DATA, 'torch-2.13', 'legacy.pt'), 'rb') as f, open(several, 'wb') as both:
        both.write(2 * f.read())
    check('several checkpoints in a file', '  the first of 2 checkpoints in the file' in ckpt('info', several)[1],
          ckpt('info', several)[1])
    code, out, err = ckpt('info', path)
    check('a stream that was cut is named',
          code == 2 and not out and 'truncated (107)' in err and err.count('cut_stream.pt') == 1, (code, out, err))


# --- the demo ---------------------------------------------------------------------------------------------------------

def demo():
    ls = document('ls', 0, 'ls', MLP, '--digest')
    equal('ls: keys of the document', list(ls), ['schema', 'file', 'container', 'byte_order', 'selected', 'tensors'])
    equal('ls: what is chosen', (ls['schema'], ls['container'], ls['byte_order'], ls['selected']),
          ('ckpt.ls/1', 'zip', 'little', ['model']))
    first = ls['tensors'][0]
    equal('ls: keys of a row', list(first),
          ['key', 'path', 'dtype', 'shape', 'stride', 'layout', 'storage', 'storage_offset', 'file_offset', 'nbytes',
           'requires_grad', 'crc32'])
    equal('ls: a row', (first['key'], first['path'], first['shape'], first['storage']),
          ('fc1.weight', ['model', 'fc1.weight'], [10, 784], '0'))
    with open(MLP, 'rb') as f:
        raw = f.read()
    for row in ls['tensors']:
        there = raw[row['file_offset']:row['file_offset'] + row['nbytes']]
        equal('ls: the digest of ' + row['key'], row['crc32'], '%08x' % zlib.crc32(there))
    check('ls without --digest has none', 'crc32' not in document('ls', 0, 'ls', MLP)['tensors'][0])
    keys = [r['key'] for r in document('ls --all', 0, 'ls', MLP, '--all')['tensors']]
    equal('ls --all: keys', keys, ['model.fc1.weight', 'model.fc1.bias', 'optimizer.state.0.step',
                                   'optimizer.state.0.exp_avg', 'optimizer.state.0.exp_avg_sq'])
    part = document('ls --select', 0, 'ls', MLP, '--select', 'optimizer/state/0')
    equal('ls --select', (part['selected'], [r['key'] for r in part['tensors']], part['tensors'][0]['path']),
          (['optimizer', 'state', 0], ['step', 'exp_avg', 'exp_avg_sq'], ['optimizer', 'state', 0, 'step']))
    equal('ls --select by an array', document('ls --select', 0, 'ls', MLP, '--select', '["optimizer","state",0]'), part)
    wrong = document('ls --select of nothing', 1, 'ls', MLP, '--select', 'optimizer/stat')
    check('a wrong path names the nearest',
          'optimizer/state' in wrong['error']['message'] and wrong['error']['path'] == ['optimizer'], wrong)
    equal('ls --max-nodes', document('ls --max-nodes', 1, 'ls', MLP, '--all', '--max-nodes', '4')['error']['code'],
          'output_limit')
    equal('ls --policy weights', document('ls --policy', 1, 'ls', MLP, '--policy', 'weights')['error']['code'],
          'global_not_allowed')

    equal('show of a number', document('show', 0, 'show', MLP, 'epoch'), 3)
    equal('show of several', document('show', 0, 'show', MLP, 'epoch', 'optimizer/param_groups/0/lr', 'best_loss'),
          [3, 0.001, 0.25])
    equal('show of a tuple', document('show', 0, 'show', MLP, 'optimizer/param_groups/0/betas'),
          {'$tuple': [0.9, 0.999]})
    whole = document('show', 0, 'show', MLP)
    equal('show: the order of the file', list(whole), ['epoch', 'best_loss', 'model', 'optimizer'])
    equal('show: integer keys', [k for k, _ in whole['optimizer']['state']['$dict']], [0])
    equal('show: a tensor has the fields of ls', whole['model']['fc1.bias']['$tensor']['file_offset'],
          ls['tensors'][1]['file_offset'])
    equal('show of nothing there', document('show', 1, 'show', MLP, 'epoch', 'epoc')['error']['code'], 'path_missing')
    equal('show --max-nodes', document('show', 1, 'show', MLP, '--max-nodes', '10')['error']['code'], 'output_limit')

    info = document('info', 0, 'info', MLP)
    equal('info: keys', list(info),
          ['schema', 'file', 'container', 'writer', 'byte_order', 'candidates', 'dtypes', 'model', 'verdict'])
    equal('info: dtypes', info['dtypes'], {'float32': {'tensors': 5, 'nbytes': 31484}})
    equal('info: the best candidate', (info['candidates'][0]['path'], info['candidates'][0]['tensors']), (['model'], 2))
    equal('info: verdict', info['verdict'], 'clean')

    said = document('globals', 0, 'globals', MLP)['files'][0]
    equal('globals: clean', (said['verdict'], len(said['globals'])), ('clean', 6))
    equal('globals: a row', {k: v for k, v in said['globals'][0].items() if k != 'offset'},
          {'module': 'numpy._core.multiarray', 'name': 'scalar', 'count': 1, 'verdict': 'build', 'key': 'best_loss'})
    strict = document('globals --policy weights', 1, 'globals', MLP, '--policy', 'weights')['files'][0]
    equal('globals --policy weights', strict['verdict'], 'foreign')

    good = document('verify', 0, 'verify', MLP)
    equal('verify', (good['schema'], good['ok'], good['findings']), ('ckpt.verify/1', True, []))
    check('verify says what it does not do', 'were not judged: ckpt globals' in ckpt('verify', MLP)[1])
    check('verify checks all records', good['checked']['records'] == 11 and good['checked']['unchecked_crc'] == 0, good)


# --- values -----------------------------------------------------------------------------------------------------------

def outside():
    """Tensors that a state_dict has not: attributes of a module and of a tensor."""
    path = os.path.join(DATA, 'frameworks', 'modules', 'torch_module.pt')
    listed = document('ls of a module', 0, 'ls', path)
    everything = [r['key'] for r in document('ls --all of a module', 0, 'ls', path, '--all')['tensors']]
    keys = [r['key'] for r in listed['tensors']]
    beside = ['weight_normed.weight', 'spectral_normed.weight', 'plain', 'scratch', 'declared_scratch']
    equal('ls --all: what is outside the state_dict', [k for k in everything if k not in keys], beside)
    equal('ls: their number', listed['outside'], len(beside))
    equal('info: their number', document('info of a module', 0, 'info', path)['outside'], len(beside))
    check('ls says it', '5 tensors are outside the state_dict' in ckpt('ls', path)[1])
    check('ls --all does not', 'outside' not in ckpt('ls', path, '--all')[1])
    check('info says it', '5 tensors are attributes' in ckpt('info', path)[1])
    check('none, nothing said', 'outside' not in document('ls', 0, 'ls', MLP) and 'outside' not in ckpt('info', MLP)[1])


def counts():
    """`info` counts what PyTorch says: each element once, and the bytes that are stored, of wrapped tensors those
    of their parts."""
    for name, tied in (('modules/gpt2', 1), ('torchao-0.18/int8', 0), ('torchao-0.18/float8', 0),
                       ('torchao-0.18/int4_in_int8', 0)):
        path = os.path.join(DATA, 'frameworks', name)
        with open(path + '.json') as f:
            rows = json.load(f)['tensors']
        once = {(r.get('shares', r['key']), r.get('storage_offset')): r for r in rows}
        stored = sum(sum(p['nbytes'] for p in r.get('parts', [r])) for r in once.values())
        equal('info of ' + name, document('info', 0, 'info', path + '.pt')['model'],
              {'tensors': len(rows), 'parameters': sum(math.prod(r['shape']) for r in once.values()),
               'nbytes': sum(sum(p['nbytes'] for p in r.get('parts', [r])) for r in rows), 'stored': stored,
               'tied': tied})


def alike():
    """Keys of different types with one text."""
    half = b'G' + struct.pack('>d', 0.5)
    path = save('alike.pt',
                PROTO + dictionary([('d', dictionary([(number(1), text('int')), ('1', text('str')),
                                                      (half, text('half')), (b'N', text('none'))]))]) + b'.')
    error = document('a text of two keys', 1, 'show', path, 'd/1')['error']
    equal('it is no guess', error['code'], 'key_duplicate')
    check('the hint is JSON', '[1]' in error['hint'], error)
    equal('exact by JSON', document('exact', 0, 'show', path, '["d", 1]', '["d", "1"]'), ['int', 'str'])
    equal('other keys by their text', document('texts', 0, 'show', path, 'd/0.5', 'd/None'), ['half', 'none'])
    weights = dictionary([(half, dictionary([('w', tensor('0', 2, [2]))]))])
    path = save('decay.pt', PROTO + dictionary([('averages', weights)]) + b'.', [('0', floats(2))])
    equal('a float selects',
          [r['key'] for r in document('a float', 0, 'ls', path, '--select', 'averages/0.5')['tensors']], ['w'])


def values():
    root = {'none': None, 'yes': True, 'exact': 2 ** 53, 'more': 2 ** 53 + 1, 'less': -2 ** 53 - 1, 'long': -2 ** 64,
            'digits': 10 ** 4299, 'real': [1.0, 1e300, 5e-324, -0.0, 0.1],
            'odd': [float('nan'), float('inf'), float('-inf')], 'complex': complex(1, -2.5),
            'bytes': b'\xff\x00', 'array': bytearray(b'ab'), 'tuple': (1, ()), 'set': {7}, 'list': [[]],
            'text': 'caf\u00e9 \U0001f525 "\\/\n\x1b', 'surrogate': 'x\udcffy', 'dict': {'a': {}},
            'mixed': {1: 'a', None: 'b', (1, 'x'): 'c'}, 'dollar': {'$a': 1}, 'class': dict, 'range': range(3)}
    for protocol in (0, 1, 2, 3, 4, 5):
        if protocol < 2:  # writes integers as decimal text, which Python bounds as the library does
            root.pop('hex', None)
        else:
            root['hex'] = -10 ** 4300
        path = save('values%d.pt' % protocol, pickle.dumps(root, protocol))
        got = document('values, protocol %d' % protocol, 0, 'show', path)
        b64 = lambda b: base64.b64encode(b).decode()
        want = {'none': None, 'yes': True, 'exact': 2 ** 53, 'more': {'$int': str(2 ** 53 + 1)},
                'less': {'$int': str(-2 ** 53 - 1)}, 'long': {'$int': str(-2 ** 64)},
                'digits': {'$int': '1' + '0' * 4299}, 'hex': {'$int': hex(-10 ** 4300)},
                'real': [1.0, 1e300, 5e-324, -0.0, 0.1],
                'odd': [{'$float': 'nan'}, {'$float': 'inf'}, {'$float': '-inf'}], 'complex': {'$complex': [1.0, -2.5]},
                'bytes': {'$bytes': b64(b'\xff\x00')}, 'array': {'$bytes': b64(b'ab')},
                'tuple': {'$tuple': [1, {'$tuple': []}]}, 'set': {'$set': [7]}, 'list': [[]], 'text': root['text'],
                'surrogate': {'$bytes': b64('x\udcffy'.encode('utf-8', 'surrogatepass')), 'was': 'str'},
                'dict': {'a': {}}, 'mixed': {'$dict': [[1, 'a'], [None, 'b'], [{'$tuple': [1, 'x']}, 'c']]},
                'dollar': {'$dict': [['$a', 1]]}, 'class': {'$global': 'builtins.dict'},
                'range': {'$object': {'class': 'builtins.range', 'args': [0, 3, 1]}}}
        want = {k: want[k] for k in root}
        equal('the keys, protocol %d' % protocol, list(got), list(root))
        for key in want:
            equal('%s, protocol %d' % (key, protocol), got.get(key), want[key])

    # Objects: class, arguments, state, items; mappings of any class are objects of JSON.
    data = PROTO + dictionary(
        [('n', b'cargparse\nNamespace\n)\x81' + dictionary([('lr', b'G' + struct.pack('>d', 0.5))]) + b'b'),
         ('m', b'cmy.code\nDict\n)\x81' + text('k') + number(1) + b's'),
         ('l', b'cmy.code\nList\n)\x81' + number(4) + b'a'),
         ('nested', b'c__builtin__\ngetattr\ncmy.code\nOuter\n' + text('Inner') + b'\x86R)R'),
         ('slots', b'cmy.code\nSlots\n)\x81N' + dictionary([('a', number(1))]) + b'\x86b')]) + b'.'
    path = save('objects.pt', data)
    equal('objects', document('objects', 0, 'show', path),
          {'n': {'$object': {'class': 'argparse.Namespace', 'state': {'lr': 0.5}}}, 'm': {'k': 1},
           'l': {'$object': {'class': 'my.code.List', 'items': [4]}},
           'nested': {'$object': {'class': 'my.code.Outer.Inner'}},
           'slots': {'$object': {'class': 'my.code.Slots', 'state': {'$tuple': [None, {'a': 1}]}}}})
    equal('attributes are steps of paths', document('paths', 0, 'show', path, 'n/lr', 'm/k', 'slots/a', 'l/0'),
          [0.5, 1, 1, 4])

    # Cycles and sharing.
    d = {}
    d['self'] = d
    d['list'] = [d, (1, d)]
    path = save('cycle.pt', pickle.dumps({'x': {'y': d}}, 4))
    cycle = {'$cycle': ['x', 'y']}
    equal('a cycle', document('cycle', 0, 'show', path),
          {'x': {'y': {'self': cycle, 'list': [cycle, {'$tuple': [1, cycle]}]}}})
    equal('a cycle below a path', document('cycle', 0, 'show', path, 'x/y'),
          {'self': cycle, 'list': [cycle, {'$tuple': [1, cycle]}]})
    shared = [1]
    path = save('shared.pt', pickle.dumps([shared, shared], 2))
    equal('what is shared is printed again', document('shared', 0, 'show', path), [[1], [1]])

    # Depth, and more paths than memory.
    n = 100_000
    path = save('deep.pt', PROTO + b']' * n + b'a' * (n - 1) + b'.')
    code, out, _ = ckpt('show', path, '--json')
    check('a deep list', code == 0 and out == '[' * n + ']' * n + '\n', (code, out[:80]))
    check('a deep list for people', ckpt('show', path)[0] == 0)
    doubled = (b']q' + bytes([i]) + b'(h' + bytes([i - 1]) + b'h' + bytes([i - 1]) + b'e0' for i in range(1, 60))
    path = save('laugh.pt', PROTO + b']q\x00(K\x01K\x02e0' + b''.join(doubled) + b'h\x3b.')
    equal('more paths than memory', document('laugh', 1, 'show', path)['error']['code'], 'output_limit')
    check('more paths than memory, for people', ckpt('show', path)[0] == 0)
    path = save('long.pt', PROTO + b'](' + text('x' * 100_000) + b'q\x01' + b'h\x01' * 5000 + b'e.')
    equal('more text than memory', document('long', 1, 'show', path)['error']['code'], 'output_limit')

    # Paths.
    root = {'a/b': {'c\\d': 1}, '1': 'text', 1: 'number', None: 'none', (1, 'a'): 'pair', '[x': 2, 'e': [[5]], b'k': 6,
            '': {'': 7}}
    path = save('paths.pt', pickle.dumps(root, 4))
    for typed, want in (('a\\/b/c\\\\d', 1), ('[1]', 'number'), ('["1"]', 'text'), ('None', 'none'),
                        ("(1, 'a')", 'pair'), ('["[x"]', 2), ('e/0/0', 5), ('["e", 0, 0]', 5), ('["a/b","c\\\\d"]', 1),
                        ('["\\u0065",0,0]', 5), ("b'k'", 6), ('["",""]', 7)):
        equal('path ' + typed, document('path ' + typed, 0, 'show', path, typed), want)
    equal('a path that is the text of two keys', document('path 1', 1, 'show', path, '1')['error']['code'],
          'key_duplicate')
    equal('the empty path is the root', document('path', 0, 'show', path, '[]'), document('path', 0, 'show', path, ''))
    equal('an index past the end', document('path', 1, 'show', path, 'e/1')['error']['path'], ['e'])


# --- tensors ----------------------------------------------------------------------------------------------------------

def tensors():
    weights = dictionary([('a', tensor('0', 6, [2, 3])), ('t', tensor('0', 6, [3, 2], stride=[1, 3])),
                          ('b', tensor('1', 2, [1], offset=1))])
    path = save('tensors.pt', PROTO + weights + b'.', [('0', floats(6)), ('1', floats(2))])
    rows = document('rows', 0, 'ls', path, '--digest', '--strict')['tensors']
    equal('storages that are shared', [r['storage'] for r in rows], ['0', '0', '1'])
    equal('the digest is of the values', rows[1]['crc32'], '%08x' % zlib.crc32(struct.pack('<6f', 0, 3, 1, 4, 2, 5)))
    equal('file_offset is of the first element', rows[2]['file_offset'] - 4, open(path, 'rb').read().rfind(floats(2)))

    # A tensor that reaches past its storage keeps its row.
    path = save('past.pt', PROTO + dictionary([('good', tensor('0', 6, [6])), ('bad', tensor('0', 6, [7]))]) + b'.',
                [('0', floats(6))])
    rows = document('past the end', 0, 'ls', path)['tensors']
    equal('the row of a refused tensor', (list(rows[1]), rows[1]['key'], rows[1]['error']['code']),
          (['key', 'path', 'error'], 'bad', 'out_of_bounds'))
    check('the rows beside it', 'error' not in rows[0])
    document('past the end, --strict', 1, 'ls', path, '--strict')
    equal('a refused tensor is an error value', list(document('past', 0, 'show', path, 'bad')), ['$error'])
    equal('verify finds it', document('past', 1, 'verify', path)['findings'][0]['error']['code'], 'out_of_bounds')
    check('a refused tensor for people',
          ckpt('ls', path, '--strict')[0] == 1 and 'out_of_bounds' in ckpt('ls', path)[1])

    # An expanded tensor may claim any size: its digest is an error in the row.
    path = save('expanded.pt', PROTO + dictionary([('w', tensor('0', 1, [1 << 20, 1 << 10], stride=[0, 0]))]) + b'.',
                [('0', floats(1))])
    row = document('expanded', 0, 'ls', path, '--digest')['tensors'][0]
    equal('a digest of too much', (row['shape'], row['error']['code'], 'crc32' in row),
          ([1 << 20, 1 << 10], 'output_limit', False))
    document('expanded, --strict', 1, 'ls', path, '--digest', '--strict')

    # What is no tensor has no row; --strict says why it fails.
    lost = b'(' + text('storage') + b'ctorch\nFloatStorage\n' + text('9') + text('cpu') + number(1) + b'tQ'
    path = save('lost.pt', PROTO + dictionary([('good', tensor('0', 6, [6])), ('lost', lost)]) + b'.',
                [('0', floats(6))])
    equal('a value without a row', [r['key'] for r in document('lost', 0, 'ls', path)['tensors']], ['good'])
    why = document('lost', 1, 'ls', path, '--strict')['error']
    check('--strict says why it exits with 1', why['code'] == 'record_missing' and '9' in why['message'], why)
    check('it is told',
          'list them with: ckpt verify' in ckpt('ls', path, '--strict')[1] and 'ckpt verify' not in ckpt('ls', path)[1],
          ckpt('ls', path, '--strict'))

    # What no inflater helps with is not blamed on one that is missing.
    path = os.path.join(folder, 'bzip2.pt')
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_BZIP2) as z:
        z.writestr('archive/data.pkl', PROTO + dictionary([]) + b'.')
        z.writestr('archive/version', '3\n')
    wrong = document('another compression', 4, 'ls', path)['error']
    equal('what to do about another compression', (wrong['code'], 'zlib' in wrong['hint']), ('compressed', False))

    # Damage that opening does not see: a byte of a storage, and local headers of one that rows show and one that none
    # shows.
    path = save('damaged.pt', PROTO + dictionary([('w', tensor('0', 6, [6]))]) + b'.',
                [('0', floats(6)), ('unused', floats(3))])
    with open(path, 'rb') as f:
        whole = f.read()

    def damaged(name, at):
        out = os.path.join(folder, name)
        with open(out, 'wb') as f:
            f.write(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
        return out
    byte = damaged('byte.pt', whole.find(floats(6)) + 9)
    document('a changed byte lists', 0, 'ls', byte, '--strict')
    found = document('a changed byte', 1, 'verify', byte)
    equal('a changed byte is found',
          (found['ok'], found['findings'][0]['error']['code'], found['findings'][0]['error']['record']),
          (False, 'checksum_mismatch', 'archive/data/0'))
    header = damaged('header.pt', whole.find(b'archive/data/0') + 13)
    rows = document('a changed header', 1, 'ls', header, '--strict')
    equal('a fault with a row stays in its row', rows['tensors'][0].get('error', {}).get('code'), 'zip_header_mismatch')
    unused = damaged('unused.pt', whole.find(b'archive/data/unused') + 18)
    document('a changed header of no tensor', 0, 'ls', unused)
    equal('a fault without a row is a document', document('strict', 2, 'ls', unused, '--strict')['error']['code'],
          'zip_header_mismatch')
    equal('verify sees it', document('verify', 1, 'verify', unused)['findings'][0]['error']['code'],
          'zip_header_mismatch')
    cut = os.path.join(folder, 'cut.pt')
    with open(cut, 'wb') as f:
        f.write(whole[:-30])
    equal('a cut file', document('cut', 2, 'ls', cut)['error']['number'] // 100, 2)
    check('verify of a cut file is a verdict', document('cut', 2, 'verify', cut).get('ok') is False)
    equal('globals of a cut file is a verdict', document('cut', 2, 'globals', cut)['files'][0]['verdict'], 'unreadable')

    # Keys.
    path = save('keys.pt',
                pickle.dumps({'a': {'b': 1}}, 2)[:-1] + b'0' +
                dictionary([('a', dictionary([('b', tensor('0', 6, [6]))])), ('a.b', tensor('0', 6, [6]))]) + b'.',
                [('0', floats(6))])
    equal('two entries with one key', document('keys', 1, 'ls', path, '--select', '')['error']['code'], 'key_duplicate')
    equal('both with --all', [r['path'] for r in document('keys', 0, 'ls', path, '--all')['tensors']],
          [['a', 'b'], ['a.b']])
    both = dictionary([('state_dict', dictionary([('w', tensor('0', 6, [6]))])),
                       ('state_dict_ema', dictionary([('w', tensor('0', 6, [6]))]))])
    path = save('both.pt', PROTO + both + b'.', [('0', floats(6))])
    equal('an ambiguous file', document('both', 1, 'ls', path)['error']['code'], 'state_dict_ambiguous')
    equal('info shows both', [c['path'] for c in document('both', 0, 'info', path)['candidates'][:2]],
          [['state_dict'], ['state_dict_ema']])
    check('info says so', 'ambiguous' in ckpt(path)[1])

    # Folding.
    entries = [('layers.%d.%s' % (i, leaf), tensor('0', 6, shape)) for i in range(12)
               for leaf, shape in (('w', [2, 3]), ('b', [6 if i != 5 else 5]))]
    path = save('layers.pt', PROTO + dictionary(entries) + b'.', [('0', floats(6))])
    lines = (terminal('repeated layers', 'ls', path, env={'NO_COLOR': '1'}) or '').splitlines()
    if lines:
        equal('repeated layers are folded', [line.split('  ')[0] for line in lines[1:-1]],
          ['layers.{0..11}.w', 'layers.{0..4}.b', 'layers.5.b', 'layers.{6..11}.b'])
    check('totals count what is folded', lines[-1].startswith('24 tensors'), lines[-1])
    equal('--no-fold', len(ckpt('ls', path, '--no-fold')[1].splitlines()), 26)


# --- compressed storages ----------------------------------------------------------------------------------------------

def peak(*args):
    """The most memory that a command took, in MiB, and its exit code."""
    done = subprocess.Popen([program, *args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            stdin=subprocess.DEVNULL)
    _, status, usage = os.wait4(done.pid, 0)
    done.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss / 1024, done.returncode


def compressed():
    def zeros(name, flat, side):
        path = os.path.join(folder, name)
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as z:
            weights = dictionary([('flat', tensor('0', flat, [flat])),
                                  ('piece', tensor('0', flat, [4], offset=flat - 4)),
                                  ('square', tensor('1', side * side, [side, side])),
                                  ('turned', tensor('1', side * side, [side, side], stride=[1, side]))])
            z.writestr('archive/data.pkl', PROTO + weights + b'.')
            z.writestr('archive/byteorder', 'little')
            for key, left in (('0', 4 * flat), ('1', 4 * side * side)):
                with z.open('archive/data/' + key, 'w') as storage:
                    while left > 0:
                        left -= storage.write(bytes(min(left, 1 << 20)))
            z.writestr('archive/version', '3\n')
        return path
    small, large = zeros('few_zeros.pt', 4, 2), zeros('many_zeros.pt', 64 << 20, 2048)  # 256 MiB and 16 MiB
    if document('compressed', 0, 'verify', small)['checked']['unchecked_crc'] != 0:
        global skipped
        skipped += 1  # a program without zlib
        return
    check('272 MiB of zeros are a small file', os.path.getsize(large) < 2 << 20)
    # The program may be one with sanitizers, and what a child took before it became the program counts, too.
    most = max(32, peak('verify', small)[0] + 26)
    for args in (('verify', large), ('ls', large, '--digest'), ('diff', large, large), ('info', large)):
        took, code = peak(*args)
        check('memory of %s' % args[0], took <= most and code == 0,
              '%.1f MiB, exit %d; at most %.1f' % (took, code, most))
    # Gathered in an order that is not that of the storages, and cast.
    rules = written('turn.rules', 'keep square, turned\ntranspose 0 1 square\n'
                                  'merge 1 square, turned -> x\ncast float64 x\n')
    gathered = ('ls', large, '--digest', '--rules', rules)
    took, code = peak(*gathered)
    check('memory of a gather', took <= most and code == 0, '%.1f MiB, exit %d; at most %.1f' % (took, code, most))
    equal('a gather of zeros', document('gathered', 0, *gathered)['tensors'][0]['crc32'],
          '%08x' % zlib.crc32(bytes(64 << 20)))
    flat, piece, square, turned = document('digests of zeros', 0, 'ls', large, '--digest')['tensors']
    equal('a few values of a large storage', piece['crc32'], '%08x' % zlib.crc32(bytes(16)))
    equal('zeros in another order', turned['crc32'], square['crc32'])
    equal('the digest of zeros', flat['crc32'], '%08x' % zlib.crc32(bytes(256 << 20)))


# --- what info counts -------------------------------------------------------------------------------------------------

def files_of_the_tests():
    for at, _, names in os.walk(DATA):
        for name in names:
            if not name.endswith(('.json', '.py', '.md', '.distcp')):
                yield os.path.join(at, name)


def summaries():
    # Tied weights once, an optimizer apart, an expanded tensor as what is stored of it.
    state = dictionary([('state', b'}(' + number(0) + dictionary([('exp_avg', tensor('2', 6, [6]))]) + b'u'),
                        ('param_groups', b']')])
    weights = dictionary([('wte', tensor('0', 6, [2, 3])),
                          ('head', tensor('0', 6, [2, 3])),
                          ('bias', tensor('1', 4, [2])),
                          ('mask', tensor('1', 4, [10, 10], offset=3, stride=[0, 0])),
                          ('row', tensor('0', 6, [3], offset=3))])
    path = save('tied.pt', PROTO + dictionary([('state_dict', weights), ('optimizer', state)]) + b'.',
                [('0', floats(6)), ('1', floats(4)), ('2', floats(6))])
    said = document('info of tied weights', 0, 'info', path)
    equal('the model', said['model'], {'tensors': 5, 'parameters': 9, 'nbytes': 468, 'stored': 36, 'tied': 1})
    equal('the whole file', said['dtypes'], {'float32': {'tensors': 6, 'nbytes': 492}})
    out = ckpt('info', path)[1]
    check('for people', 'model     9 parameters in 36 B; 1 tied; 1 expanded' in out, out)
    lines = [' '.join(line.split()) for line in out.splitlines()]
    check('by place',
          'state_dict float32 5 9 36 B' in lines and 'optimizer float32 1 6 24 B' in lines and 'all 6 15 60 B' in lines,
          out)
    lazy = os.path.join(DATA, 'frameworks', 'lazy', 'module.pt')
    equal('not initialised', document('info of a lazy module', 0, 'info', lazy)['uninitialized'], 6)
    check('not initialised, for people', '6 parameters or buffers were not initialised' in ckpt('info', lazy)[1])
    both = save('averages.pt',
                PROTO + dictionary([('model', dictionary([('w', tensor('0', 6, [6]))])),
                                    ('model_ema', dictionary([('w', tensor('1', 6, [6]))]))]) + b'.',
                [('0', floats(6)), ('1', floats(6))])
    said = document('two equal places', 0, 'info', both)
    check('no model where there are two', 'model' not in said, said)
    lines = [' '.join(line.split()) for line in ckpt('info', both)[1].splitlines()]
    check('each place by itself', 'model float32 1 6 24 B' in lines and 'model_ema float32 1 6 24 B' in lines, lines)

    clip = document('OpenCLIP', 0, 'info', os.path.join(DATA, 'frameworks', 'open_clip-2.24', 'epoch_2.pt'))
    equal('parameters without those of the optimizer',
          (clip['model']['parameters'], clip['dtypes']['float32']['tensors']), (52889, 152))

    # Dictionaries of numpy arrays, as detectron2 and Paddle save them.
    def array(n):
        dtype = (b'cnumpy\ndtype\n(' + text('f4') + number(0) + number(1) + b'tR(' + number(3) + text('<') + b'NNN' +
                 number(-1) + number(-1) + number(0) + b'tb')
        return (b'cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n' + number(0) + b'\x85C\x01btR(' + number(1) +
                number(n) + b'\x85' + dtype + b'\x89C' + bytes([4 * n]) + floats(n) + b'tb')

    detectron = dictionary([('model', dictionary([('w', array(3)), ('b', array(1))])),
                            ('__author__', text('Detectron2'))])
    paddle = dictionary([('w', array(3)), ('b', array(1)),
                         ('StructuredToParameterName@@', dictionary([('w', text('linear_0'))]))])
    for name, root, place in (('zoo.pkl', detectron, ['model']), ('model.pdparams', paddle, [])):
        path = written(name, PROTO + root + b'.')
        said = document(name, 0, 'info', path)
        equal(name, (said['candidates'][0]['path'], said['candidates'][0]['tensors'], said['model']['parameters']),
              (place, 2, 4))
        equal(name + ': rows', [(r['key'], r['storage']) for r in document(name, 0, 'ls', path)['tensors']],
              [('w', None), ('b', None)])

    # What info counts is what ls lists.
    for path in files_of_the_tests():
        if ckpt('info', path)[0] != 0:
            continue
        info = document('info of ' + path, 0, 'info', path)
        rows = [r for r in document('ls --all of ' + path, 0, 'ls', path, '--all', '--policy', 'inspect')['tensors']
                if 'error' not in r]
        sums = {}
        for r in rows:
            sums[r['dtype']] = sums.get(r['dtype'], 0) + 1
        counts = {dtype: sum_['tensors'] for dtype, sum_ in info['dtypes'].items()}
        check('the counts of ' + path, sums == counts, (sums, counts))
        for c in info['candidates']:
            listed = document('ls of ' + path, 0, 'ls', path, '--policy', 'inspect', '--select',
                              json.dumps(c['path']))['tensors']
            check('the tensors of %s in %s' % (c['path'], path), len(listed) == c['tensors'],
                  (len(listed), c['tensors']))


# --- configurations ---------------------------------------------------------------------------------------------------

def configurations():
    path = framework('values', 'values_p2.pt')
    equal('steps through omegaconf',
          document('omegaconf', 0, 'show', path, 'config/lr', 'config/name', 'config/layers/1/width',
                   'config/optimizer/betas', 'layers/0', 'config/none'),
          [0.1, 'run_${lr}', 4, [0.9, 0.999], 1, None])
    equal('raw steps', document('raw', 0, 'show', path, 'config/_content/lr/_val', 'config/_content/lr',
                                'config/_metadata/optional'),
          [0.1, 0.1, True])
    wrong = document('a wrong step', 1, 'show', path, 'config/optimizer/beta')['error']
    check('the nearest step', 'config/optimizer/betas' in wrong['message'], wrong)
    path = framework('configurations', 'configs.pt')
    steps = {'omegaconf/color': {'$object': {'class': 'uuid.SafeUUID', 'args': [-1]}}, 'easydict/b/c/1': 2,
             'addict/b/c/1/q': 3, 'yacs/b/c/0': 1,
             'ml_collections/b/c/1': 2, 'ml_collections/reference': 1, 'frozen/a': 1, 'simple/b/c': 2}
    equal('steps through configurations', document('configurations', 0, 'show', path, *steps), list(steps.values()))
    equal('as dictionaries', document('configurations', 0, 'show', path, 'omegaconf/opt', 'easydict', 'addict', 'yacs'),
          [{'lr': 0.5, 'same': '${timesteps}'}, {'a': 1, 'b': {'c': [1, 2]}}, {'a': 1, 'b': {'c': [1, {'q': 3}]}},
           {'a': 1, 'b': {'c': [1, 2]}}])
    equal('fields', document('fields', 0, 'show', path, 'ml_collections')['b'], {'c': {'$tuple': [1, 2]}})
    code, out, err = ckpt('show', path, 'enums')
    check('a member of an enum for people', code == 0 and 'uuid.SafeUUID(-1)' in out and 're.RegexFlag(256)' in out,
          out)
    out = ckpt('show', path, 'omegaconf')[1]
    check('a configuration for people',
          out.startswith('omegaconf.dictconfig.DictConfig, dict, ') and 'timesteps: 1000' in out
          and '_content' not in out,
          out)

    # A reference that Python would compute stays what it is; a class of a program's own has attributes.
    reference = (b'cml_collections.config_dict.config_dict\nFieldReference\n)\x81' +
                 dictionary([('_value', number(1)), ('_ops', b'](' + number(2) + b'e')]) + b'b')
    own = b'cmy.code\nConfig\n)\x81' + dictionary([('steps', number(3))]) + b'b'
    path = save('references.pt', PROTO + dictionary([('r', reference), ('d', own)]) + b'.')
    got = document('references', 0, 'show', path, 'r', 'd/steps', 'r/_value')
    equal('references', (got[0]['$object']['state'], got[1:]), ({'_value': 1, '_ops': [2]}, [3, 1]))

    # What hints name can be stepped into.
    attributes = dictionary([('_metadata', dictionary([('', dictionary([('version', number(2))]))]))])
    weights = b'ccollections\nOrderedDict\n)R(' + text('w') + tensor('0', 6, [6]) + b'u' + attributes + b'b'
    state = save('metadata.pt', PROTO + dictionary([('state_dict', weights)]) + b'.', [('0', floats(6))])
    equal('_metadata',
          document('_metadata', 0, 'show', state, 'state_dict/_metadata', '["state_dict","_metadata","","version"]'),
          [{'': {'version': 2}}, 2])
    header = json.dumps({'__metadata__': {'format': 'pt'},
                         'w': {'dtype': 'F32', 'shape': [6], 'data_offsets': [0, 24]}}).encode()
    tensors = written('metadata.safetensors', struct.pack('<Q', len(header)) + header + floats(6))
    equal('__metadata__', document('__metadata__', 0, 'show', tensors, '__metadata__/format'), 'pt')


# --- globals ----------------------------------------------------------------------------------------------------------

def names():
    evil = PROTO + b'cposix\nsystem\n' + text('echo hi') + b'\x85R.'
    path = save('evil.pt', evil)
    said = document('evil', 1, 'globals', path)['files'][0]
    equal('dangerous', (said['verdict'], said['globals'][0]['verdict']), ('dangerous', 'dangerous'))
    equal('info exits 0', document('evil', 0, 'info', path)['verdict'], 'dangerous')
    check('info says so', 'dangerous' in ckpt(path)[1])
    refusal = document('evil', 1, 'ls', path)['error']
    equal('ls refuses', (refusal['code'], refusal['number'], refusal['opcode'], refusal['record']),
          ('global_not_allowed', 303, 'GLOBAL', 'archive/data.pkl'))
    equal('show shows', document('evil', 0, 'show', path), {'$object': {'class': 'posix.system', 'args': ['echo hi']}})
    document('show with a policy', 1, 'show', path, '--policy', 'training')
    cut = document('cut', 1, 'globals', save('evilcut.pt', evil[:-2]))['files'][0]
    equal('names before damage are kept, and count',
          (cut['verdict'], cut['globals'][0]['name'], cut['stopped']['code']),
          ('dangerous', 'system', 'pickle_truncated'))
    plain = written('evilcut.pkl', evil[:-2])
    equal('of plain pickles, too',
          [(f['verdict'], len(f['globals'])) for f in document('plain', 1, 'globals', plain)['files']],
          [('dangerous', 1)])
    known = document('damage', 2, 'globals', save('knowncut.pt', PROTO + b'cargparse\nNamespace\n'))['files'][0]
    equal('damage behind known names', (known['verdict'], len(known['globals'])), ('unreadable', 1))
    own = save('own.pt',
               PROTO + dictionary([('hyper_parameters', dictionary([('cfg', b'cmy_project.config\nConfig\n)\x81')]))]) +
               b'.')
    said = document('foreign', 1, 'globals', own)['files'][0]
    equal('foreign', (said['verdict'], said['globals'][0]['verdict'], said['globals'][0]['key']),
          ('foreign', 'refuse', 'hyper_parameters/cfg'))
    equal('the path is an array', document('foreign', 1, 'ls', own)['error']['path'], ['hyper_parameters', 'cfg'])
    equal('inspect judges too',
          document('inspect', 0, 'globals', own, '--policy', 'inspect')['files'][0]['globals'][0]['verdict'], 'inert')
    old = save('old.pt', PROTO + b'c__builtin__\nset\n](K\x01e\x85R.')
    equal('the present spelling', document('old', 0, 'globals', old)['files'][0]['globals'][0]['canonical'],
          ['builtins', 'set'])
    check('none where it is the same', 'canonical' not in said['globals'][0])
    trailing = save('trailing.pt', PROTO + b'N.' + evil)
    equal('a pickle behind the first', document('trailing', 1, 'globals', trailing)['files'][0]['verdict'], 'dangerous')
    # Every pickle of an archive is scanned, whatever it is called and whoever reads it.
    good = PROTO + b'}.'
    for name, content in (('archive/extra/evil.pkl', evil), ('archive/noext', evil), ('elsewhere/x.bin', evil),
                          ('archive/.data/ts_code/0/data.pkl', evil), ('archive/data/7', evil)):
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            where = os.path.join(folder, 'other.pt')
            with zipfile.ZipFile(where, 'w', method) as z:
                z.writestr('archive/data.pkl', good)
                z.writestr('archive/version', b'3')
                z.writestr(name, content)
            equal('an evil ' + name, document(name, 1, 'globals', where)['files'][0]['verdict'], 'dangerous')
            equal('info agrees', document(name, 0, 'info', where)['verdict'], 'dangerous')
    for name, content, code in (('archive/bad.pkl', b'\xff\xff', 'pickle_opcode'),
                                ('archive/inner.zip', open(MLP, 'rb').read(), 'container_not_supported'),
                                ('archive/x.gz', gzip.compress(evil), 'container_not_supported')):
        where = os.path.join(folder, 'sealed.pt')
        with zipfile.ZipFile(where, 'w') as z:
            z.writestr('archive/data.pkl', good)
            z.writestr(name, content)
        said = document(name, 2 if code == 'pickle_opcode' else 4, 'globals', where)['files'][0]
        equal(name, (said['verdict'], said['stopped']['code'], said['stopped']['record']), ('unreadable', code, name))
    # A file may be a pickle, too, though it begins like something else.
    header = b'{"w":{"dtype":"U8","shape":[32],"data_offsets":[0,32]}}'
    header += b' ' * (0x156 - len(header))  # the first byte of its length is that of UNICODE
    tensors = written('both.safetensors',
                      struct.pack('<Q', len(header)) + header + b'\ncos\nsystem\n(S"true"\ntR.'.ljust(32, b'N'))
    archive = os.path.join(folder, 'both.tar')
    with tarfile.open(archive, 'w', format=tarfile.GNU_FORMAT) as t:
        t.addfile(tarfile.TarInfo('cos\nsystem\n(S"true"\ntR.'))
    for where in (tensors, archive, written('both.gguf', b'GGUF\3\0\0\0\0cos\nsystem\n(S"true"\ntR.'),
                  written('both.exe', b'MZ\0cos\nsystem\n(S"true"\ntR.'),
                  written('joblib.pkl', PROTO + text('joblib.numpy_pickle') + b'0' + evil)):
        equal(os.path.basename(where), document('both', 1, 'globals', where)['files'][0]['verdict'], 'dangerous')
    # Every member of a tar archive is.
    where = os.path.join(folder, 'members.nemo')
    with tarfile.open(where, 'w') as t:
        for name, content in (('model_config.yaml', b'a: 1\n'), ('model_weights.ckpt', open(MLP, 'rb').read()),
                              ('sub/evil.bin', evil)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            t.addfile(entry, io.BytesIO(content))
    equal('a member of a tar', document('members', 1, 'globals', where)['files'][0]['verdict'], 'dangerous')
    # Text pickles without PUT.
    for content in (b'cos\nsystem\n(S"true"\ntR.', b'(S"true"\nios\nsystem\n.',
                    b'(' + b'I1\n' * 300 + b'lp0\n0cos\nsystem\n(S"true"\ntR.'):
        equal('a text pickle', document('text', 1, 'globals', written('text.pkl', content))['files'][0]['verdict'],
              'dangerous')
    # A record that is no pickle is told by its first bytes, however much it inflates to.
    where = os.path.join(folder, 'padding.pt')
    with zipfile.ZipFile(where, 'w', zipfile.ZIP_DEFLATED) as z:
        z.writestr('archive/data.pkl', good)
        z.writestr('archive/data/0', bytes(64 << 20))
        z.writestr('archive/notes', bytes(64 << 20))
    equal('deflated zeros', document('zeros', 0, 'globals', where)['files'][0]['verdict'], 'clean')
    # Items of a distributed checkpoint, each a whole file, lie where .metadata says.
    chunks = os.path.join(folder, 'dcp')
    shutil.copytree(os.path.join(DATA, 'frameworks', 'dcp', 'mesh_2d'), chunks)
    said = document('items', 0, 'globals', chunks)
    equal('items are looked into',
          (sorted((os.path.basename(f['file']), len(f['globals']) > 2) for f in said['files']), said['skipped']),
          ([('.metadata', True)] + [('__%d_0.distcp' % i, True) for i in range(4)], []))
    for i in range(1, 4):
        os.remove(os.path.join(chunks, '__%d_0.distcp' % i))
    mlp, items = open(MLP, 'rb').read(), open(save('item.pt', evil), 'rb').read()
    places = {i: {'relative_path': '__0_0.distcp', 'offset': i * len(mlp), 'length': n}
              for i, n in ((0, len(mlp)), (1, len(items)))}
    for content in (mlp + items, items):  # the last one is cut: nothing is there where .metadata says
        with open(os.path.join(chunks, '.metadata'), 'wb') as f:
            f.write(pickle.dumps({'storage_data': places}, 2))
        with open(os.path.join(chunks, '__0_0.distcp'), 'wb') as f:
            f.write(content)
        for where in (chunks, os.path.join(chunks, '__0_0.distcp')):
            said = {os.path.basename(f['file']): f['verdict']
                    for f in document('an evil item', 1 if content != items else 2, 'globals', where)['files']}
            equal('an evil item', said['__0_0.distcp'], 'dangerous' if content != items else 'unreadable')
    shutil.rmtree(chunks)
    # In a folder every file is looked at by its bytes.
    tree = os.path.join(folder, 'tree')
    os.makedirs(os.path.join(tree, 'sub', 'deep'))
    shutil.copy(MLP, os.path.join(tree, 'model.pt'))
    with open(os.path.join(tree, 'readme.md'), 'w') as f:
        f.write('# nothing\n')
    code, out, err = ckpt('globals', tree)
    check('what was skipped is said', code == 0 and 'readme.md: ' in out and '1 file, 1 clean; 1 skipped' in out,
          (code, out, err))
    equal('--quiet prints findings only', ckpt('globals', tree, '--quiet'), (0, '', ''))
    equal('skipped files of the document',
          [os.path.basename(s['file']) for s in document('tree', 0, 'globals', tree)['skipped']], ['readme.md'])
    for name, content in (('evil.pkl', evil), ('tokenizer.bin', evil), ('noext', evil),
                          ('sub/x', b'cos\nsystem\n(S"true"\ntR.'), ('sub/deep/.hidden', evil),
                          ('notes.txt', evil), ('model.zip', gzip.compress(evil))):
        with open(os.path.join(tree, name), 'wb') as f:
            f.write(content)
        said = {os.path.relpath(f['file'], tree): f['verdict']
                for f in document(name, 2 if name == 'model.zip' else 1, 'globals', tree)['files']}
        equal(name + ' in a folder', sorted(said.items()),
              sorted({'model.pt': 'clean', name: 'unreadable' if name == 'model.zip' else 'dangerous'}.items()))
        check('it is printed', name in ckpt('globals', tree, '--quiet')[1])
        os.remove(os.path.join(tree, name))
    many = document('several', 2, 'globals', MLP, path, os.path.join(folder, 'absent.pt'))
    equal('several files, the highest exit', [f['verdict'] for f in many['files']],
          ['clean', 'dangerous', 'unreadable'])


# --- folders, safetensors, modules ------------------------------------------------------------------------------------

def framework(*parts):
    return os.path.join(DATA, 'frameworks', *parts)


def folders():
    trainer = framework('transformers-5.23', 'checkpoint-4')
    shards, index = framework('transformers-4.57', 'shards_bin'), 'pytorch_model.bin.index.json'
    said = document('info of a Trainer folder', 0, 'info', trainer)
    equal('its container', said['container'], 'safetensors')
    equal('its files are described', {f['file']: f['is'].split(',')[0] for f in said['files']}['optimizer.pt'],
          "the optimizer's state")
    equal('the file that was opened says so', [f['file'] for f in said['files'] if 'opened: ' in f['is']],
          ['model.safetensors'])
    rows = document('ls of a Trainer folder', 0, 'ls', trainer, '--digest')['tensors']
    equal('each row has its file', {r['file'] for r in rows}, {'model.safetensors'})
    equal('the keys are the model\'s', rows[0]['path'], [rows[0]['key']])
    whole = document('ls of shards', 0, 'ls', shards, '--digest')
    equal('the container of a set', (whole['container'], whole['selected']), ('shards', []))
    equal('a set of three files', len({r['file'] for r in whole['tensors']}), 3)
    equal('an index opens its set',
          document('ls of an index', 0, 'ls', os.path.join(shards, index), '--digest')['tensors'], whole['tensors'])
    equal('the other format has the same weights, but for the tied head',
          document('diff', 1, 'diff', shards, framework('transformers-4.57', 'shards_safetensors')),
          {'schema': 'ckpt.diff/1', 'only_a': ['lm_head.weight'], 'only_b': [], 'changed': [], 'equal': 28})
    said = document('globals of a folder', 0, 'globals', trainer)['files']
    equal('one entry for each checkpoint', sorted(os.path.basename(f['file']) for f in said),
          ['model.safetensors', 'optimizer.pt', 'rng_state.pth', 'scheduler.pt', 'training_args.bin'])
    equal('of an index, its shards',
          len(document('globals of an index', 0, 'globals', os.path.join(shards, index))['files']), 3)
    checked = document('verify of a folder', 0, 'verify', trainer)
    check('all checkpoints of a folder are verified', checked['ok'] and checked['checked']['records'] > 100, checked)
    equal('show of a folder', document('show', 0, 'show', trainer, 'transformer.wte.weight')['$tensor']['dtype'],
          'float32')

    broken = os.path.join(folder, 'broken')
    shutil.copytree(shards, broken)
    os.remove(os.path.join(broken, 'pytorch_model-00002-of-00003.bin'))
    with open(os.path.join(broken, 'pytorch_model-00001-of-00003.bin'), 'r+b') as f:
        f.seek(f.seek(0, 2) // 2)
        byte = f.read(1)
        f.seek(-1, 1)
        f.write(bytes([byte[0] ^ 1]))
    refused = document('a missing shard', 2, 'ls', broken)['error']
    check('it is named', refused['code'] == 'shards_inconsistent' and '00002-of-00003' in refused['message'], refused)
    report = document('verify lists all', 2, 'verify', broken)
    equal('what verify finds', sorted((f['error']['code'], f['error']['file']) for f in report['findings']),
          [('checksum_mismatch', 'pytorch_model-00001-of-00003.bin'), ('shards_inconsistent', index)])
    code, out, err = ckpt('info', broken)
    check('info still shows the files', code == 2 and 'shard 3 of 3' in out and err.count('\n') == 1, (code, out, err))
    two = os.path.join(folder, 'two')
    os.mkdir(two)
    for name, path in (('pytorch_model.bin', MLP), ('model.safetensors', os.path.join(trainer, 'model.safetensors'))):
        shutil.copy(path, os.path.join(two, name))
    equal('two candidate sets', document('two', 1, 'ls', two)['error']['code'], 'state_dict_ambiguous')
    os.remove(os.path.join(two, 'model.safetensors'))
    os.rename(os.path.join(two, 'pytorch_model.bin'), os.path.join(two, 'optimizer.pt'))
    equal('no weights', document('none', 1, 'ls', two)['error']['code'], 'state_dict_missing')
    equal('JSON that is no index', document('json', 2, 'ls', os.path.join(trainer, 'config.json'))['error']['code'],
          'not_a_checkpoint')
    # Parts of one model are joined where their layout is known, and otherwise refused as parts.
    parts = framework('llama_parts', 'llama3')
    said = document('info of parts', 0, 'info', parts)
    equal('the container of parts', (said['container'], sum(c['tensors'] for c in said['candidates'][:1])),
          ('parts', 22))
    for name, files in (('half', {'consolidated.00.pth': os.path.join(parts, 'consolidated.00.pth')}),
                        ('ranks', {'mp_rank_00_model_states.pt': MLP, 'mp_rank_01_model_states.pt': MLP}),
                        ('megatron', {'mp_rank_00/model_optim_rng.pt': MLP, 'mp_rank_01/model_optim_rng.pt': MLP}),
                        ('fairscale', {'a-shard0.pt': MLP, 'a-shard1.pt': MLP}),
                        ('layers',
                         {'layer_00-model_00-model_states.pt': MLP, 'layer_01-model_00-model_states.pt': MLP}),
                        ('missing', {'model-00001-of-00002.pt': MLP}),
                        ('twice', {'model-00001-of-00002.pt': MLP, 'model-00002-of-00002.pt': MLP})):
        for inside, path in files.items():
            os.makedirs(os.path.join(folder, name, os.path.dirname(inside)), exist_ok=True)
            shutil.copy(path, os.path.join(folder, name, inside))
        for command in ('ls', 'info'):
            check(command + ' of parts: ' + name, ckpt(command, os.path.join(folder, name))[0] == 4)
        equal('verify of parts: ' + name,
              [f['error']['code'] for f in document('verify', 4, 'verify', os.path.join(folder, name))['findings']],
              ['parts_not_joined'])
        equal('a part by its own path: ' + name, ckpt('ls', os.path.join(folder, name, inside))[0], 0)
    # An index opens what it names, whatever that is called; nothing of it may go unseen.
    odd = os.path.join(folder, 'odd')
    os.mkdir(odd)
    with zipfile.ZipFile(os.path.join(odd, 'weights.dat'), 'w') as z:
        z.writestr('archive/data.pkl', PROTO + b'cposix\nsystem\n' + text('echo hi') + b'\x85R.')
    with open(os.path.join(odd, 'model.safetensors.index.json'), 'w') as f:
        json.dump({'weight_map': {'a': 'weights.dat'}}, f)
    for where in (odd, os.path.join(odd, 'model.safetensors.index.json')):
        equal('a dangerous name behind an index', document('odd', 1, 'globals', where)['files'][0]['verdict'],
              'dangerous')
        check('verify of it', document('odd', 1, 'verify', where)['ok'] is False)
    equal('ls of it', document('odd', 1, 'ls', odd)['error']['code'], 'global_not_allowed')


def safetensors():
    path = framework('transformers-5.23', 'checkpoint-4', 'model.safetensors')
    said = document('info of safetensors', 0, 'info', path)
    equal('info', (said['container'], said['verdict'], said['candidates'][0]['path']), ('safetensors', 'clean', []))
    check('metadata for people', "format: 'pt'" in ckpt('info', path)[1])
    equal('no globals', document('globals', 0, 'globals', path)['files'][0]['globals'], [])
    row = document('ls of safetensors', 0, 'ls', path, '--strict')['tensors'][0]
    check('no file in a row of a file', 'file' not in row and row['layout'] == 'strided', row)
    with open(path, 'rb') as f:
        data = f.read()
    cut = os.path.join(folder, 'cut.safetensors')
    with open(cut, 'wb') as f:
        f.write(data[:-1])
    equal('a cut one', document('cut', 2, 'ls', cut)['error']['code'], 'safetensors_invalid')
    equal('its verdict', document('cut', 2, 'globals', cut)['files'][0]['verdict'], 'unreadable')


def modules():
    path = framework('modules', 'torch_module.pt')
    rows = document('ls of a module', 0, 'ls', path)['tensors']
    check('state_dict names in one element', rows and all(r['path'] == [r['key']] for r in rows), rows[:2])
    yolo = framework('ultralytics-8.4', 'epoch0.pt')
    rows = document('ls of a module below a key', 0, 'ls', yolo)
    equal('what was selected', rows['selected'], ['ema'])
    equal('the path goes through the key', rows['tensors'][0]['path'], ['ema', rows['tensors'][0]['key']])
    both = framework('ultralytics-8.4', 'like_8.0.pt')
    question = document('raw and averaged', 1, 'ls', both)['error']
    check('the error lists both',
          question['code'] == 'state_dict_ambiguous' and '"model"' in question['message']
          and '"ema"' in question['message'],
          question)
    equal('the same keys', [r['key'] for r in document('ema', 0, 'ls', both, '--select', 'ema')['tensors']],
          [r['key'] for r in document('model', 0, 'ls', both, '--select', 'model')['tensors']])
    equal('a parameter by its name',
          document('show', 0, 'show', yolo, 'ema/' + rows['tensors'][0]['key'])['$tensor']['shape'],
          rows['tensors'][0]['shape'])


def kinds():
    """Tensors that are not one array: sparse, quantised, wrapped, distributed."""
    path = framework('distributed', 'dtensor.pt')
    rows = {r['key']: r for r in document('a DTensor', 0, 'ls', path, '--digest', '--strict')['tensors']}
    columns = rows['columns']
    equal('shape, layout, class', (columns['shape'], columns['layout'], columns['class'], columns['crc32']),
          ([6, 4], 'wrapper', 'torch.distributed.tensor.DTensor', None))
    equal('placement', columns['placement'], 'Replicate(), Shard(1) on cpu mesh [2, 2] (dp, tp) at [0, 1]')
    equal('its part', [(p['key'], p['shape'], p['layout']) for p in columns['parts']],
          [('_local_tensor', [6, 2], 'strided')])
    check('a part has a storage and a digest',
          len(columns['parts'][0]['crc32']) == 8 and columns['parts'][0]['storage']
          and columns['parts'][0]['file_offset'],
          columns)
    equal('show says the same', document('show', 0, 'show', path, 'columns')['$tensor']['placement'],
          columns['placement'])
    code, out, err = ckpt('ls', path)
    check('for people',
          code == 0 and not err and 'columns:_local_tensor' in out
          and 'DTensor, Replicate(), Shard(1) on cpu mesh' in out,
          out)
    equal('parts count as rows', document('too many', 1, 'ls', path, '--max-nodes', '8')['error']['code'],
          'output_limit')
    quantised = os.path.join(DATA, 'torch-2.13', 'quantized.pt')
    rows = {r['key']: r for r in document('quantised', 0, 'ls', quantised, '--digest')['tensors']}
    equal('per tensor', rows['quint8']['quant'], {'scheme': 'per_tensor_affine', 'scale': 0.1, 'zero_point': 10})
    quant = rows['channel']['quant']
    equal('per channel', (quant['scheme'], quant['axis'], quant['scale']['shape'], quant['zero_point']['dtype']),
          ('per_channel_affine', 0, [4], 'int64'))
    check('digest of the integers', 'crc32' in rows['quint4x2'] and 'parts' not in rows['channel'], rows)
    equal('equal to itself', document('diff', 0, 'diff', quantised, quantised)['equal'], 5)
    path = os.path.join(folder, 'infinite_scale.pt')
    with zipfile.ZipFile(quantised) as old, zipfile.ZipFile(path, 'w') as new:
        for name in old.namelist():
            new.writestr(name,
                         old.read(name).replace(b'G' + struct.pack('>d', 0.1), b'G' + struct.pack('>d', float('inf'))))
    equal('an infinite scale', document('infinite', 0, 'show', path, 'quint8')['$tensor']['quant']['scale'],
          {'$float': 'inf'})
    check('an infinite scale for people', 'scale inf, zero point 10' in ckpt('ls', path)[1], ckpt('ls', path)[1])
    equal('sparse too', document('diff', 0, 'diff', *[os.path.join(DATA, 'torch-2.13', 'sparse.pt')] * 2)['equal'], 6)
    # An index outside the shape: the row stands, and whoever checks says so.
    long_tensor = tensor('0', 2, [1, 2]).replace(b'FloatStorage', b'LongStorage')
    shape = b'(' + number(3) + b't'
    bad = PROTO + dictionary([('s', b'ctorch._utils\n_rebuild_sparse_tensor\n(' + number(1) + shape + b'\x89' +
                                    long_tensor + tensor('1', 2, [2]) + b'NtR')]) + b'.'
    for last, exit_code in ((2, 0), (3, 1)):
        path = save('sparse_%d.pt' % last, bad, [('0', struct.pack('<2q', 0, last)), ('1', floats(2))])
        equal('listed', document('ls', 0, 'ls', path)['tensors'][0]['layout'], 'sparse_coo')
        row = document('strict', exit_code, 'ls', path, '--strict')['tensors'][0]
        verified = document('verify', exit_code, 'verify', path)
        if exit_code:
            equal('the row says why', row['error']['code'], 'indices_invalid')
            equal('so does verify', [f['error']['code'] for f in verified['findings']], ['indices_invalid'])


def differences():
    a = save('a.pt', PROTO + dictionary([('x', tensor('0', 6, [6])), ('y', tensor('0', 6, [2, 3])),
                                         ('z', tensor('0', 6, [3]))]) + b'.',
             [('0', floats(6))])
    b = save('b.pt',
             PROTO + dictionary([('w', tensor('0', 6, [6])), ('x', tensor('0', 6, [6])), ('y', tensor('0', 6, [3, 2])),
                                 ('z', tensor('0', 6, [3]))]) + b'.',
             [('0', struct.pack('<6f', 0, 1, 2, 3, 4, 5.5))])
    said = document('diff', 1, 'diff', a, b)
    equal('what differs', said,
          {'schema': 'ckpt.diff/1', 'only_a': [], 'only_b': ['w'],
           'changed': [{'key': 'x', 'why': 'values', 'max_abs_diff': 0.5,
                        'distance': {'values': 6, 'different': 1, 'max_abs': 0.5, 'max_rel': 0.5 / 5.5, 'nan': 0}},
                       {'key': 'y', 'why': 'shape'}], 'equal': 1})
    equal('nothing', document('equal', 0, 'diff', a, a),
          {'schema': 'ckpt.diff/1', 'only_a': [], 'only_b': [], 'changed': [], 'equal': 3})
    code, out, err = ckpt('diff', a, b)
    check('for people',
          code == 1 and not err and 'differ   x: other values, at most 0.5 apart' in out
          and '[2, 3] against [3, 2]' in out and 'only b   w' in out,
          (code, out, err))
    nested = save('nested.pt',
                  PROTO + dictionary([('model', dictionary([('x', tensor('0', 6, [6]))])),
                                      ('ema', dictionary([('x', tensor('0', 6, [6]))]))]) + b'.',
                  [('0', floats(6))])
    failure = document('an ambiguous side', 1, 'diff', a, nested)['error']
    equal('says which side', (failure['code'], failure['file']), ('state_dict_ambiguous', nested))
    equal('paths of both sides',
          document('paths', 0, 'diff', nested, nested, '--select-a', 'model', '--select-b', '["ema"]')['equal'], 1)
    document('a path that is not there', 1, 'diff', nested, nested, '--select-a', 'model', '--select-b', 'nothing')
    document('a file that is not there', 2, 'diff', a, os.path.join(folder, 'absent.pt'))
    digest = [line for line in ckpt('ls', a, '--digest')[1].splitlines() if line.startswith('digest ')]
    check('one digest for the whole', len(digest) == 1 and len(digest[0]) == 71, digest)
    check('and none without --digest', 'digest' not in ckpt('ls', a)[1])


# --- key rules --------------------------------------------------------------------------------------------------------

def written(name, content):
    path = os.path.join(folder, name)
    with open(path, 'wb') as f:
        f.write(content if isinstance(content, bytes) else content.encode('utf-8'))
    return path


MAP_KEYS = ['schema', 'moves', 'dropped', 'aliased', 'filled', 'unused_rules', 'collisions', 'missing', 'unexpected',
            'mismatched', 'ok']
CHINESE_CLIP = '''# from DDP to flash attention
strip wrappers
?drop  bert.pooler.**
rename visual.transformer.resblocks.{i:int}.attn.in_proj_{leaf:weight|bias} -> visual.transformer.resblocks.{i}.attn.Wqkv.{leaf}
rename bert.encoder.layer.{i:int}.attention.output.dense.{leaf} -> bert.encoder.layer.{i}.attention.self.out_proj.{leaf}
merge 0 {p:**}.self.query.{leaf}, {p:**}.self.key.{leaf}, {p:**}.self.value.{leaf} -> {p}.self.Wqkv.{leaf}
'''


def maps():
    plain, flash = framework('cn_clip-1.6', 'epoch_latest.pt'), framework('cn_clip-1.6', 'epoch_latest_flash.pt')
    rules = written('flash.rules', CHINESE_CLIP + 'add module.\n')
    said = document('map of the example', 0, 'map', plain, '--rules', rules, '--target', flash, '--strict')
    equal('map: keys of the document', list(said), MAP_KEYS)
    equal('map: schema and verdict',
          (said['schema'], said['ok'], said['missing'], said['unexpected'], said['mismatched'], said['dropped']),
          ('ckpt.map/1', True, [], [], [], []))
    moves = {m['from']: m for m in said['moves']}
    query = 'module.bert.encoder.layer.0.attention.self.query.weight'
    equal('map: a move', moves[query],
          {'from': query, 'to': 'module.bert.encoder.layer.0.attention.self.Wqkv.weight', 'op': 'add', 'rule': 6})
    equal('map: every key of this file moves', len(said['moves']), 59)
    equal('the values are those of the other model',
          document('diff after rules', 0, 'diff', plain, flash, '--rules', rules),
          {'schema': 'ckpt.diff/1', 'only_a': [], 'only_b': [], 'changed': [], 'equal': 51})
    document('diff without rules', 1, 'diff', plain, flash)
    code, out, err = ckpt('map', plain, '--rules', rules, '--target', flash)
    check('map for people',
          code == 0 and not err and out.splitlines()[-1].startswith('59 keys -> 51: 59 moved, reversible')
          and out.endswith('as the target wants them; ok\n'),
          (code, out, err))
    out = terminal('map on a terminal', 'map', plain, '--rules', rules, env={'NO_COLOR': '1', 'COLUMNS': '200'})
    if out is not None:
        check('map folds there', 'Wqkv.weight' in out and '{query,key,value}' in out, out)
    rows = document('ls after rules', 0, 'ls', plain, '--rules', rules, '--digest', '--strict')
    there = {r['key']: r for r in document('ls of the other', 0, 'ls', flash, '--digest')['tensors']}
    equal('ls --rules: the keys', sorted(r['key'] for r in rows['tensors']), sorted(there))
    equal('ls --rules: the digests', sorted((r['key'], r['crc32']) for r in rows['tensors']),
          sorted((k, r['crc32']) for k, r in there.items()))
    merged = [r for r in rows['tensors'] if r['key'] == moves[query]['to']][0]
    equal('ls --rules: a gathered row', (list(merged), merged['storage'], merged['shape'], merged['stride']),
          (['key', 'path', 'dtype', 'shape', 'stride', 'layout', 'storage', 'storage_offset', 'nbytes', 'requires_grad',
            'crc32'],
           None, [12, 4], [4, 1]))
    equal('ls --rules: the path is the new key below the selected one', merged['path'], ['state_dict', merged['key']])
    renamed = [r for r in rows['tensors'] if r['key'].endswith('resblocks.0.attn.Wqkv.weight')][0]
    check('ls --rules: what is only renamed keeps its place in the file',
          renamed['storage'] is not None and 'file_offset' in renamed, renamed)
    check('ls --rules for people', ckpt('ls', plain, '--rules', rules)[1].splitlines()[-1].startswith('51 tensors'))
    equal('ls --rules --max-nodes',
          document('too many', 1, 'ls', plain, '--rules', rules, '--max-nodes', '20')['error']['code'], 'output_limit')

    # Small files with every list.
    path = save('parts.pt',
                PROTO + dictionary([('module.a', tensor('0', 6, [6])), ('module.b', tensor('0', 6, [2, 3])),
                                    ('module.t', tensor('0', 6, [6])), ('x.0.w', tensor('1', 3, [3])),
                                    ('x.1.w', tensor('1', 3, [3], offset=0))]) + b'.',
                [('0', floats(6)), ('1', floats(3))])
    all_rules = written(
        'all.rules',
        'strip module.\nrename t -> a\ndrop b\nstrip nothing.\nfill 0 float32 (2) extra\n? strip neither.\n')
    said = document('map with every list', 0, 'map', path, '--rules', all_rules)
    equal('map: every list', said,
          {'schema': 'ckpt.map/1', 'moves': [{'from': 'module.a', 'to': 'a', 'op': 'strip', 'rule': 1}],
           'dropped': [{'from': 'module.b', 'rule': 3}], 'aliased': [{'key': 'module.t', 'same_as': 'module.a'}],
           'filled': ['extra'], 'unused_rules': [4], 'collisions': [], 'missing': [], 'unexpected': [],
           'mismatched': [], 'ok': True})
    out = ckpt('map', path, '--rules', all_rules)[1]
    check('map says what cannot be undone',
          'one way     rule 2 (rename t -> a) cannot be undone: it merged two names of one tensor under "a"\n' in out
          and 'reversible' not in out,
          out)
    check('--strict: an unused rule is a finding',
          document('map --strict', 1, 'map', path, '--rules', all_rules, '--strict')['ok'] is False)
    filled = [r for r in document('ls of a filled one', 0, 'ls', path, '--rules', all_rules, '--digest')['tensors']
              if r['key'] == 'extra'][0]
    equal('a filled row', (filled['storage'], filled['crc32'], 'file_offset' in filled),
          (None, '%08x' % zlib.crc32(bytes(8)), False))
    clash = written('clash.rules', 'rename module.b -> x.0.w\n')
    said = document('a collision', 1, 'map', path, '--rules', clash, '--target', path)
    equal('map: a collision', (said['collisions'], said['ok'], said['missing'], list(said)),
          ([{'to': 'x.0.w', 'from': ['x.0.w', 'module.b'], 'rules': [None, 1]}], False, [], MAP_KEYS))
    equal('ls of it', document('ls of a collision', 1, 'ls', path, '--rules', clash)['error']['code'], 'remap_failed')
    equal('diff of it', document('diff of a collision', 1, 'diff', path, path, '--rules', clash)['error']['code'],
          'remap_failed')
    code, out, err = ckpt('map', path, '--rules', clash, '--target', path)
    check('a collision for people',
          code == 1 and not err and 'collision   x.0.w' in out and 'x.0.w (untouched)' in out
          and '(rule 1, rename module.b -> x.0.w)' in out and 'not ok' in out,
          (code, out, err))
    part = written('part.rules', 'merge 0 {p}.a, {p}.c -> {p}.ac\n')
    said = document('an incomplete merge', 1, 'map', path, '--rules', part)
    equal('map: errors are there where there are any', (list(said), said['errors'][0]['error']['code'], said['ok']),
          (MAP_KEYS[:-1] + ['errors', 'ok'], 'remap_failed', False))
    check('an error names the rule and the missing part',
          'rule 1' in said['errors'][0]['error']['message'] and 'module.c' in said['errors'][0]['error']['message'],
          said)
    check('for people too', 'error       rule 1' in ckpt('map', path, '--rules', part)[1])
    none = written('none.rules', '# nothing\n\n')
    equal('no rules change nothing',
          document('no rules', 0, 'map', path, '--rules', none, '--target', path, '--strict')['moves'], [])

    # Targets.
    keys = written('keys.txt', '\ufeff# what is wanted\r\na 6\r\n"b" [2, 3]  # a comment\n\n\tx.0.w (3,)\nx.1.w\n')
    strip = written('strip.rules', 'strip module.\n')
    said = document('a list of keys', 1, 'map', path, '--rules', strip, '--target', keys)
    equal('what it finds', (said['missing'], said['unexpected'], said['mismatched']), ([], ['t'], []))
    keys = written('keys2.txt', 'a [7]\nb 3 2\nc\nt\nx.0.w 3\nx.1.w []\n')
    said = document('another', 1, 'map', path, '--rules', strip, '--target', keys)
    equal('missing and mismatched', (said['missing'], said['unexpected'], said['mismatched']),
          (['c'], [], [{'key': 'a', 'want': [7], 'got': [6]}, {'key': 'b', 'want': [3, 2], 'got': [2, 3]},
                       {'key': 'x.1.w', 'want': [], 'got': [3]}]))
    near = written('keys3.txt', 'head.weight [6]\nb\nt\nx.0.w\nx.1.w\nlayers.weighs 5\n')
    heads = save('near.pt',
                 PROTO + dictionary([('heads.weight', tensor('0', 6, [3])), ('header.weight', tensor('0', 6, [6])),
                                     ('b', tensor('0', 6, [6]))]) + b'.',
                 [('0', floats(6))])
    code, out, _ = ckpt('map', heads, '--rules', none, '--target', near)
    check('a hint prefers the same shape', code == 1 and 'head.weight [6]; nearest: header.weight' in out, out)
    for content, what in (('a b c\n', 'is no size'), ('a [1, 2\n', 'without its'), ('"a\n', 'do not end'),
                          ('a\nb\na\n', 'line 1 already'), ('a 1,\n', 'comma'), ('a [1] x\n', 'behind the shape'),
                          ('a -1\n', 'is no size'), ('a 99999999999999999999\n', 'is no size'),
                          ('a' + ' 1' * 65, '64 dimensions'), ('""\n', 'empty key')):
        wrong = written('wrong.txt', content)
        code, out, err = ckpt('map', path, '--rules', strip, '--target', wrong)
        check('a list that cannot be read: %r' % content[:20],
              code == 3 and not out and what in err and 'wrong.txt:' in err and err.count('\n') == 1, (code, out, err))
        equal('the same with --json',
              document('wrong list', 3, 'map', path, '--rules', strip, '--target', wrong)['error']['code'], 'usage')
    binary, empty = written('binary.bin', bytes(range(256))), written('empty.txt', b'')
    equal('a target that is neither',
          document('binary', 2, 'map', path, '--rules', strip, '--target', binary)['error']['code'], 'not_a_checkpoint')
    equal('an empty target',
          document('empty', 2, 'map', path, '--rules', strip, '--target', empty)['error']['code'], 'not_a_checkpoint')
    equal('an absent target', document('absent', 2, 'map', path, '--rules', strip, '--target',
                                       os.path.join(folder, 'absent.txt'))['error']['number'],
          101)
    document('paths in a list', 3, 'map', path, '--rules', strip, '--target', near, '--select-target', 'a')
    trainer, shards = framework('transformers-5.23', 'checkpoint-4'), framework('transformers-4.57', 'shards_bin')
    tied = written('tied.rules', 'drop lm_head.weight\n')
    index = os.path.join(shards, 'pytorch_model.bin.index.json')
    for file in (shards, index):
        check('a folder or an index as FILE, a folder as the target',
              document('folder', 0, 'map', file, '--rules', tied, '--target',
                       framework('transformers-4.57', 'shards_safetensors'))['ok'])
    equal('a set of files: rows have theirs',
          [r for r in document('ls of shards', 0, 'ls', index, '--rules', tied)['tensors'] if 'file' not in r], [])
    fuse = written('fuse.rules', 'merge 0 **.ln_1.weight, **.ln_1.bias -> all\n'.replace('**', 'transformer.h.0'))
    rows = document('rules over a folder', 0, 'ls', trainer, '--rules', fuse)['tensors']
    stacked = [r for r in rows if r['key'] == 'all'][0]
    equal('a gathered row of one file in a folder', (stacked['file'], stacked['storage']), ('model.safetensors', None))
    equal('a target with a path', document('select', 0, 'map', MLP, '--rules', none, '--select', 'optimizer/state/0',
                                           '--target', MLP, '--select-target', '["optimizer","state",0]')['ok'],
          True)
    document('a path that is not there', 1, 'map', MLP, '--rules', none, '--select', 'optimizer/stat')
    document('a global that is refused', 1, 'map', MLP, '--rules', none, '--policy', 'weights')
    document('a file that is none', 2, 'map', rules, '--rules', none)
    bad = save('pastmap.pt', PROTO + dictionary([('good', tensor('0', 6, [6])), ('bad', tensor('0', 6, [7]))]) + b'.',
               [('0', floats(6))])
    target = written('bad.txt', 'good\nbad 7\n')
    equal('a tensor that cannot be built fits no shape',
          document('refused', 1, 'map', bad, '--rules', none, '--target', target)['mismatched'],
          [{'key': 'bad', 'want': [7], 'got': None}])
    rows = document('ls refused', 0, 'ls', bad, '--rules', written('x.rules', 'add x.\n'))['tensors']
    equal('its row after rules', [r['error']['code'] for r in rows if r['key'] == 'x.bad'], ['out_of_bounds'])

    # Faults of records follow the tensors.
    path2 = save('damagedmap.pt', PROTO + dictionary([('w', tensor('0', 6, [6])), ('v', tensor('1', 3, [3]))]) + b'.',
                 [('0', floats(6)), ('1', floats(3))])
    with open(path2, 'rb') as f:
        whole = f.read()
    at = whole.find(b'archive/data/0') + 13
    header = written('headermap.pt', whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
    fuse = written('wv.rules', 'merge 0 w, v -> wv\n')
    equal('a fault of a part stays in the row that is made of it',
          [r['error']['code'] for r in document('strict', 1, 'ls', header, '--rules', fuse, '--strict')['tensors']],
          ['zip_header_mismatch'])
    equal('a fault of a dropped one is a document',
          document('strict', 2, 'ls', header, '--rules', written('w.rules', 'drop w\n'), '--strict')['error']['code'],
          'zip_header_mismatch')
    document('not without --strict', 0, 'ls', header, '--rules', fuse)

    explanations(plain, rules, path, clash)
    hostile_rules(path)
    suggestions(plain, flash)


def ready_maps():
    hf, openai = framework('names_whisper', 'hf.pt'), framework('names_whisper', 'openai.pt')
    digests = [sorted((row['key'], row['crc32'])
                      for row in document('ls ' + path, 0, 'ls', path, '--digest', *more)['tensors'])
               for path, more in ((openai, ()), (hf, ('--map', 'whisper_hf_to_openai')))]
    equal('ls --map gives the other form', *digests)
    equal('diff --map', document('diff --map', 0, 'diff', hf, openai, '--map', 'whisper_hf_to_openai')['equal'], 89)
    said = document('map --map', 0, 'map', hf, '--map', 'whisper_hf_to_openai', '--target', openai)
    check('map --map', said['ok'] and not said['missing'], said)
    llama = framework('names_llama', 'llama_hf.pt')
    with_heads = 'hf_llama_to_gguf:heads=4,kv_heads=2,head_dim=8'
    for target, name in (('llama_gguf.pt', with_heads), ('llama_meta.pt', with_heads.replace('gguf', 'meta'))):
        equal(name, document(name, 0, 'diff', llama, framework('names_llama', target), '--map', name)['equal'], 21)
    tied, of_gguf = framework('names_llama', 'llama_tied_hf.pt'), framework('names_llama', 'llama_tied_gguf.pt')
    check('a setting that need not be given', ckpt('diff', tied, of_gguf, '--map', with_heads + ',tied=1')[0] == 0)
    check('and without it', ckpt('diff', tied, of_gguf, '--map', with_heads)[0] == 1)
    for name, sentence in (
            ('whisper_hf_to_opena', 'did you mean "whisper_hf_to_openai"'), ('', 'The maps are: '),
            ('hf_llama_to_gguf:heads=4',
             'needs heads=N,kv_heads=N,head_dim=N[,tied=0]; write hf_llama_to_gguf:kv_heads=N'),
            ('hf_llama_to_gguf:heads=x', '"heads=x" is no setting of the map'),
            ('hf_llama_to_gguf:heads', '"heads" is no setting'), ('hf_llama_to_gguf:heads=', '"heads=" is no setting'),
            ('hf_llama_to_gguf:heads=-4', 'is no setting'), ('hf_llama_to_gguf:heads=9223372036854775808', 'is no'),
            ('gpt2_hf_to_llm_c:a=1', 'which takes none'), ('gpt2_hf_to_llm_c:=1', 'which takes none'),
            ('hf_llama_to_gguf:heads=4,kv_heads=3,head_dim=8', 'no Llama has 4 heads')):
        code, out, err = ckpt('map', hf, '--map', name)
        check('--map ' + name, code == 3 and not out and sentence in err and '; --map' in err, (code, out, err))
    check('one of both', ckpt('map', hf, '--map', 'without_wrappers', '--rules', hf)[0] == 3)
    listed = ckpt('map', hf, '--map', '')[2].split('The maps are: ')[1].split(';')[0].split(', ')
    folder_of_maps = os.path.join(os.path.dirname(os.path.dirname(HERE)), 'include', 'ckpt', 'maps')
    declared = set()
    for header in os.listdir(folder_of_maps):
        if header.endswith('.hpp') and header != 'clip_towers.hpp':  # no maps, but what maps have in common
            with open(os.path.join(folder_of_maps, header), encoding='utf-8') as f:
                declared.update(re.findall(r'key_map>? (\w+)\(', f.read()))
    equal('every map has its name here', sorted(listed), sorted(declared - {'averages_to_raw'}))


def explanations(plain, rules, path, clash):
    query = 'module.bert.encoder.layer.0.attention.self.query.weight'
    said = document('explain', 0, 'map', plain, '--rules', rules, '--explain', query)
    equal('explain: keys', (list(said), said['schema'], said['key']),
          (['schema', 'key', 'trace'], 'ckpt.map.explain/1', query))
    equal('explain: the rules on the way', [(list(t), t['rule']) for t in said['trace']],
          [(['rule', 'text', 'before', 'after'], n) for n in (1, 5, 6)])
    equal('explain: a step', said['trace'][0],
          {'rule': 1, 'text': 'strip wrappers', 'before': [query], 'after': [query[7:]]})
    equal('explain: a merge has all its parts', len(said['trace'][1]['before']), 3)
    code, out, err = ckpt('map', plain, '--rules', rules, '--explain', query)
    check('explain for people',
          code == 0 and not err and 'rule 1: strip wrappers\n' in out and 'float32 [12, 4]' in out
          and out.count('rule ') == 3,
          (code, out, err))
    fused = 'module.bert.encoder.layer.1.attention.self.Wqkv.bias'
    trace = document('result', 0, 'map', plain, '--rules', rules, '--explain', fused)['trace']
    equal('explain of a key of the result', [t['rule'] for t in trace][-1], 6)
    wrong = document('explain of nothing', 1, 'map', plain, '--rules', rules, '--explain', query + 's')['error']
    check('a wrong key names the nearest', wrong['code'] == 'key_missing' and '"%s"' % query in wrong['message'], wrong)
    target = written('zz.txt', 'zz\n')
    wrong = document('of the target', 1, 'map', plain, '--rules', rules, '--target', target, '--explain', 'zz')['error']
    check('and the target', 'which the target wants' in wrong['message'])
    stopped = document('explain of a stop', 1, 'map', path, '--rules', clash, '--explain', 'module.b')
    equal('a trace up to the stop', stopped['trace'],
          [{'rule': 1, 'text': 'rename module.b -> x.0.w', 'before': ['module.b'], 'after': ['x.0.w']}])
    check('a key that no rule touches',
          'no rule touches it' in ckpt('map', path, '--rules', clash, '--explain', 'module.a')[1])
    dropped = ckpt('map', path, '--rules', written('dropb.rules', 'drop module.b\n'), '--explain', 'module.b')[1]
    check('a dropped key', 'module.b -> dropped' in dropped, dropped)
    odd = save('odd_key.pt', PROTO + dictionary([('[x', tensor('0', 6, [6]))]) + b'.', [('0', floats(6))])
    check('a key that begins with a bracket',
          'no rule touches it' in ckpt('map', odd, '--rules', clash, '--explain', '[x')[1])


def hostile_rules(path):
    broken = written('broken.rules', '# first\nrename a.{i:int}.b -> c.{j}.b\n')
    for command in (('map', path), ('ls', path), ('diff', path, path)):
        code, out, err = ckpt(*command, '--rules', broken)
        lines = err.splitlines()
        check('the caret of ' + command[0],
              code == 3 and not out and len(lines) == 3 and lines[0] == broken + ':2: "{j}" is not bound by the pattern'
              and lines[1] == '  rename a.{i:int}.b -> c.{j}.b' and lines[2] == ' ' * 26 + '^^^',
              (code, out, err))
        said = document('a broken rules file, ' + command[0], 3, *command, '--rules', broken)['error']
        equal('its error', (said['code'], said['number'], said['offset'], said['file']),
              ('rule_invalid', 702, 32, broken))
    for name, content, what in (('nul', b'strip a.\0\n', 'control character'), ('utf8', b'strip \xff.\n', 'not UTF-8'),
                                ('long', b'drop ' + b'a' * 5000, '4096'),
                                ('huge', b'#' * 4000 + (b'\n#' + b'x' * 4000) * 300, '1 MiB'),
                                ('deep', b'drop a where ' + b'(' * 200 + b'ndim == 1' + b')' * 200, ''),
                                ('open', b'first {\ndrop a\n', 'not closed'), ('words', b'frobnicate a\n', ''),
                                ('bytes', bytes(range(256)) * 8, 'control'),
                                ('escape', b'drop \x1b[31mred\n', 'control'),
                                ('bidi', 'drop a -> \u202e'.encode(), '')):
        file = written('hostile_%s.rules' % name, content)
        code, out, err = ckpt('map', path, '--rules', file)
        bad = [c for c in err if c != '\n' and (ord(c) < 32 or 0x7f <= ord(c) < 0xa0 or c in '\u202e\U000e0200')]
        check('hostile rules: ' + name,
              code == 3 and not out and not bad and what in err and max(map(len, err.splitlines())) < 400,
              (code, out[:100], err[:300]))
        check('hostile rules, --json: ' + name,
              document('hostile ' + name, 3, 'map', path, '--rules', file)['error']['code']
              in ('rule_invalid', 'rules_unreadable'))
    equal('no rules file',
          document('none', 3, 'map', path, '--rules', os.path.join(folder, 'absent.rules'))['error']['code'],
          'cannot_open')
    equal('a folder as the rules', document('a folder', 3, 'map', path, '--rules', folder)['error']['code'],
          'read_failed')
    check('an error is one line', ckpt('map', path, '--rules', folder)[2].count('\n') == 1)
    windows = written('windows.rules', b'\xef\xbb\xbfstrip module.\r\n# \xc3\xa9\r\n')
    equal('a byte order mark and CRLF', len(document('windows', 0, 'map', path, '--rules', windows)['moves']), 3)
    # A rule that matches slowly, one that grows, one that asks for too much: answers all the same.
    many = save('many.pt', PROTO + dictionary([('a.' * 40 + '%d' % i, tensor('0', 6, [6])) for i in range(50)]) + b'.',
                [('0', floats(6))])
    # The one that grows has 4 million moves, too many for JSON here; it says once where it ended.
    for name, content in (('slow', 'drop **.**.**.**.**.**.**.**.**.b\n'), ('pad', 'pad 0 0 4611686018427387904 **\n')):
        code, out, err = ckpt('map', many, '--rules', written(name + '.rules', content), '--json', timeout=60)
        check('a costly map ends: ' + name, code in (0, 1) and json.loads(out)['schema'] == 'ckpt.map/1',
              (code, out[:200], err[:200]))
    grow = written('grow.rules', ''.join('copy {p:**} -> c%d.{p}\n' % i for i in range(17)))
    code, out, err = ckpt('map', many, '--rules', grow, timeout=200)
    check('a costly map ends: grow', code == 1 and out.count('there would be more than 4000000 keys') == 1,
          (code, out[-600:], err[:200]))
    strange = 'red\x1b[31m\u202e\x07\n\u009b\U000e0200'
    file = save('strangemap.pt',
                PROTO + dictionary([(strange + '.a', tensor('0', 6, [6])), ('b', tensor('0', 6, [6]))]) + b'.',
                [('0', floats(6))])
    drop = written('dropall.rules', 'add x.\ndrop **.b\n')
    for args in (('map', file, '--rules', drop), ('map', file, '--rules', drop, '--target', path),
                 ('map', file, '--rules', drop, '--explain', strange + '.a'),
                 ('map', file, '--rules', drop, '--explain', strange), ('ls', file, '--rules', drop),
                 ('map', file, '--suggest', '--target', path), ('map', path, '--suggest', '--target', file)):
        code, out, err = ckpt(*args)
        bad = [c for c in out + err if c != '\n' and (ord(c) < 32 or 0x7f <= ord(c) < 0xa0 or c in '\u202e\U000e0200')]
        check('control characters are escaped: %s' % (args[0::2],), not bad and (out + err), (code, out, err))


def suggestions(plain, flash):
    def suggested(name, source, target, code=None):
        text = ckpt('map', source, '--suggest', '--target', target)
        guessed = ' of them are guesses.\n' in text[1]
        code = int(guessed) if code is None else code
        check('%s: exit %d and no error' % (name, code), text[0] == code and not text[2], text)
        said = document(name, code, 'map', source, '--suggest', '--target', target)
        equal('%s: the same with --json' % name, (list(said), said['rules']), (['rules', 'guesses'], text[1]))
        equal('%s: guesses are counted' % name, len(said['guesses']),
              sum(int(line.split()[1]) for line in text[1].splitlines() if line.endswith(' of them are guesses.')))
        file = written('suggested.rules', text[1])
        return text[1], file
    for name, source, target in (('to flash attention', plain, flash), ('and back', flash, plain)):
        text, file = suggested(name, source, target)
        check(name + ': the rules do it',
              document(name, 0, 'map', source, '--rules', file, '--target', target, '--strict')['ok'])
        equal(name + ': value by value', document(name, 0, 'diff', source, target, '--rules', file)['changed'], [])
        check(name + ': what cannot be known is said', 'cannot tell another order' in text, text)
    for name, source, target, wanted in (
            ('clip', ('names_clip', 'open_clip.pt'), ('names_clip', 'open_clip_text.pt'), (0, 0, 0)),
            ('openai', ('names_clip', 'openai.pt'), ('names_clip', 'hf.pt'), (3, 0, 0)),
            ('densenet', ('names_torchvision', 'densenet_earlier.pt'), ('names_torchvision', 'densenet.pt'),
             (0, 13, 0)),
            ('vit', ('names_torchvision', 'vit_earlier.pt'), ('names_torchvision', 'vit.pt'), (0, 0, 0)),
            ('ddp', ('wrappers', 'ddp.pt'), ('wrappers', 'fsdp_of_checkpoint.pt'), (0, 0, 0))):
        source, target = framework(*source), framework(*target)
        text, file = suggested(name, source, target, 1 if name == 'densenet' else None)
        got = document('%s: diff' % name, 1 if any(wanted) else 0, 'diff', source, target, '--rules', file)
        equal('%s: keys of one side, and tensors with other values' % name,
              (len(got['only_a']), len(got['only_b']), len(got['changed'])), wanted)
        written_rules = [line for line in text.splitlines() if line and not line.startswith('#')]
        check('%s: readable' % name, len(written_rules) <= (24 if name == 'openai' else 20), text)
    text, _ = suggested('wrappers are stripped', framework('wrappers', 'ddp.pt'),
                        framework('wrappers', 'fsdp_of_checkpoint.pt'))
    check('wrappers', 'strip wrappers\n' in text, text)

    # What names cannot tell, and what is left over.
    a = save('sa.pt',
             PROTO + dictionary([('blue.weight', tensor('0', 6, [6])), ('green.weight', tensor('0', 6, [6])),
                                 ('red.weight', tensor('0', 6, [2, 3])), ('pool.x', tensor('0', 6, [1])),
                                 ('pool.y', tensor('0', 6, [1])), ('same', tensor('0', 6, [5]))]) + b'.',
             [('0', floats(6))])
    target = written('starget.txt', 'one.weight [6]\ntwo.weight [6]\nthree.weight [2, 3]\nsame [4]\nlast [9]\n')
    text, file = suggested('position', a, target, 1)
    check('by position is said',
          '# guesses: by shape and position only\nrename blue.weight -> one.weight\nrename green.weight -> two.weight\n'
          in text,
          text)
    check('the only ones of a shape',
          '# guesses: the only ones of this shape\nrename red.weight -> three.weight\n' in text, text)
    check('left-overs are comments',
          '# drop pool.**\n' in text and 'same: [5], not [4]' in text and '#   last\n' in text and '\ndrop' not in text,
          text)
    said = document('the rules of it', 1, 'map', a, '--rules', file, '--target', target)
    equal('they drop nothing', (said['dropped'], said['collisions'], said['missing'], sorted(said['unexpected'])),
          ([], [], ['last'], ['pool.x', 'pool.y']))
    line_feed = save('slf.pt', PROTO + dictionary([('end\n', tensor('0', 6, [6])), ('w', tensor('0', 6, [6]))]) + b'.',
                     [('0', floats(6))])
    text, _ = suggested('a line feed in a key', line_feed, written('slf.txt', 'q 5\n'), 1)
    check('no rule spells a line feed', '#   end\\n (no rule can spell it)\n# drop w\n' in text, text)
    swapped = written('swap.txt', 'green.weight 2 3\nred.weight 6\nblue.weight 6\npool.x 1\npool.y 1\nsame 5\n')
    text, file = suggested('a swap', a, swapped)
    check('a swap is one group',
          'first {' in text and document('a swap', 0, 'map', a, '--rules', file, '--target', swapped)['ok'], text)
    lying = written('lying.txt', 'blue.weight 6\ngreen.weight 6\nred.weight 3 2\npool.x 1\npool.y 1\nsame 5\n')
    text, file = suggested('a transpose', a, lying)
    check('what lies down is turned',
          '# transposed, as the shapes are\ntranspose 0 1 red.weight\n' in text
          and document('a transpose', 0, 'map', a, '--rules', file, '--target', lying)['ok'],
          text)
    lying = written('lying.txt', 'blue.weight 6\ngreen.weight 6\nprojection 3 2\npool.x 1\npool.y 1\nsame 5\n')
    text, file = suggested('a transpose under another name', a, lying)
    check('and named',
          'transpose 0 1 red.weight\nrename red.weight -> projection\n' in text
          and document('a transpose under another name', 0, 'map', a, '--rules', file, '--target', lying)['ok'],
          text)
    text, _ = suggested('nothing to do', a, a)
    check('no rules where names agree', not [line for line in text.splitlines() if not line.startswith('#')], text)
    keys = [r['key'][7:].replace('resblocks', 'blocks') for r in document('names', 0, 'ls', plain)['tensors']]
    target = written('names.txt', ''.join(key + '\n' for key in keys))
    text, file = suggested('names only', plain, target)
    check('a list without shapes', document('names only', 0, 'map', plain, '--rules', file, '--target', target)['ok'],
          text)
    # Bounded for many keys.
    names = ['w%d.%s.weight' % (i, chr(97 + i % 26) * (1 + i % 7)) for i in range(20_000)]
    header = json.dumps({n: {'dtype': 'U8', 'shape': [1], 'data_offsets': [i, i + 1]}
                         for i, n in enumerate(names)}).encode()
    big = written('big.safetensors', struct.pack('<Q', len(header)) + header + bytes(len(names)))
    target = written('big.txt', ''.join('v.%s [1]\n' % n for n in names))
    text, file = suggested('many keys', big, target)
    said = document('many keys', 0, 'map', big, '--rules', file, '--target', target)
    check('one rule for them', said['ok'] and 'add v.\n' in text, text[:300])
    code, out, _ = ckpt('map', big, '--rules', file)
    check('and a line for each, in a pipe', code == 0 and len(out.splitlines()) == 20_002, out[:300])


# --- for people -------------------------------------------------------------------------------------------------------

def people():
    everything = [MLP] + [os.path.join(at, f) for at, _, all_files in os.walk(DATA)
                          for f in sorted(all_files) if f.endswith(('.pt', '.ckpt'))]
    for path in everything:
        code, out, err = ckpt('info', path)
        short = os.path.relpath(path, DATA)
        if code != 0:
            check('info of ' + short, code in (2, 4) and err.count('\n') == 1, (code, err))
            continue
        out = terminal('info of ' + short, 'info', path, env={'NO_COLOR': '1'})
        if out is None:
            continue
        lines = out.splitlines()
        check('info fits one screen: ' + short, len(lines) <= 24 and max(map(len, lines)) <= 80,
              '%d lines, %d columns' % (len(lines), max(map(len, lines))))
    check('no colours in a pipe',
          all('\x1b' not in ckpt(*a)[1]
              for a in (('info', MLP), ('ls', MLP), ('show', MLP), ('globals', MLP), ('verify', MLP))))
    strange = 'red\x1b[31m\u202e\x07\n\u009b\U000e0200'
    path = save('strange.pt',
                pickle.dumps({strange: {strange: strange}}, 4)[:-1] + b'0' +
                dictionary([(strange, dictionary([(strange, tensor('0', 6, [6]))]))]) + b'.',
                [('0', floats(6))])
    for args in (('info', path), ('ls', path), ('ls', path, '--all'), ('show', path), ('show', path, strange + 'x'),
                 ('globals', path), ('ls', path, '--select', strange + 'x')):
        code, out, err = ckpt(*args)
        bad = [c for c in out + err if c != '\n' and (ord(c) < 32 or 0x7f <= ord(c) < 0xa0 or c in '\u202e\U000e0200')]
        check('control characters are escaped: %s' % (args[0],), not bad and (out + err), (code, out, err))
    equal('JSON keeps them', list(document('strange', 0, 'show', path)), [strange])
    lone = save('lone.pt', PROTO + dictionary([('\ud800\xe9', dictionary([('w', tensor('0', 6, [6]))]))]) + b'.',
                [('0', floats(6))])
    equal('a lone surrogate in a key', document('lone', 0, 'ls', lone, '--select', '["\\ud800\xe9"]')['selected'],
          ['\ud800\xe9'])
    empty = save('empty.pt', PROTO + dictionary([('a\\', dictionary([('', number(7))]))]) + b'.')
    equal('a path that ends in an empty key', document('empty', 0, 'show', empty, 'a\\\\/'), 7)
    own = save('one_line.pt', PROTO + b'cmy\nC\n.')
    code, out, err = ckpt('ls', own)
    check('an error is one line',
          code == 1 and not out and err.count('\n') == 1 and 'global_not_allowed (303)' in err and 'one_line.pt' in err,
          err)
    if sys.platform.startswith('linux'):
        with open('/dev/full', 'w') as full:
            done = subprocess.run([program, 'ls', MLP, '--json'], stdout=full, stderr=subprocess.DEVNULL)
        equal('a full disk', done.returncode, 2)
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([program, 'ls', MLP], stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
        equal('a reader that went away', (done.returncode, done.stderr), (0, b''))
    for env, wanted in (({'NO_COLOR': ''}, True), ({'NO_COLOR': '1'}, False)):
        out = terminal('colours on a terminal', 'info', MLP, env=env)
        if out is not None:
            check('colours on a terminal, NO_COLOR=%r' % env['NO_COLOR'], ('\x1b[' in out) == wanted, out[:200])


def run(*parts):
    """Runs the parts of a script; the exit code."""
    global program, folder
    parser = argparse.ArgumentParser()
    parser.add_argument('--ckpt', required=True, metavar='PROGRAM')
    program = os.path.abspath(parser.parse_args().ckpt)
    with tempfile.TemporaryDirectory() as made:
        folder = made
        for part in parts:
            try:
                part()
            except (KeyError, IndexError, TypeError, subprocess.TimeoutExpired) as e:
                check(part.__name__, False, repr(e))
    print('%d passed, %d failed' % (passed, failed) + (', %d skipped' % skipped if skipped else ''))
    return 1 if failed or not passed else 0


if __name__ == '__main__':
    sys.exit(run(usage, demo, outside, counts, alike, values, tensors, compressed, summaries, configurations, names,
                 folders, safetensors, modules, kinds, differences, maps, ready_maps, people))
