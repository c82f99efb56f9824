#!/usr/bin/env python3
"""Checks `ckpt convert`: what it writes, what it leaves out and says, and that a failure leaves everything as it was.

    python tests/tools/convert.py --ckpt PROGRAM

What the real packages read and write is compared in tests/torch/convert.py.
"""
import glob
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import zipfile

import cli
from cli import DATA, MLP, PROTO, check, ckpt, dictionary, document, equal, floats, number, save, tensor, text

GPT2 = os.path.join(DATA, 'frameworks', 'modules', 'gpt2.pt')


def out_path(name='out.safetensors'):
    return os.path.join(cli.folder, name)


def header_of(path):
    with open(path, 'rb') as f:
        return json.loads(f.read(struct.unpack('<Q', f.read(8))[0]))


def leftovers():
    return [name for name in os.listdir(cli.folder) if name.startswith('.ckpt-')]


def one_file():
    out = out_path()
    got = document('convert --json', 0, 'convert', MLP, out)
    equal('its members', list(got),
          'schema in out format tensors bytes left_out dropped casts shared replaced kept notes ok'.split())
    equal('its values', [got['schema'], got['in'], got['out'], got['format'], got['tensors'], got['bytes'], got['ok']],
          ['ckpt.convert/1', MLP, [out], 'safetensors', 2, os.path.getsize(out), True])
    equal('diff says that nothing changed', ckpt('diff', MLP, out)[0], 0)
    code, said, error = ckpt('convert', MLP, out)
    equal('a file that exists is kept', code, 1)
    check('with the option that replaces it', '--force' in error and 'output_exists (801)' in error, error)
    equal('--force replaces it', ckpt('convert', MLP, out, '--force')[0], 0)
    before = os.stat(out).st_mtime_ns
    code, said, _ = ckpt('convert', MLP, out_path('none.safetensors'), '--dry-run')
    check('--dry-run says what would be written',
          code == 0 and 'not written: --dry-run' in said and '2 tensors' in said, said)
    check('and writes nothing', not os.path.exists(out_path('none.safetensors')))
    equal('--dry-run of a file that exists', document('-n', 0, 'convert', MLP, out, '-n')['notes'],
          [f'"{out}" exists: --force replaces it'])
    equal('of one that is replaced', document('-n', 0, 'convert', MLP, out, '-n', '-f')['notes'], [])
    equal('in a folder that is not there', document('-n', 0, 'convert', MLP, out_path('none/x.npz'), '-n')['notes'],
          [f'"{out_path("none")}" is no folder'])
    os.mkdir(out_path('folder.npz'))
    code, _, error = ckpt('convert', MLP, out_path('folder.npz'), '-f')
    check('a folder is not replaced', code == 5 and 'it is a directory' in error, error)
    equal('which --dry-run says', document('-n', 0, 'convert', MLP, out_path('folder.npz'), '-n')['notes'],
          [f'"{out_path("folder.npz")}" is a folder'])
    equal('which stays', os.stat(out).st_mtime_ns, before)
    check('what lies outside the state_dict is counted', 'outside' in said and 'optimizer' in said, said)
    equal('a safetensors file is written from itself', ckpt('convert', out, out, '-f')[0], 0)
    for name in ('out.bin2', 'safetensors', '.safetensors', 'x.ggml'):
        equal('a suffix that means no format: ' + name, ckpt('convert', MLP, out_path(name))[0], 3)
    equal('three files', ckpt('convert', MLP, out, out)[0], 3)
    equal('one file', ckpt('convert', MLP)[0], 3)
    equal('a folder that is not there', ckpt('convert', MLP, out_path('none/x.safetensors'))[0], 5)
    equal('IN that is none', ckpt('convert', __file__, out_path('none.safetensors'))[0], 2)
    equal('no temporary is left', leftovers(), [])
    if os.name == 'posix':
        os.chmod(out, 0o600)
        ckpt('convert', MLP, out, '-f')
        equal('private weights stay private', os.stat(out).st_mode & 0o777, 0o600)


