#!/usr/bin/env python3
"""Checks that what `ckpt` prints can be typed, and what it lists can be filtered and sorted.

    python tests/tools/names.py --ckpt PROGRAM
"""
import os
import sys

import cli
from cli import DATA, MLP, PROTO, check, ckpt, dictionary, document, equal, floats, number, save, tensor

CLIP = os.path.join(DATA, 'frameworks', 'open_clip-2.24', 'epoch_2.pt')


def keys(*args):
    return [r['key'] for r in document('ls %s' % (args,), 0, 'ls', *args)['tensors']]


def printed():
    want = ckpt('show', CLIP, 'state_dict/visual.conv1.weight')
    for key in ('visual.conv1.weight', 'state_dict.visual.conv1.weight', '/state_dict/visual.conv1.weight',
                'state_dict/visual.conv1.weight/'):
        equal('show %s' % key, ckpt('show', CLIP, key), want)
    row = document('the path of a key', 0, 'show', CLIP, 'logit_scale', 'optimizer.state.0.step')
    equal('keys of the weights, then of the file', [r['$tensor']['shape'] for r in row], [[], []])
    equal('a slash is the root', ckpt('show', MLP, '/'), ckpt('show', MLP))
    equal('a key that is the text of a path is the path', document('path', 0, 'show', CLIP, 'epoch'), 2)
    equal('--select with slashes', keys(MLP, '--select', '/model/'), ['fc1.weight', 'fc1.bias'])
    one = document('--select of a key', 0, 'ls', CLIP, '--select', 'logit_scale')
    equal('--select of a key lists it', ([r['path'] for r in one['tensors']], one['selected']),
          ([['state_dict', 'logit_scale']], ['state_dict', 'logit_scale']))
    rules = os.path.join(cli.folder, 'some.rules')
    with open(rules, 'w') as f:
        f.write('add net.\n')
    for key in ('fc1.weight', 'model/fc1.weight', '/model/fc1.weight'):
        got = document('--explain ' + key, 0, 'map', MLP, '--rules', rules, '--explain', key)
        equal('--explain %s' % key, (got['key'], got['trace'][0]['after']), ('fc1.weight', ['net.fc1.weight']))
    # Keys with slashes, with control characters, and of two meanings.
    odd = save('odd.pt', PROTO + dictionary([('a/b.c', tensor('0', 1, [1])), ('bell\x07', tensor('0', 1, [1])),
                                             ('x', dictionary([('y', tensor('0', 1, [1]))])), ('x.y', number(7))]) +
               b'.', [('0', floats(1))])
    for line in ckpt('ls', odd)[1].splitlines()[1:-1]:
        key = line.split('  ')[0]
        check('a key as ls prints it: ' + key, ckpt('show', odd, key)[0] == 0, ckpt('show', odd, key))
    equal('a path goes before a key', document('x.y', 0, 'show', odd, 'x.y'), 7)


def parts():
    """What ls prints of tensors that consist of parts: "key:part"."""
    shown = 0
    for path in (os.path.join(DATA, 'frameworks', 'distributed', 'dtensor.pt'),
                 os.path.join(DATA, 'frameworks', 'torchao-0.18', 'int8.pt'),
                 os.path.join(DATA, 'torch-1.13', 'sparse_kinds.pt')):
        for line in ckpt('ls', path)[1].splitlines()[1:-1]:
            key = line.split('  ')[0]
            if ':' not in key:
                continue
            shown += 1
            code, out, err = ckpt('show', path, key)
            dtype = line[len(key):].split()[0].rstrip(',')
            check('a part as ls prints it: ' + key, code == 0 and not err and dtype in out, (out, err))
    check('there were some', shown > 10, shown)
    path = os.path.join(DATA, 'frameworks', 'distributed', 'dtensor.pt')
    whole = document('the whole', 0, 'show', path, 'columns')['$tensor']['parts'][0]
    part = document('a part', 0, 'show', path, 'columns:_local_tensor')['$tensor']
    equal('its fields', {k: part[k] for k in whole if k != 'key'}, {k: whole[k] for k in whole if k != 'key'})
    equal('and its values, as of any small tensor', len(part['values']), 6)
    check('several paths have their names before them',
          '\ncolumns:_local_tensor: float32 [6, 2]' in ckpt('show', path, 'columns', 'columns:_local_tensor')[1])
    code, out, err = ckpt('show', path, 'columns:nothing')
    check('no such part', code == 1 and 'key_missing' in err and '_local_tensor' in err, (code, err))
    code, out, err = ckpt('show', path, 'nothing:_local_tensor')
    check('no such key', code == 1 and 'path_missing' in err, (code, err))


