#!/usr/bin/env python3
"""Checks the values that the program `ckpt` prints: `show` of tensors, `stat`, `ls --stats`.

    python tests/tools/values.py --ckpt PROGRAM

values.json beside this file has what PyTorch and numpy say of tensors in tests/data. Where numpy 2.4 can be imported,
tensors with random values are compared with it, too. The last line is `N passed, N failed`.
"""
import json
import math
import os
import random
import struct
import sys

import cli
from cli import DATA, MLP, PROTO, check, ckpt, dictionary, document, equal, floats, save, tensor

EXPECTED = os.path.join(cli.HERE, 'values.json')


def plain(x):
    """Values of the program's JSON as Python's."""
    if isinstance(x, list):
        return [plain(y) for y in x]
    if not isinstance(x, dict):
        return x
    if '$complex' in x:
        return complex(*(plain(y) for y in x['$complex']))
    return int(x['$int']) if '$int' in x else float(x['$float'])


def shown(path, *args):
    """The values behind the line that describes a tensor."""
    code, out, err = ckpt('show', path, *args)
    check('show %s' % (args,), code == 0 and not err, (code, err))
    return out.partition('\n')[2].rstrip('\n')


def same_sums(name, got, want):
    rounds = ('mean', 'std', 'min', 'max') if got['dtype'].startswith('complex') else ('mean', 'std')
    for field in ('count', 'zeros', 'nan', 'inf', 'min', 'max', 'mean', 'std'):
        value = plain(got.get(field))
        if field in rounds and field in want:
            check('%s: %s' % (name, field), math.isclose(value, want[field], rel_tol=1e-11, abs_tol=1e-14),
                  (value, want[field]))
        else:
            equal('%s: %s' % (name, field), value, want.get(field))
    bins = got.get('histogram', {'counts': []})['counts']
    check(name + ': bins', sum(bins) == got['count'] - got['nan'] - got['inf'] and len(bins) <= 128, bins)


def stored():
    with open(EXPECTED) as f:
        expected = json.load(f)
    for file, rows in expected.items():
        path = os.path.join(DATA, *file.split('/'))
        stat = document('stat of ' + file, 0, 'stat', path, '--all', '--policy', 'inspect')
        sums = {'/'.join(map(str, r['path'])): r for r in stat['tensors']}
        for key, want in rows.items():
            name = '%s %s' % (file, key)
            equal(name, shown(path, key), want['text'])
            if 'whole' in want:
                equal(name + ', all', shown(path, key, '--values'), want['whole'])
                equal(name + ', one less', shown(path, key, '--values=%d' % (want['count'] - 1)), want['text'])
            same_sums(name, sums[key], want)


def drawn():
    try:
        import numpy
        if tuple(int(n) for n in numpy.__version__.split('.')[:2]) < (2, 4):
            raise ImportError('numpy %s prints otherwise' % numpy.__version__)
    except ImportError as e:
        cli.skipped += 1
        print('skipped: random values: %s' % e)
        return
    classes = {'d': b'Double', 'f': b'Float', 'e': b'Half', 'q': b'Long', 'B': b'Byte', '?': b'Bool',
               'F': b'ComplexFloat', 'D': b'ComplexDouble'}
    drawn, entries, records = {}, [], []
    dice = numpy.random.default_rng(1)
    for i in range(400):
        code = random.Random(i).choice('dfeFDqB?')
        shape = random.Random(-i).choice([(), (6,), (3, 4), (9, 9), (2, 3, 4), (7, 6, 5), (3, 3, 3, 3), (100,)])
        a = dice.standard_normal(shape) * 10.0 ** dice.integers(-8 if i % 3 else -2, 8 if i % 5 else 2, shape)
        if code in 'FD':
            a = a + 1j * dice.standard_normal(shape)
        if i % 7 == 0 and code not in 'qB?':
            a = numpy.where(dice.random(shape) < 0.2, dice.choice([numpy.nan, numpy.inf, -numpy.inf]), a)
        with numpy.errstate(over='ignore', invalid='ignore'):
            a = numpy.asarray(a).astype(code)
        drawn[str(i)] = a
        written = tensor(str(i), a.size, list(shape)).replace(b'FloatStorage', classes[code] + b'Storage')
        entries.append((str(i), written))
        records.append((str(i), a.tobytes()))
    path = save('drawn.pt', PROTO + dictionary(entries) + b'.', records)
    documents = document('values as JSON', 0, 'show', path, '--values=100000', *drawn)
    for (key, a), row in zip(drawn.items(), documents):
        edge = 3 if a.ndim <= 2 else 2 if a.ndim == 3 else 1
        for width, out in ((10**9, None), (80, cli.terminal('values on a terminal', 'show', path, key)
                                           if int(key) % 20 == 0 else None)):
            want = str(a) if a.ndim == 0 else numpy.array2string(a, max_line_width=width, threshold=64, edgeitems=edge)
            if width > 80:
                equal('random values %s of %s' % (key, a.dtype), shown(path, key), want)
            elif out is not None:
                equal('random values %s on a terminal' % key, out.partition('\n')[2].rstrip('\n'), want)
        check('values %s as JSON' % key, repr(plain(row['$tensor']['values'])) == repr(a.tolist()), row)