def casts():
    out = out_path()
    got = document('casts', 0, 'convert', MLP, out, '-f', '--dtype', '**=bfloat16', '--dtype', '**.bias=float32')
    equal('only what changes is a cast', got['casts'],
          [{'key': 'fc1.weight', 'from': 'float32', 'to': 'bfloat16'}])
    equal('the dtypes', {k: v['dtype'] for k, v in header_of(out).items()}, {'fc1.bias': 'F32', 'fc1.weight': 'BF16'})
    got = document('a tied tensor that is cast', 0, 'convert', GPT2, out, '-f', '--dtype', '**=float16')
    equal('stays one', got['shared'], [{'key': 'transformer.wte.weight', 'same_as': 'lm_head.weight'}])
    equal('and the metadata says so', header_of(out)['__metadata__'], {'transformer.wte.weight': 'lm_head.weight'})
    got = document('two casts of a tied tensor', 0, 'convert', GPT2, out, '-f', '--dtype', 'lm_head.weight=float64')
    equal('are two tensors', got['shared'], [])
    pair = tensor('0', 4, [2]).replace(b'FloatStorage', b'ComplexDoubleStorage')
    path = save('tied.pt', PROTO + dictionary([('a', pair), ('b', pair)]) + b'.', [('0', bytes(64))])
    got = document('a tied tensor of a dtype that the format lacks', 0,
                   'convert', path, out, '-f', '--select', '', '--dtype', '**=complex64')
    equal('stays one where the cast is to one that it has', got['shared'], [{'key': 'b', 'same_as': 'a'}])
    pair = pair.replace(b'ComplexDouble', b'ComplexFloat')
    path = save('tied.pt', PROTO + dictionary([('a', pair), ('b', pair)]) + b'.', [('0', bytes(32))])
    got = document('a cast to one that it lacks', 1,
                   'convert', path, out, '-f', '--select', '', '--dtype', '**=complex128')
    equal('loses both keys', [entry['path'] for entry in got['left_out']], [['a'], ['b']])
    path = save('ints.pt', PROTO + dictionary([('n', tensor('0', 1, [1]).replace(b'FloatStorage', b'IntStorage')),
                                              ('x', tensor('1', 2, [2]))]) + b'.',
                [('0', struct.pack('<i', 7)), ('1', floats(2))])
    got = document('integers stay what they are', 0,
                   'convert', path, out, '-f', '--select', '', '--dtype', '**=bfloat16')
    equal('under a floating dtype', [c['key'] for c in got['casts']], ['x'])
    for wrong in ('**', '**=', '=float32', '{i:=float32'):
        equal('--dtype ' + wrong, ckpt('convert', MLP, out, '--dtype', wrong)[0], 3)
    for wrong, meant in (('bf16', 'bfloat16'), ('half', 'float16'), ('BFloat16', 'bfloat16'), ('F16', 'float16'),
                         ('fp32', 'float32'), ('float', 'float32'), ('q8_0', 'Q8_0'), ('torch.float16', 'float16'),
                         ('flaot32', 'float32')):
        code, _, error = ckpt('convert', MLP, out, '--dtype', '**=' + wrong)
        check('no dtype is called ' + wrong,
              code == 3 and f'no dtype is called "{wrong}"; did you mean {meant}?' in error, error)
    for wrong in ('float8_e8m0fnu', 'qint8', 'float4_e2m1fn_x2', 'bits8'):
        code, _, error = ckpt('convert', MLP, out, '-f', '--dtype', '**=' + wrong)
        check('nothing can be cast to ' + wrong, code == 3 and 'nothing can be cast to ' + wrong in error, error)
    code, _, error = ckpt('convert', MLP, out, '-f', '--dtype', '**=int8')
    check('floats are no integers',
          code == 3 and '--dtype **=int8: "fc1.weight" cannot be cast: float32 values' in error, error)
    got = document('a dtype for complex tensors', 0, 'convert', MLP, out, '-f', '--dtype', '**=complex64')
    equal('of which there are none', [got['casts'], got['notes']],
          [[], ['--dtype **=complex64: none of the tensors that it matches can be cast so']])
    got = document('a pattern that matches nothing', 0, 'convert', MLP, out, '-f', '--dtype', 'fc2.**=float16')
    equal('is noted', got['notes'], ['--dtype fc2.**=float16: no key matches it'])
    check('for people, too', 'note      --dtype fc2.**' in ckpt('convert', MLP, out, '-f', '--dtype',
                                                                 'fc2.**=float16')[1])
    code, _, error = ckpt('convert', path, out, '-f', '--select', '', '--dtype', 'n=float16')
    check('a whole key of an integer', code == 3 and 'only floating tensors are cast' in error, error)


def casts_of_many():
    """There is no text of rules between the option and the casts."""
    out = out_path('many.safetensors')
    keys = [f'model.layers.{i:07}.' + 'k' * 60 for i in range(20000)]
    header = json.dumps({k: {'dtype': 'F32', 'shape': [1], 'data_offsets': [4 * i, 4 * i + 4]}
                         for i, k in enumerate(keys)}).encode()
    source = out_path('many-in.safetensors')
    with open(source, 'wb') as f:
        f.write(struct.pack('<Q', len(header)) + header + floats(len(keys)))
    got = document('20,000 casts', 0, 'convert', source, out, '--dtype', '**=float64', '--dtype',
                   'model.layers.*9.*=bfloat16')
    equal('each once', [len(got['casts']), got['casts'][9]['to'], got['casts'][10]['to']],
          [20000, 'bfloat16', 'float64'])
    odd = save('odd.pt', PROTO + dictionary([('a\nb', tensor('0', 1, [1])), ('\x01', tensor('1', 1, [1])),
                                             ('', tensor('2', 1, [1]))]) + b'.',
               [(str(i), floats(1)) for i in range(3)])
    for suffix in ('safetensors', 'pt'):
        got = document('keys that no rule can spell', 0, 'convert', odd, out_path('odd-out.' + suffix), '-f',
                       '--select', '', '--dtype', '**=float16')
        equal('are cast', [c['key'] for c in got['casts']], ['a\nb', '\x01', ''])


def casts_passed_over():
    """What cannot be cast is passed over by wildcards, and listed."""
    for name in ('meta', 'sparse', 'quantized', 'tied'):
        path = os.path.join(DATA, 'torch-2.13', name + '.pt')
        for out, words in ((out_path('passed.pt'), ()), (out_path('passed.safetensors'), ('--allow-loss', '**'))):
            code, said, error = ckpt('convert', path, out, '-f', '--json', '--dtype', '**=float16', *words)
            check('%s to %s' % (name, out), code == 0, error)
            kept = [k['why'] for k in json.loads(said)['kept']]
            check('says why', bool(kept) == (name in ('meta', 'sparse')) and all('layout' in why for why in kept), kept)
    meta = os.path.join(DATA, 'torch-2.13', 'meta.pt')
    key = json.loads(ckpt('ls', meta, '--json')[1])['tensors'][0]['key']
    code, _, error = ckpt('convert', meta, out_path('passed.pt'), '-f', '--dtype', key + '=float16')
    check('a whole key is an error', code == 3 and f'--dtype {key}=float16: "{key}" cannot be cast' in error, error)