def missing():
    code, out, err = ckpt('show', MLP, 'epoch', 'epoc', 'best_loss')
    equal('the good paths are shown', (code, out), (1, 'epoch: 3\nbest_loss: 0.25\n'))
    check('the bad one is named', 'path_missing' in err and 'nearest: "epoch"' in err and err.count('\n') == 1, err)
    got = document('with --json', 1, 'show', MLP, 'epoch', 'epoc', 'best_loss')
    equal('the error, and the values', (got['error']['code'], got['values']), ('path_missing', [3, None, 0.25]))
    check('one path: no values', 'values' not in document('one', 1, 'show', MLP, 'epoc'))
    code, out, err = ckpt('show', CLIP, 'state_dict/visual.conv1.wight')
    check('the nearest path is a whole one', 'nearest: "state_dict/visual.conv1.weight"' in err, err)


def chosen():
    equal('a pattern', keys(MLP, '**.bias'), ['fc1.bias'])
    equal('several', keys(CLIP, 'logit_scale', '*.bias'), ['logit_scale', 'ln_final.bias'])
    equal('over whole paths with --all', keys(MLP, '--all', 'optimizer.state.{i:int}.step'),
          ['optimizer.state.0.step'])
    code, out, err = ckpt('ls', MLP, 'fc1.bia')
    check('a pattern that matches nothing', code == 1 and not out and 'nearest: "fc1.bias"' in err, err)
    equal('a pattern that is none', ckpt('ls', MLP, '{i:')[0], 3)
    total = ckpt('ls', MLP, '**.bias')[1].splitlines()[-1]
    check('the total says of how many', total.startswith('1 tensor of 2, '), total)
    path = save('layers.pt', PROTO + dictionary([('l.%d.w' % i, tensor(str(i), n, [n])) for i, n in
                                                 ((10, 1), (2, 5), (1, 3))]) + b'.',
                [('1', floats(3)), ('2', floats(5)), ('10', floats(1))])
    equal('--sort size', keys(path, '--sort', 'size'), ['l.2.w', 'l.1.w', 'l.10.w'])
    equal('--sort key', keys(path, '--sort', 'key'), ['l.1.w', 'l.2.w', 'l.10.w'])
    equal('--sort file', keys(path, '--sort', 'file'), ['l.1.w', 'l.2.w', 'l.10.w'])
    equal('no order is the order of the file', keys(path), ['l.10.w', 'l.2.w', 'l.1.w'])
    equal('--top', keys(path, '--sort', 'size', '--top', '1'), ['l.2.w'])
    equal('more than there are', len(keys(path, '--top', '9')), 3)
    out = ckpt('ls', path, '--sort', 'key')[1].splitlines()
    equal('sorted rows are not folded', [line.split()[0] for line in out[1:4]], ['l.1.w', 'l.2.w', 'l.10.w'])
    for wrong in (('--sort', 'name'), ('--top', 'few')):
        equal('ls %s' % (wrong,), ckpt('ls', path, *wrong)[0], 3)
    equal('stat takes them, too',
          [r['key'] for r in document('stat', 0, 'stat', path, 'l.*.w', '--sort', 'size', '--top', '2')['tensors']],
          ['l.2.w', 'l.1.w'])


if __name__ == '__main__':
    sys.exit(cli.run(printed, parts, missing, chosen))