def forms():
    weights = dictionary([('a', tensor('0', 6, [2, 3])), ('s', tensor('0', 6, [])), ('empty', tensor('0', 6, [0, 3])),
                          ('big', tensor('1', 100, [10, 10]))])
    path = save('forms.pt', PROTO + weights + b'.', [('0', floats(6)), ('1', floats(100))])
    equal('values are in the document of a PATH', document('show', 0, 'show', path, 'a')['$tensor']['values'],
          [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    equal('of a scalar', document('show', 0, 'show', path, 's')['$tensor']['values'], 0.0)
    equal('of none', document('show', 0, 'show', path, 'empty')['$tensor']['values'], [])
    check('not of many', 'values' not in document('show', 0, 'show', path, 'big')['$tensor'])
    check('not of those in containers', 'values' not in document('show', 0, 'show', path)['a']['$tensor'])
    whole = document('--values', 0, 'show', path, '--values')
    equal('with --values of all', whole['big']['$tensor']['values'][9][9], 99.0)
    check('up to its number', 'values' not in document('show', 0, 'show', path, '--values=99')['big']['$tensor'])
    equal('at its number', len(document('show', 0, 'show', path, '--values=100')['big']['$tensor']['values']), 10)
    past = document('show', 1, 'show', path, '--values', '--max-nodes', '100')
    equal('--max-nodes counts them', past['error']['code'], 'output_limit')
    for wrong in ('--values=x', '--values=-1'):
        check(wrong, ckpt('show', path, 'a', wrong)[0] == 3)
    # What reaches past its storage, and an expanded tensor of any size.
    bad = save('bad.pt', PROTO + dictionary([('past', tensor('0', 6, [7])),
                                            ('wide', tensor('0', 6, [2**29, 2**29], stride=[0, 0]))]) + b'.',
               [('0', floats(6))])
    check('a refused tensor has its error', 'out_of_bounds' in ckpt('show', bad, 'past')[1])
    check('the edges of any shape', '[0. 0. 0. ... 0. 0. 0.]' in ckpt('show', bad, 'wide')[1])
    check('a number of values past any memory', 'output_limit' in ckpt('show', bad, 'wide', '--values=%d' % (2**60))[1])
    code, out, _ = ckpt('stat', bad)
    check('stat: errors have their rows', code == 0 and out.count('out_of_bounds') == 1 and 'output_limit' in out and
          '2 tensors could not be read' in out, out)
    equal('stat --fail-on-nan: what cannot be read may be NaN', ckpt('stat', bad, '--fail-on-nan')[0], 1)
    many = save('many.pt', PROTO + dictionary([('x', tensor('0', 3**13, [3] * 13))]) + b'.', [('0', floats(3**13))])
    check('edges of too many dimensions', 'show all of them with --values=N' in ckpt('show', many, 'x')[1])


def stats():
    numbers = [1.0, float('nan'), float('inf'), 0.0, 5.0]
    path = save('stats.pt', PROTO + dictionary([('a', tensor('0', 5, [5])), ('b', tensor('1', 2, [2]))]) + b'.',
                [('0', struct.pack('<5f', *numbers)), ('1', floats(2))])
    got = document('stat', 0, 'stat', path)
    equal('stat: members', list(got), ['schema', 'file', 'selected', 'tensors', 'dtypes', 'nan'])
    equal('stat: a row', {k: v for k, v in got['tensors'][0].items() if k not in ('std', 'histogram')},
          {'key': 'a', 'path': ['a'], 'dtype': 'float32', 'shape': [5], 'layout': 'strided', 'count': 5, 'min': 0.0,
           'max': 5.0, 'mean': 2.0, 'zeros': 1, 'nan': 1, 'inf': 1})
    equal('stat: totals', {k: v for k, v in got['dtypes']['float32'].items() if k not in ('mean', 'std')},
          {'tensors': 2, 'count': 7, 'min': 0.0, 'max': 5.0, 'zeros': 2, 'nan': 1, 'inf': 1})
    equal('stat --fail-on-nan', document('nan', 1, 'stat', path, '--fail-on-nan'), got)
    equal('stat --fail-on-nan without NaN', ckpt('stat', MLP, '--fail-on-nan')[0], 0)
    code, out, _ = ckpt('stat', path)
    check('stat: NaN and Inf are named', code == 0 and '1 NaN  1 Inf' in out.splitlines()[1], out)
    equal('ls --stats prints the same', ckpt('ls', path, '--stats')[:2], ckpt('stat', path)[:2])
    row = document('ls --stats', 0, 'ls', path, '--stats', '--digest')['tensors'][0]
    equal('ls --stats: rows have both', (row['stats']['nan'], row['crc32']), (1, row['crc32']))
    renamed = os.path.join(cli.folder, 'add.rules')
    with open(renamed, 'w') as f:
        f.write('add net.\ncast float16 **\n')
    equal('stat after rules', [(r['key'], r['dtype'], r['nan']) for r in
                               document('rules', 0, 'stat', path, '--rules', renamed)['tensors']],
          [('net.a', 'float16', 1), ('net.b', 'float16', 0)])
    sparse = document('stat of parts', 0, 'stat', os.path.join(DATA, 'torch-2.13', 'sparse.pt'))['tensors'][0]
    equal('stat of parts: names', [p['key'] for p in sparse['parts']], ['indices', 'values'])
    out = cli.terminal('stat on a terminal', 'stat', MLP, '--all', env={'NO_COLOR': '1'})
    if out is not None:
        check('stat fits a terminal', max(len(line) for line in out.splitlines()) <= 80, out)


if __name__ == '__main__':
    sys.exit(cli.run(stored, drawn, forms, stats))