def losses():
    path = save('step.pt', PROTO + dictionary([('w', tensor('0', 2, [2])), ('step', number(5)), ('name', text('x')),
                                              ('c', tensor('1', 1, [1]).replace(b'FloatStorage',
                                                                                b'ComplexDoubleStorage'))]) + b'.',
                [('0', struct.pack('<2f', 1, 2)), ('1', bytes(16))])
    out = out_path('losses.safetensors')
    got = document('what would be lost', 1, 'convert', path, out, '--select', '')
    equal('is listed', [entry['path'] for entry in got['left_out']], [['step'], ['name'], ['c']])
    equal('with the reason', got['left_out'][2]['why']['code'], 'format_lacks')
    check('nothing is written', not got['ok'] and not os.path.exists(out))
    said = ckpt('convert', path, out, '--select', '', '--allow-loss', 'step', '--color', 'always')[1]
    check('and are not all let go: the colour says so', '\x1b[33m' in said and '\x1b[2m' not in said, said)
    said = ckpt('convert', path, out, '--select', '')[1]
    check('people are told how to let it go', 'nothing was written' in said and '--allow-loss' in said, said)
    equal('two of three are not enough', ckpt('convert', path, out, '--select', '', '--allow-loss', 'step',
                                              '--allow-loss', 'name')[0], 1)
    got = document('misspelled', 1, 'convert', path, out, '--select', '', '--allow-loss', 'steps', '--allow-loss',
                   'w')
    equal('is noted', got['notes'], ['--allow-loss steps: no key matches it'])
    got = document('allowed', 0, 'convert', path, out, '--select', '', '--allow-loss', 'step', '--allow-loss', 'name',
                   '--allow-loss', 'c')
    equal('it is still listed', len(got['left_out']), 3)
    equal('the rest is written', list(header_of(out)), ['w'])
    got = document('rules that drop', 0, 'convert', MLP, out, '-f', '--rules', rules('drop fc1.bias\n'))
    equal('are told apart', [got['dropped'], got['left_out'], got['tensors']], [['fc1.bias'], [], 1])


def rules(content):
    path = os.path.join(cli.folder, 'convert.rules')
    with open(path, 'w') as f:
        f.write(content)
    return path


def words():
    out = out_path()
    ckpt('convert', MLP, out, '-f', '--metadata', 'format=pt', '--metadata', 'note=a=b')
    equal('metadata', header_of(out)['__metadata__'], {'format': 'pt', 'note': 'a=b'})
    again = out_path('again.safetensors')
    ckpt('convert', out, again, '-f', '--metadata', 'note=c')
    equal('goes along, and can be given anew', header_of(again)['__metadata__'], {'format': 'pt', 'note': 'c'})
    ckpt('convert', GPT2, out, '-f')
    ckpt('convert', out, again, '-f')
    equal('tied keys too', header_of(again)['__metadata__'], {'transformer.wte.weight': 'lm_head.weight'})
    ckpt('convert', out, again, '-f', '--rules', rules('rename lm_head.weight -> head\n'))
    check('but not where rules rename', '__metadata__' not in header_of(again))
    equal('--metadata without a text', ckpt('convert', MLP, out, '-f', '--metadata', 'x')[0], 3)
    for size, code in (('1', 0), ('5GB', 0), ('5gib', 0), ('1kB', 0), ('0', 3), ('5TB', 3), ('-1', 3), ('GB', 3),
                       ('18446744073709551615', 0), ('18446744073709551616', 3), ('18446744073GB', 0),
                       ('18446744074GB', 3)):
        equal('--max-shard-size ' + size, ckpt('convert', MLP, out, '-n', '--max-shard-size', size)[0], code)
    os.mkdir(out_path('set'))
    got = document('shards', 0, 'convert', MLP, out_path('set/m.safetensors'), '--max-shard-size', '1')
    equal('their names', [os.path.basename(f) for f in got['out']],
          ['m-00001-of-00002.safetensors', 'm-00002-of-00002.safetensors', 'm.safetensors.index.json'])
    equal('the set reads back', ckpt('diff', MLP, out_path('set'))[0], 0)
    again = ('convert', MLP, out_path('set/m.safetensors'), '--max-shard-size', '5GB')
    equal('an old set is kept', ckpt(*again)[0], 1)
    got = document('or replaced by one file', 0, *again, '--force')
    equal('its files go', [os.path.basename(f) for f in got['removed']],
          ['m.safetensors.index.json', 'm-00001-of-00002.safetensors', 'm-00002-of-00002.safetensors'])
    equal('the folder has the new one', os.listdir(out_path('set')), ['m.safetensors'])
    got = document('--dry-run', 0, *again[:-1], '1', '--force', '-n')
    equal('says what would go', [os.path.basename(f) for f in got['removed']], ['m.safetensors'])
    said = ckpt(*again[:-1], '1', '--force', '-n')[1]
    check('to people, too', 'm.safetensors: of the set that would be replaced' in said, said)
    equal('and it stays', os.listdir(out_path('set')), ['m.safetensors'])
    ckpt(*again[:-1], '1', '--force')
    equal('which goes for a set', ckpt('diff', MLP, out_path('set'))[0], 0)
    index = out_path('set/m.safetensors.index.json')
    for size, files in (('1', 3), ('40', 2), ('5GB', 1), ('1', 3)):  # fc1.bias has 40 bytes
        source = index if os.path.exists(index) else out_path('set/m.safetensors')
        equal('a set in its own place, --max-shard-size ' + size,
              ckpt('convert', source, out_path('set/m.safetensors'), '--force', '--max-shard-size', size)[0], 0)
        equal('has all tensors', ckpt('diff', MLP, out_path('set'))[0], 0)


def kept_by_the_system():
    """A file of an older set that cannot be removed: the new files are whole."""
    place = out_path('kept')
    os.mkdir(place)
    shard, out = (os.path.join(place, name) for name in ('m-00001-of-00009.safetensors', 'm.safetensors'))
    again = ('convert', MLP, out, '--force', '--max-shard-size', '5GB')
    for as_json in (True, False):
        os.makedirs(shard, exist_ok=True)  # a folder is no file that can be removed
        with open(out + '.index.json', 'w') as f:
            json.dump({'weight_map': {'a': os.path.basename(shard)}}, f)
        if as_json:
            got = document('an older file that stays', 1, *again)
            equal('is listed', [got['removed'], got['not_removed'], got['ok']], [[out + '.index.json'], [shard], True])
        else:
            code, said, error = ckpt(*again)
            check('people are told', [code, error] == [1, ''] and 'm-00001-of-00009.safetensors is of an older' in said,
                  said + error)
        equal('the new file is whole', ckpt('diff', MLP, out)[0], 0)


