#!/usr/bin/env python3
"""Checks what `ckpt` prints into a pipe and on a terminal, for one file and for several.

    python tests/tools/pipes.py --ckpt PROGRAM

Into a pipe nothing is folded, cut or wrapped; on a terminal of 80 columns nothing is wider, and what is left out is
counted.
"""
import json
import os
import struct
import sys

import cli
from cli import DATA, MLP, PROTO, check, ckpt, dictionary, document, equal, floats, save, tensor, text

GPT2 = os.path.join(DATA, 'frameworks', 'modules', 'gpt2.pt')
PLAIN = {'NO_COLOR': '1'}


def layers(name, count, key='model.decoder.layers.%d.self_attention.query_key_value_projection.weight', value=0.0):
    entries = [(key % i, tensor(str(i), 4, [2, 2])) for i in range(count)]
    return save(name, PROTO + dictionary(entries) + b'.',
                [(str(i), struct.pack('<4f', *(value + i,) * 4)) for i in range(count)])


def written(name, content):
    path = os.path.join(cli.folder, name)
    with open(path, 'w') as f:
        f.write(content)
    return path


def lines_of(name, *args):
    out = cli.terminal(name, *args, env=PLAIN)
    if out is None:
        return None
    lines = out.splitlines()
    wide = [line for line in lines if len(line) > 80 and not line.startswith('error ')]  # a sentence is not cut
    check(name + ': no line is wider than the terminal', not wide, wide)
    return lines


def listings():
    path = layers('layers.pt', 32)
    out = ckpt('ls', path)[1]
    equal('ls into a pipe has all rows', sum('.weight' in line for line in out.splitlines()), 32)
    check('and whole keys', 'model.decoder.layers.3.self_attention.query_key_value_projection.weight' in out, out)
    lines = lines_of('ls on a terminal', 'ls', path)
    if lines is not None:
        check('ls folds there, and the numbers stay visible', len(lines) == 3 and '{0..31}' in lines[1] and
              lines[1].endswith('x32'), lines)
        equal('--no-fold', len(lines_of('ls --no-fold', 'ls', path, '--no-fold')), 34)
        lines_of('ls --digest', 'ls', path, '--digest', '--no-fold')
    head = ckpt('ls', path, '--digest')[1].splitlines()
    check('the column of digests has a head', head[0].split() == ['key', 'dtype', 'shape', 'size', 'crc32'], head[0])
    equal('the head stands above them', head[0].index('crc32'), head[1].index(head[1].split()[-1]))
    tied = ckpt('ls', GPT2)[1]
    check('tied tensors are marked', any(line.startswith('lm_head.weight') and line.endswith('= transformer.wte.weight')
                                         for line in tied.splitlines()), tied)
    equal('and only they', tied.count(' = '), 1)


def details():
    many = save('many.pt', PROTO + dictionary([('k%d' % i, text('x' * 300)) for i in range(200)]) + b'.')
    out = ckpt('show', many)[1]
    check('show into a pipe shows everything', out.count('x' * 300) == 200 and '\u2026' not in out, out[:300])
    check('up to --max-nodes', 'and more' in ckpt('show', many, '--max-nodes', '50')[1])
    lines = lines_of('show on a terminal', 'show', many)
    if lines is not None:
        check('show on a terminal counts the rest', any('140 more' in line for line in lines), lines[-3:])
    out = ckpt('info', many)[1]
    check('info into a pipe cuts nothing', out.count('x' * 300) == 200 and '\u2026' not in out, out[:500])
    lines_of('info on a terminal', 'info', many)
    lines_of('stat on a terminal', 'stat', GPT2)


def several():
    a, b = layers('a.pt', 2), layers('b.pt', 2, value=1.0)
    absent = os.path.join(cli.folder, 'absent.pt')
    for command in ('info', 'ls', 'verify', 'stat'):
        code, out, err = ckpt(command, a, absent, b) if command in ('info', 'verify') else ckpt(command, a, b)
        equal(command + ' of several: the exit code', code, 2 if command in ('info', 'verify') else 0)
        check(command + ' of several: heads', out.startswith('==> %s <==\n' % a) and '\n\n==> %s <==\n' % b in out, out)
        code, out, err = ckpt(command, a, b, '--json')
        documents = [json.loads(d) for d in out.replace('\n{"schema"', '\n\0{"schema"').split('\0')]
        equal(command + ' of several: a document each', [d['file'] for d in documents], [a, b])
    check('one file has no head', '==>' not in ckpt('ls', a)[1])
    code, out, _ = ckpt('diff', a, a, b)
    check('diff of several', code == 1 and out.startswith('==> %s and %s <==\n2 tensors are equal' % (a, a)) and
          '==> %s and %s <==\ndiffer' % (a, b) in out, out)
    equal('patterns behind several files', ckpt('ls', a, b, '**.layers.1.**')[1].count('1 tensor of 2'), 2)


