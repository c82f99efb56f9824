"""Keeps what a framework wrote in tests/data/frameworks, with what PyTorch says of it beside it (NAME.json).

Needs torch and numpy. The fields of an oracle are described at the top of tests/torch/oracle.py.
"""
import json
import os
import shutil
import sys

import numpy
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
DATA = os.path.join(TESTS, 'data', 'frameworks')
SCRIPT = os.path.relpath(os.path.abspath(sys.argv[0]), os.path.dirname(TESTS))  # before anyone changes the folder
sys.path[:0] = [HERE, os.path.join(TESTS, 'torch')]
import expected  # noqa: E402


def oracle(path, framework, shows, seen, protocol=2, **fields):
    """Writes the oracle `path`: what PyTorch says of `seen`, the object that the file or the folder holds."""
    document = {'made_by': {'script': SCRIPT, 'framework': framework,
                            'torch': torch.__version__, 'numpy': numpy.__version__, 'python': sys.version.split()[0]},
                'shows': shows, 'oracle_from': 'loaded by torch'}
    document.update(fields)
    document.update(expected.describe(seen, protocol))
    with open(path, 'w') as f:
        f.write(expected.dumps(document))


def keep_file(source, folder, name, framework, shows, seen=None, **fields):
    """Copies the file `source` to tests/data/frameworks/FOLDER/NAME and writes its oracle.

    Fields: weights='state_dict' (the path of the one best candidate; '' is the root) or question=['model', 'ema']
    (the paths that the error of an ambiguous file lists); protocol, the pickle's, where it is not 2; ls_error,
    ls_policy and user_globals=[[module, name]] where the file names classes of a user's own.
    """
    out = os.path.join(DATA, folder)
    os.makedirs(out, exist_ok=True)
    target = os.path.join(out, name)
    shutil.copy(source, target)
    if seen is None:
        seen = torch.load(target, weights_only=False)
    oracle(os.path.splitext(target)[0] + '.json', framework, shows, seen, **fields)
    print(os.path.relpath(target, TESTS), os.path.getsize(target))


def keep_folder(source, folder, name, framework, shows, weights, files, leave_out=(), **fields):
    """Copies the directory `source` to tests/data/frameworks/FOLDER/NAME and writes its oracle NAME.json: `weights` is
    the dictionary of tensors of the consolidated model (None where there is none), `files` maps each torch file below
    it whose content matters (a path with '/') to the fields of its own oracle, NAME.STEM.json."""
    out = os.path.join(DATA, folder)
    os.makedirs(out, exist_ok=True)
    target = os.path.join(out, name)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*leave_out))
    if weights is not None:
        oracle(target + '.json', framework, shows, weights, **fields)
    for path, own in files.items():
        own = dict(own)
        seen = torch.load(os.path.join(target, path), weights_only=False)
        stem = os.path.splitext(path)[0].replace('/', '.')
        oracle('%s.%s.json' % (target, stem), framework, own.pop('shows'), seen, file=name + '/' + path, **own)
    for at, _, found in os.walk(target):
        for f in found:
            print(os.path.relpath(os.path.join(at, f), TESTS), os.path.getsize(os.path.join(at, f)))


def keep_distributed(source, folder, name, framework, shows, seen, selected=None, values=None, leave_out=()):
    """Copies the directory `source` of a distributed checkpoint to tests/data/frameworks/FOLDER/NAME and writes its
    oracle NAME.json: `seen` is what the framework's own consolidation makes of it. With `selected` that is the
    dictionary of tensors at that path, which is the best candidate; else the whole object. `values` replaces what
    `show` must print. Where a tensor lies is not compared, as the consolidated one lies nowhere."""
    out = os.path.join(DATA, folder)
    os.makedirs(out, exist_ok=True)
    target = os.path.join(out, name)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*leave_out))
    fields = {} if selected is None else {'selected': selected}
    oracle(target + '.json', framework, shows, seen, **fields)
    with open(target + '.json') as f:
        document = json.load(f)
    for row in document['tensors']:
        for field in ('shares', 'storage_offset', 'requires_grad'):
            row.pop(field, None)
    if values is not None:
        document['values'] = values
    document['oracle_from'] = "the framework's own consolidation"
    with open(target + '.json', 'w') as f:
        f.write(expected.dumps(document))
    for at, _, found in os.walk(target):
        for f in found:
            print(os.path.relpath(os.path.join(at, f), TESTS), os.path.getsize(os.path.join(at, f)))