def adapter(name, config, prefix='base_model.model.fc1', extra=(), rank=2):
    """A folder with a low-rank adapter of the demo's fc1: B A is 1 everywhere where the rank is 2."""
    place = out_path(name)
    os.makedirs(place, exist_ok=True)
    pair = [(prefix + '.lora_A.weight', [rank, 784], [1.0, 0.0] * 784 if rank == 2 else [1.0] * 784 * rank),
            (prefix + '.lora_B.weight', [10, rank], [0.5] * 10 * rank)]
    save(os.path.join(name, 'adapter_model.bin'),
         PROTO + dictionary([(key, tensor(str(i), len(values), shape))
                             for i, (key, shape, values) in enumerate([*pair, *extra])]) + b'.',
         [(str(i), struct.pack('<%df' % len(values), *values))
          for i, (key, shape, values) in enumerate([*pair, *extra])])
    for path in glob.glob(os.path.join(place, '*.json')):
        os.remove(path)
    if config is not None:
        with open(os.path.join(place, 'adapter_config.json'), 'w') as f:
            json.dump(config, f)
    return place


def over_a_base():
    """--base: an overlay, and with --merge-lora a sum."""
    adapter_only = os.path.join(DATA, 'frameworks', 'lightning-2', 'adapter.ckpt')
    base, out = os.path.join(DATA, 'frameworks', 'lightning-2', 'base.ckpt'), out_path()
    got = document('adapter over base', 0, 'convert', adapter_only, out, '-f', '--base', base)
    equal('what it replaces', [got['base']['replaced'], got['base']['added'], got['tensors'], got['ok']],
          [['adapter.bias', 'adapter.weight'], [], 7, True])
    equal('the adapter is in it', ckpt('diff', adapter_only, out)[0], 1)  # and more
    equal('nothing else is changed', [c for c in document('diff', 1, 'diff', base, out)['changed']
                                      if not c['key'].startswith('adapter.')], [])
    whole = out_path('whole.pt')
    equal('to .pt', ckpt('convert', adapter_only, whole, '-f', '--base', base)[0], 0)
    equal('the same weights, at the root', [ckpt('diff', whole, out, '--select-a', '')[0],
                                            ckpt('show', whole, 'epoch')[0]], [0, 1])
    got = document('keys that the base lacks', 0, 'convert', MLP, out, '-f', '--base', base)
    equal('are added', got['base']['added'], ['fc1.bias', 'fc1.weight'])
    said = ckpt('convert', MLP, out, '-f', '--base', base)[1]
    check('and said to people, with what renames them', 'added     fc1.bias: the base has no such key; --rules' in said,
          said)
    code, _, error = ckpt('convert', MLP, out, '-f', '--base', base, '--rules',
                          rules('rename fc1.weight -> net.0.weight\ndrop fc1.bias\n'))
    check('another shape is refused', code == 1 and 'shapes_differ' in error and 'a rule "drop KEY"' in error, error)
    code, _, error = ckpt('convert', MLP, out, '-f', '--base', base, '--base', MLP)
    check('two bases are refused', code == 3 and '--base is given twice' in error, error)
    equal('a base that is not there', ckpt('convert', MLP, out, '-f', '--base', out_path('none.pt'))[0], 2)
    equal('--merge-lora without --base', ckpt('convert', MLP, out, '-f', '--merge-lora')[0], 3)
    swa = os.path.join(DATA, 'frameworks', 'lightning-2', 'swa.ckpt')
    error = ckpt('convert', adapter_only, out, '-f', '--base', swa)[2]
    check('a base that is a question', 'state_dict_ambiguous' in error and 'convert FILE base.safetensors' in error,
          error)


def merged():
    out, merge = out_path(), ('-f', '--merge-lora', '--base', MLP)
    got = document('an adapter', 0, 'convert', adapter('ad', {'lora_alpha': 8}), out, *merge)
    equal('is merged', [*(got['base'][name] for name in ('merged', 'replaced', 'unused')), got['tensors']],
          [[{'key': 'fc1.weight', 'path': 'base_model.model.fc1', 'scale': 4.0, 'tied': []}], [], [], 2])
    bias = ('base_model.model.fc1.base_layer.bias', [10], [float(i) for i in range(10)])
    got = document('a bias', 0, 'convert', adapter('ad', {'lora_alpha': 8}, extra=[bias]), out, *merge)
    equal('is replaced', got['base']['replaced'], ['fc1.bias'])
    equal('by its values', json.loads(ckpt('show', out, 'fc1.bias', '--json')[1])['$tensor']['shape'], [10])
    for config, scale in (({'lora_alpha': 8, 'use_rslora': True}, 8 / 2 ** 0.5),
                          ({'lora_alpha': 8, 'alpha_pattern': {'other': 1, 'fc1': 3}}, 1.5),
                          ({'lora_alpha': 8, 'alpha_pattern': {'^c1': 1, 'c1': 1, '^f.*1': 5}}, 2.5),
                          ({'alpha_pattern': {'fc\\.': 1, 'f.1': 7}}, 3.5)):
        got = document(str(config), 0, 'convert', adapter('ad', config), out, *merge)
        equal('its scale', got['base']['merged'][0]['scale'], scale)
    for config, word in (({'peft_type': 'LOHA'}, 'LOHA'), ({'lora_alpha': 8, 'use_dora': True}, 'use_dora'),
                         ({'lora_alpha': 8, 'alora_invocation_tokens': [1]}, 'alora'),
                         ({'lora_alpha': 8, 'init_lora_weights': 'pissa_niter_4'}, 'pissa'),
                         ({'lora_alpha': 8, 'alpha_pattern': {'(a|b)': 1}}, '(a|b)'), ({}, 'stores no alpha'),
                         (None, 'adapter_config.json'), ({'lora_alpha': 'x'}, 'lora_alpha')):
        code, _, error = ckpt('convert', adapter('ad', config), out, *merge)
        check('refused: %s' % config, code != 0 and word in error, error)
    got = document('names of diffusers', 0, 'convert', adapter('ad', None, 'unet.fc1'), out, *merge)
    equal('have the rank for alpha', got['base']['merged'][0]['scale'], 1.0)
    lost = [('base_model.model.head.weight', [1], [1.0])]
    other = adapter('ad', {'lora_alpha': 8}, 'base_model.model.fc2', lost)
    os.remove(out)
    got = document('what does not fit', 1, 'convert', other, out, *merge)
    equal('is listed', [u['key'].rpartition('model.')[2] for u in got['base']['unused']],
          ['head.weight', 'fc2.lora_A.weight', 'fc2.lora_B.weight'])
    check('nothing is written', not got['ok'] and not os.path.exists(out))
    said = ckpt('convert', other, out, *merge)[1]
    check('people read why', 'not used' in said and '--rules brings' in said, said)
    equal('unless it is let go', ckpt('convert', other, out, *merge, '--allow-loss', 'base_model.**')[0], 0)
    equal('rules bring names together', ckpt('convert', other, out, *merge, '--rules', rules(
        'rename {p:**}.fc2.{q:**} -> {p}.fc1.{q}\ndrop **.head.weight\n'))[0], 0)