def rules():
    path = layers('moves.pt', 64)
    out = ckpt('map', path, '--rules', written('t.rules', 'transpose 0 1 **\nreshape (4) **\n'))[1]
    equal('map into a pipe has all moves', out.count(', rule 2'), 64)
    check('shapes that change are shown', 'reshape, rule 2, [2, 2] -> [4]' in out, out[:600])
    out = ckpt('map', path, '--rules', written('c.rules', 'cast float16 **\n'))[1]
    check('and dtypes', 'cast, rule 1, float32 -> float16' in out, out[:300])
    wrong = written('wrong.rules', 'squeeze 0 **\n')
    equal('into a pipe each mistake has its line', ckpt('map', path, '--rules', wrong)[1].count('error  '), 64)
    lines = lines_of('one mistake on a terminal', 'map', path, '--rules', wrong)
    if lines is not None:
        equal('is one line there', sum(line.startswith('error') for line in lines), 1)
        check('with its number', lines[0].endswith('x64') or any('x64' in line for line in lines), lines)
    same = written('same.rules', 'rename ** -> one\n')
    lines = lines_of('a collision on a terminal', 'map', path, '--rules', same)
    if lines is not None:
        check('a collision of many counts the rest', any('24 more' in line for line in lines), lines)


def near():
    one = save('one.pt', PROTO + dictionary([('x', tensor('0', 4, [4]))]) + b'.',
               [('0', struct.pack('<4f', 1, 2, 3, float('nan')))])
    two = save('two.pt', PROTO + dictionary([('x', tensor('0', 4, [4]).replace(b'FloatStorage', b'BFloat16Storage'))]) +
               b'.', [('0', struct.pack('<4H', 0x3F80, 0x4001, 0x4040, 0x4080))])
    got = document('diff of dtypes', 1, 'diff', one, two)['changed']
    equal('dtypes that differ: how far apart', got,
          [{'key': 'x', 'why': 'dtype', 'distance': {'values': 4, 'different': 1, 'max_abs': 0.015625,
                                                     'max_rel': 0.015625 / 2.015625, 'nan': 1}}])
    out = ckpt('diff', one, two)[1]
    check('in words', 'float32 against bfloat16, at most 0.015625 apart (relative 0.00775), NaN on one side only in 1'
          in out, out)
    equal('NaN is never near a number', ckpt('diff', one, two, '--atol', '9')[0], 1)
    three = save('three.pt', PROTO + dictionary([('x', tensor('0', 4, [4]))]) + b'.',
                 [('0', struct.pack('<4f', 1, 2.015625, 3, float('nan')))])
    equal('bit by bit', ckpt('diff', one, three)[0], 1)
    equal('--atol, at the distance', ckpt('diff', one, three, '--atol', '0.015625')[0], 0)
    equal('--atol, below it', ckpt('diff', one, three, '--atol', '0.015624')[0], 1)
    equal('--rtol is of B', ckpt('diff', one, three, '--rtol', '0.0078')[0], 0)
    equal('--rtol, below it', ckpt('diff', one, three, '--rtol', '0.0077')[0], 1)
    check('what near means is said', 'near enough' in ckpt('diff', one, three, '--atol', '1')[1])
    for wrong in ('-1', 'nan', 'x', 'inf'):
        equal('--atol ' + wrong, ckpt('diff', one, three, '--atol', wrong)[0], 3)
    a, b = layers('many_a.pt', 64), layers('many_b.pt', 64, value=0.5)
    equal('diff into a pipe has all keys', ckpt('diff', a, b)[1].count('differ   '), 64)
    lines = lines_of('diff on a terminal', 'diff', a, b)
    if lines is not None:
        check('folds', len(lines) == 2 and lines[0].endswith('x64') and '0.5 apart' in lines[0], lines)


if __name__ == '__main__':
    sys.exit(cli.run(listings, details, several, rules, near))