def many_names():
    """One large tensor of an adapter under many keys, all of which mean one of the base: it is not read for each."""
    whole, one = tensor('0', 1 << 22, [1 << 22]), tensor('1', 1, [1, 1])
    records = [('0', bytes(1 << 24)), ('1', floats(1))]
    base = save('head.pt', PROTO + dictionary([('head', whole), ('fc1.weight', one)]) + b'.', records)
    many = save('heads.pt', PROTO + dictionary([('fc1.lora_A.weight', one), ('fc1.lora_B.weight', one),
                                                ('fc1.alpha', tensor('1', 1, []))] +
                                               [('head[%d]' % i, whole) for i in range(4000)]) + b'.', records)
    got = document('4,000 names of one tensor', 0, 'convert', many, out_path(), '-f', '--merge-lora', '--base', base)
    equal('are one', [got['base']['replaced'], got['base']['unused']], [['head'], []])


def folded():
    out, path = out_path(), os.path.join(DATA, 'torch-2.13', 'weight_norm.pt')
    got = document('--fold-weight-norm', 0, 'convert', path, out, '-f', '--fold-weight-norm')
    equal('what it folds', [len(got['folded']), got['not_folded'], got['tensors']], [12, [], 24])
    equal('a pair', got['folded'][1], {'key': '1.weight', 'g': '1.parametrizations.weight.original0',
                                       'v': '1.parametrizations.weight.original1'})
    digests = {row['key']: row['crc32'] for row in document('its values', 0, 'ls', out, '--digest')['tensors']}
    equal('are those of torch', [key for key in digests
                                 if not key.startswith('want.') and digests[key] != digests['want.' + key]], [])
    said = ckpt('convert', path, out, '-f', '--fold-weight-norm')[1]
    check('people see it', 'folded    0.weight_hh_l0 of 0.weight_hh_l0_g and 0.weight_hh_l0_v' in said, said)
    whole = out_path('folded.pt')
    equal('to .pt', ckpt('convert', path, whole, '-f', '--fold-weight-norm')[0], 0)
    equal('the same weights', ckpt('diff', whole, out)[0], 0)
    half = save('half.pt', PROTO + dictionary([('a.weight_g', tensor('0', 1, [1]))]) + b'.', [('0', floats(1))])
    got = document('half of a pair', 1, 'convert', half, out, '-f', '--fold-weight-norm', '--select', '')
    equal('is listed', [(n['key'], n['why']['code']) for n in got['not_folded']], [('a.weight_g', 'key_missing')])
    said = ckpt('convert', half, out, '-f', '--fold-weight-norm', '--select', '')[1]
    check('people see why', 'unfolded  a.weight_g: it is half' in said, said)
    equal('it stays where that is allowed', ckpt('convert', half, out, '-f', '--fold-weight-norm', '--select', '',
                                                 '--allow-loss', '*.weight_g')[0], 0)


def arrays():
    out = out_path('out.npz')
    got = document('to .npz', 0, 'convert', MLP, out)
    equal('its form', [got['format'], got['tensors'], got['bytes'], got['shared']],
          ['npz', 2, os.path.getsize(out), []])
    with zipfile.ZipFile(out) as z:
        equal('names', z.namelist(), ['fc1.weight.npy', 'fc1.bias.npy'])
        equal('checksums', z.testzip(), None)
        equal('a header', z.read('fc1.bias.npy')[:128], b"\x93NUMPY\1\0v\0{'descr': '<f4', 'fortran_order': False, "
              b"'shape': (10,), }" + b' ' * 59 + b'\n')
        bias = z.read('fc1.bias.npy')[128:]
    equal('it exists now', ckpt('convert', MLP, out)[0], 1)
    equal('bfloat16 is refused', ckpt('convert', MLP, out, '-f', '--dtype', '**=bfloat16')[0], 1)
    check('with what helps', '--raw' in ckpt('convert', MLP, out, '-f', '--dtype', '**=bfloat16')[1])
    equal('--raw', ckpt('convert', MLP, out, '-f', '--dtype', '**=bfloat16', '--raw')[0], 0)
    one = out_path('one.npy')
    equal('two arrays are no .npy', ckpt('convert', MLP, one)[0], 1)
    equal('one is', ckpt('convert', MLP, one, '--rules', rules('keep fc1.bias\n'))[0], 0)
    with open(one, 'rb') as f:
        equal('the same array', f.read()[128:], bias)
    for words in (('--metadata', 'a=b'), ('--max-shard-size', '5'), ('--duplicate-shared',)):
        equal(words[0] + ' of .npz', ckpt('convert', MLP, out, '-f', *words)[0], 3)
    equal('--raw of .safetensors', ckpt('convert', MLP, out_path(), '-f', '--raw')[0], 3)


def lone_tensors():
    """Files of torch.save(tensor), and one tensor out of a larger object."""
    lone = save('lone.pt', PROTO + tensor('0', 3, [3]) + b'.', [('0', floats(3))])
    nest = save('nest.pt', PROTO + dictionary([('m', tensor('0', 3, [3])), ('opt', dictionary([
        ('exp', tensor('1', 3, [3]))]))]) + b'.', [('0', floats(3)), ('1', struct.pack('<3f', 4, 5, 6))])
    out = out_path('lone.safetensors')
    equal('a single tensor', ckpt('convert', lone, out)[0], 0)
    equal('has the key "tensor"', list(header_of(out)), ['tensor'])
    equal('and is equal', ckpt('diff', lone, out)[0], 0)
    equal('a tensor of an object', ckpt('convert', nest, out, '-f', '--select', 'opt.exp')[0], 0)
    equal('has the last name', list(header_of(out)), ['exp'])
    equal('is equal, too', ckpt('diff', nest, out, '--select-a', 'opt.exp')[0], 0)
    array = out_path('lone.npy')
    equal('either is an .npy', [ckpt('convert', lone, array)[0],
                                ckpt('convert', nest, array, '-f', '--select', 'opt.exp')[0]], [0, 0])
    with open(array, 'rb') as f:
        equal('with its values', f.read()[-12:], struct.pack('<3f', 4, 5, 6))
    out = out_path('lone2.pt')
    equal('a .pt of it that is cast', ckpt('convert', nest, out, '--select', 'opt.exp', '--dtype', '**=float16')[0], 0)
    rows = json.loads(ckpt('ls', out, '--json')[1])['tensors']
    equal('is a single tensor again', [(row['key'], row['dtype']) for row in rows], [('', 'float16')])
    ckpt('convert', nest, out, '-f', '--select', 'opt.exp', '--rules', rules('rename exp -> w\n'))
    equal('or a dictionary where a rule names it', list(shown(out)), ['w'])
    got = document('a path of what is lost', 1, 'convert', nest, out_path('lone.npz'), '--select', 'opt.exp', '--dtype',
                   '**=bfloat16')
    equal('is that of the tensor', [row['path'] for row in got['left_out']], [['opt', 'exp']])


def string(data):
    return struct.pack('<Q', len(data.encode())) + data.encode()


def gguf():
    out, meta = out_path('out.gguf'), out_path('meta.json')
    with open(meta, 'w') as f:
        json.dump({'general.architecture': 'tiny', 'tiny.block_count': 2,
                   'tiny.eps': {'type': 'float64', 'value': .5}}, f)
    got = document('to .gguf', 0, 'convert', MLP, out, '--gguf-meta', meta, '--dtype', 'fc1.weight=float16')
    equal('its members', list(got),
          'schema in out format tensors bytes left_out dropped casts shared replaced kept notes ok'.split())
    equal('its form', [got['format'], got['tensors'], got['bytes'], got['kept'], got['notes']],
          ['gguf', 2, os.path.getsize(out), [], []])
    with open(out, 'rb') as f:
        data = f.read()
    head = (b'GGUF' + struct.pack('<IQQ', 3, 2, 3) + string('general.architecture') + struct.pack('<I', 8) +
            string('tiny') + string('tiny.block_count') + struct.pack('<II', 4, 2) + string('tiny.eps') +
            struct.pack('<Id', 12, .5) + string('fc1.weight') + struct.pack('<IQQIQ', 2, 784, 10, 1, 0) +
            string('fc1.bias') + struct.pack('<IQIQ', 1, 10, 0, 15680))
    head += bytes(-len(head) % 32)
    equal('the head', data[:len(head)], head)
    equal('the size', len(data), len(head) + 15680 + 64)
    got = document('without metadata', 0, 'convert', GPT2, out, '-f', '--dtype', '**=float16', '--dtype', '**=Q8_0')
    check('says what is missing', len(got['notes']) == 1 and 'general.architecture' in got['notes'][0], got['notes'])
    kinds = {c['key']: c['to'] for c in got['casts']}
    check('what can be quantised is', 'Q8_0' in kinds.values() and len(kinds) == got['tensors'], kinds)
    check('the pattern before takes the rest', {kinds[entry['key']] for entry in got['kept']} == {'float16'}, got)
    equal('a tied tensor is written twice',
          [got['shared'], 'lm_head.weight' in kinds, 'transformer.wte.weight' in kinds], [[], True, True])
    said = ckpt('convert', GPT2, out, '-f', '--dtype', '**=Q4_0')[1]
    check('people are told, too', 'not quantised, it has one dimension' in said and 'note' in said, said)
    code, _, error = ckpt('convert', MLP, out, '-f', '--dtype', 'fc1.weight=Q8_0')
    check('a key that cannot be quantised is refused', code == 1 and 'no multiple of 32' in error, error)
    long, renamed = rules('rename fc1.bias -> ' + 'k' * 65 + '\n'), out_path('long.gguf')
    code, said, _ = ckpt('convert', MLP, renamed, '--rules', long)
    check('a long name is refused, and what helps is said',
          code == 1 and 'the name has 65 bytes' in said and '--rules' in said and not os.path.exists(renamed), said)
    got = document('a name of 64 bytes', 0, 'convert', MLP, renamed, '--rules',
                   rules('rename fc1.bias -> ' + 'k' * 64 + '\n'), '--gguf-meta', meta)
    check('is noted', len(got['notes']) == 1 and 'it takes 63' in got['notes'][0], got['notes'])
    equal('what was left out is not looked for', ckpt('convert', MLP, out, '-f', '--dtype', 'fc1.bias=float8_e5m2',
                                                      '--allow-loss', 'fc1.bias')[0], 0)
    base = save('base.pt', PROTO + dictionary([('step', tensor('0', 1, [1])), ('w', tensor('1', 1, [1]))]) + b'.',
                [('0', floats(1)), ('1', floats(1))])
    over = save('over.pt', PROTO + dictionary([('step', number(5)), ('w', tensor('0', 1, [1]))]) + b'.',
                [('0', floats(1))])
    equal('a key that is no tensor of IN is one of the base', ckpt('convert', over, out, '-f', '--base', base,
                                                                   '--allow-loss', 'step')[0], 0)
    check('the cast that helps', '--dtype KEY=float32' in ckpt('convert', MLP, out, '-f', '--json', '--dtype',
                                                               'fc1.bias=float8_e5m2')[1])
    for text_of_meta in ('{"a": null}', '{"a": nul}', '[1]', '{"a": {"type": "half", "value": 1}}'):
        with open(meta, 'w') as f:
            f.write(text_of_meta)
        code, _, error = ckpt('convert', MLP, out, '-f', '--gguf-meta', meta)
        check('metadata that is wrong: ' + text_of_meta, code == 3 and meta in error and MLP not in error, error)
    equal('metadata that is not there', ckpt('convert', MLP, out, '-f', '--gguf-meta', out_path('none.json'))[0], 3)
    for words in (('--metadata', 'a=b'), ('--max-shard-size', '5'), ('--duplicate-shared',), ('--raw',)):
        equal(words[0] + ' of .gguf', ckpt('convert', MLP, out, '-f', *words)[0], 3)
    for words in (('--dtype', '**=Q8_0'), ('--dtype', '**=Q4_0'), ('--gguf-meta', meta)):
        equal(words[-1] + ' of .safetensors', ckpt('convert', MLP, out_path(), '-f', *words)[0], 3)
    equal('a dtype that nobody has', ckpt('convert', MLP, out, '-f', '--dtype', '**=Q5_0')[0], 3)
    equal('what was written opens here by its name only', ckpt('info', out)[0], 2)


def shown(path, *places):
    return json.loads(ckpt('show', path, *places, '--json')[1])


def checkpoints():
    """A .pt has all of IN, one with --select its state_dict."""
    out = out_path('out.pt')
    got = document('to .pt', 0, 'convert', MLP, out)
    equal('its form', [got['format'], got['tensors'], got['bytes'], got['left_out'], got['replaced'], got['ok']],
          ['pt', 5, os.path.getsize(out), [], [], True])
    equal('all of it is there', shown(out, 'epoch', 'best_loss'), shown(MLP, 'epoch', 'best_loss'))
    equal('and every tensor', ckpt('diff', MLP, out, '--select-a', '', '--select-b', '')[0], 0)
    equal("its names are those of torch's safe mode", ckpt('globals', out, '--policy', 'weights')[0], 0)
    equal('it is whole', ckpt('verify', out)[0], 0)
    with zipfile.ZipFile(out) as z:
        equal('for others, too', z.testzip(), None)
        equal('its records', z.namelist()[:4], ['out/data.pkl', 'out/.format_version', 'out/.storage_alignment',
                                                'out/byteorder'])
    equal('it exists now', ckpt('convert', MLP, out)[0], 1)
    for suffix in ('pth', 'ckpt', 'bin'):
        equal('.' + suffix + ' means the same', ckpt('convert', MLP, out_path('out.' + suffix))[0], 0)
    got = document('--select', 0, 'convert', MLP, out, '-f', '--select', 'model')
    equal('has the state_dict alone', [got['tensors'], list(shown(out))], [2, ['fc1.weight', 'fc1.bias']])
    ckpt('convert', GPT2, out, '-f', '--dtype', '**=float16')
    rows = {row['key']: row for row in json.loads(ckpt('ls', out, '--json')[1])['tensors']}
    tied = [rows[k]['storage'] for k in ('lm_head.weight', 'transformer.wte.weight')]
    equal('a tied tensor that is cast stays one', [len(set(tied)), rows['lm_head.weight']['dtype']], [1, 'float16'])
    pair = tensor('0', 2, [2])
    path = save('metadata.pt', PROTO + dictionary([('__metadata__', pair), ('b', pair)]) + b'.', [('0', bytes(8))])
    equal('a key that other formats lack',
          ckpt('convert', path, out, '-f', '--select', '', '--dtype', '**=float16')[0], 0)
    equal('is tied, too', len({row['storage'] for row in json.loads(ckpt('ls', out, '--json')[1])['tensors']}), 1)
    got = document('--select of an optimizer', 0, 'convert', MLP, out, '-f', '--select', 'optimizer')
    equal('has it as it is', shown(out, 'param_groups'), shown(MLP, 'optimizer/param_groups'))
    path = save('inner.pt', PROTO + dictionary([('a', dictionary([('b', b']' + b'cmine\nfunction\na')]))]) + b'.')
    got = document('a loss below --select', 1, 'convert', path, out, '-f', '--select', 'a')
    equal('has its path in IN', got['left_out'][0]['path'], ['a', 'b', 0])
    got = document('a cast', 0, 'convert', MLP, out, '-f', '--dtype', '**=bfloat16')
    equal('is of the weights', [c['key'] for c in got['casts']], ['fc1.weight', 'fc1.bias'])
    dtypes = {'/'.join(map(str, row['path'])): row['dtype'] for row in json.loads(
        ckpt('ls', out, '--all', '--json')[1])['tensors']}
    equal('and of nothing else', {k.split('/')[0]: d for k, d in dtypes.items()},
          {'model': 'bfloat16', 'optimizer': 'float32'})
    equal('the rest stays', shown(out, 'epoch'), shown(MLP, 'epoch'))
    ckpt('convert', MLP, out, '-f', '--rules', rules('rename fc1.weight -> w\n'))
    equal('rules, too', list(shown(out, 'model')), ['w', 'fc1.bias'])
    equal('a safetensors file keeps its metadata', ckpt('convert', MLP, out_path('meta.safetensors'), '-f',
                                                         '--metadata', 'a=b')[0], 0)
    equal('as an attribute', [ckpt('convert', out_path('meta.safetensors'), out, '-f')[0],
                              shown(out, '__metadata__')], [0, {'a': 'b'}])


def objects():
    """What torch's safe mode refuses is listed, or becomes plain data."""
    namespace = b'cargparse\nNamespace\n)\x81' + dictionary([('lr', number(3))]) + b'b'
    path = save('objects.pt', PROTO + dictionary([('args', namespace), ('list', b'](' + namespace + number(5) + b'e'),
                                                 ('w', tensor('0', 2, [2])), ('f', b'cmine\nfunction\n')]) + b'.',
                [('0', floats(2))])
    out = out_path('objects-out.pt')
    got = document('objects', 1, 'convert', path, out)
    equal('are listed', [entry['path'] for entry in got['left_out']], [['args'], ['list', 0], ['f']])
    equal('with reasons', [entry['why']['code'] for entry in got['left_out']],
          ['format_lacks', 'format_lacks', 'global_not_allowed'])
    equal('and what helps, in the words of the program', [entry['why'].get('hint') for entry in got['left_out']][:1],
          ['Write it as a dictionary of its attributes: --plain'])
    check('and nothing is written', not got['ok'] and not os.path.exists(out))
    said = ckpt('convert', path, out)[1]
    check('people are told of --plain', '--plain' in said and '--allow-loss' in said, said)
    equal('two of three are not enough', ckpt('convert', path, out, '--allow-loss', 'args', '--allow-loss', 'f')[0], 1)
    equal('allowed', ckpt('convert', path, out, '--allow-loss', '**')[0], 0)
    equal('the rest is written', shown(out, 'list'), [None, 5])
    got = document('--plain', 0, 'convert', path, out, '-f', '--plain')
    equal('says what became of them', [[r['was'], r['now'], r['count'], r['first']] for r in got['replaced']],
          [['argparse.Namespace', 'dict', 2, 'args'], ['a class or function', 'its name', 1, 'f']])
    equal('and writes it', shown(out, 'args', 'list', 'f'), [{'lr': 3}, [{'lr': 3}, 5], 'mine.function'])
    evil = save('evil.pt', PROTO + dictionary([('w', tensor('0', 2, [2])), ('f', b'cos\nsystem\n')]) + b'.',
                [('0', floats(2))])
    equal('but reads no file that names something dangerous', ckpt('convert', evil, out, '-f', '--plain')[0], 1)
    for words in (('--metadata', 'a=b'), ('--max-shard-size', '5'), ('--duplicate-shared',), ('--raw',)):
        equal(words[0] + ' of .pt', ckpt('convert', MLP, out, '-f', *words)[0], 3)
    equal('--plain of .npz', ckpt('convert', MLP, out_path('x.npz'), '--plain')[0], 3)


def everything():
    """Each file and folder of tests/data whose weights are found, and that holds nothing which the format lacks."""
    outs = [out_path('each.safetensors'), out_path('each.pt')]
    converted, differ = [0, 0], []
    for path in sorted(glob.glob(os.path.join(DATA, '**', '*'), recursive=True)):
        if path.endswith(('.json', '.py', '.md', '.txt')):
            continue
        for i, out in enumerate(outs):
            if ckpt('convert', path, out, '-f')[0] != 0:
                continue
            converted[i] += 1
            code, _, error = ckpt('diff', path, out)
            if 'state_dict_ambiguous' in error:
                code, _, error = ckpt('diff', path, out, '--select-a', '', '--select-b', '')
            if code != 0 and 'state_dict_missing' not in error:
                differ.append(os.path.relpath(path, DATA))
    print('{} files and folders of tests/data were converted to .safetensors, {} to .pt'.format(*converted))
    check('most of the files are converted', converted[0] >= 150 and converted[1] >= 300, converted)
    equal('and none is different afterwards', differ, [os.path.join(version, 'expanded_far.pt') for version in (
        'torch-1.13', 'torch-2.13')])  # whose values are too many to compare


def stopped():
    """A signal leaves the folder as it was."""
    place = out_path('stopped')
    os.mkdir(place)
    source, out = os.path.join(place, 'in.safetensors'), os.path.join(place, 'out.npz')
    count = 1 << 28
    header = json.dumps({'w': {'dtype': 'F32', 'shape': [count], 'data_offsets': [0, 4 * count]}}).encode()
    with open(source, 'wb') as f:  # zeros that take no place
        f.write(struct.pack('<Q', len(header)) + header)
        f.truncate(8 + len(header) + 4 * count)
    for sent, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        signal.signal(sent, signal.SIG_DFL)  # whoever runs this may have made it deaf, as nohup does
        running = subprocess.Popen([cli.program, 'convert', source, out, '--dtype', '**=float64'],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while running.poll() is None and len(os.listdir(place)) < 2:
            time.sleep(0.001)
        running.send_signal(sent)
        equal(f'{sent.name} ends it', running.wait(timeout=60), code)
        equal(f'{sent.name} leaves nothing', os.listdir(place), ['in.safetensors'])


def full_disk():
    """On a file system that is too small nothing is left, and what was there stays."""
    place = out_path('small')
    os.mkdir(place)
    mounted = hasattr(os, 'geteuid') and os.geteuid() == 0 and shutil.which('mount') is not None and subprocess.run(
        ['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', place], stderr=subprocess.DEVNULL).returncode == 0
    if not mounted:
        cli.skipped += 1
        return
    try:
        large = save('large.pt', PROTO + dictionary([('x', tensor('0', 100000, [100000]))]) + b'.',
                     [('0', bytes(400000))])
        old = os.path.join(place, 'x.safetensors')
        with open(old, 'w') as f:
            f.write('old')
        code, _, error = ckpt('convert', large, old, '-f')
        equal('a full disk', code, 5)
        check('is named', 'no space left' in error, error)
        equal('nothing is left of it', os.listdir(place), ['x.safetensors'])
        with open(old) as f:
            equal('and the old file stays', f.read(), 'old')
    finally:
        subprocess.run(['umount', place], check=True)


if __name__ == '__main__':
    sys.exit(cli.run(one_file, casts, casts_of_many, casts_passed_over, losses, words, kept_by_the_system, over_a_base,
                     merged, many_names, folded,
                     arrays, lone_tensors, gguf, checkpoints, objects, stopped, everything, full_disk))
