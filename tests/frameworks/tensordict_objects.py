#!/usr/bin/env python3
"""Saves objects of tensordict (plain, locked, consolidated, a lazy stack, with a value that is no tensor, with a jagged
tensor, as files of its reduction of shared memory), and named tuples of torch, in
tests/data/frameworks/tensordict-0.15.

    pip install torch==2.13.0 tensordict==0.15.3 numpy
    python tests/frameworks/tensordict_objects.py
"""
import copyreg
import json
import os

import tensordict
import torch
from tensordict import TensorDict

import keep
import tiny


def plain(value):
    """A TensorDict as nested dictionaries of tensors, a lazy stack as the list of those."""
    if isinstance(value, tensordict.LazyStackedTensorDict):
        return [plain(v) for v in value.tensordicts]
    if tensordict.is_non_tensor(value):
        return value.data
    if tensordict.is_tensor_collection(value):
        return {k: plain(v) for k, v in value.items()}
    return value


def keep_object(name, framework, shows, seen, values):
    """Keeps a file. `values` is what `show` must print: of an object it prints the class, which `seen` has not."""
    keep.keep_file(name + '.pt', 'tensordict-0.15', name + '.pt', framework, shows, seen=seen)
    path = os.path.join(keep.DATA, 'tensordict-0.15', name + '.json')
    with open(path) as f:
        document = json.load(f)
    document['values'] = values
    with open(path, 'w') as f:
        f.write(keep.expected.dumps(document))


def reduced_by_files(td):
    """How tensordict hands one to another process, by the function that it keeps for it."""
    from tensordict._reductions import _rebuild_tensordict_files
    metadata, tensors, _, _ = td._reduce_vals_and_metadata(requires_metadata=True)
    return _rebuild_tensordict_files, (tensors, metadata)


def keep_more(td):
    """Keeps objects that are read by other functions than a plain TensorDict."""
    framework = 'tensordict ' + tensordict.__version__
    rows = [torch.arange(6.).reshape(2, 3), torch.ones(1, 3)]
    jagged = TensorDict({'j': torch.nested.nested_tensor(rows, layout=torch.jagged), 'b': torch.ones(2)}, [2])
    stacks = TensorDict(
        {'l': tensordict.lazy_stack([TensorDict({'a': torch.full((2,), float(n))}, []) for n in (1, 2)])}, [2])
    for name, value, shows in (('locked', td.clone().lock_(), 'a locked TensorDict'),
                               ('jagged', jagged.consolidate(), 'a consolidated TensorDict with a jagged tensor'),
                               ('stacks', stacks.consolidate(), 'a consolidated TensorDict with a lazy stack in it')):
        torch.save({'step': 3, 'data': value}, name + '.pt')
        read = torch.load(name + '.pt', weights_only=False)
        keep_object(name, framework, shows, {'step': 3, 'data': plain(read['data'])}, {'step': 3})
    kept = copyreg.dispatch_table[TensorDict]
    copyreg.pickle(TensorDict, reduced_by_files)
    torch.save({'step': 3, 'data': td}, 'files.pt')
    copyreg.pickle(TensorDict, kept)
    read = torch.load('files.pt', weights_only=False)
    keep_object('files', framework, 'a TensorDict of tensors under tuples of names',
                {'step': 3, 'data': plain(read['data'])}, {'step': 3})


def main():
    with tiny.empty_folder():
        td = TensorDict({'obs': torch.arange(6.).reshape(2, 3), 'nested': {'act': torch.arange(2).reshape(2, 1)}}, [2])
        lazy = tensordict.lazy_stack([TensorDict({'a': torch.full((n,), float(n))}, []) for n in (1, 2)])
        mixed = TensorDict({'half': torch.arange(3.).half(), 'note': 'text', 'deep': {'flag': torch.tensor(True)}}, [])
        for name, value, shows in (('plain', td, 'a TensorDict'),
                                   ('lazy', lazy, 'a lazy stack of tensors of two shapes'),
                                   ('consolidated', mixed.consolidate(),
                                    'a consolidated TensorDict: one tensor of bytes')):
            torch.save({'step': 3, 'data': value}, name + '.pt')
            read = torch.load(name + '.pt', weights_only=False)
            keep_object(name, 'tensordict ' + tensordict.__version__, shows, {'step': 3, 'data': plain(read['data'])},
                        {'data/note': 'text'} if name == 'consolidated' else {'step': 3})
        keep_more(td)
        packed = torch.nn.utils.rnn.pack_sequence([torch.ones(3), torch.zeros(2)])
        top = torch.topk(torch.arange(5.), 2)
        torch.save({'packed': packed, 'top': top}, 'tuples.pt')
        read = torch.load('tuples.pt', weights_only=False)
        keep_object('tuples', 'torch ' + torch.__version__, 'named tuples: PackedSequence, and what torch.topk returns',
                    {'packed': tuple(read['packed']), 'top': (tuple(read['top']),)}, {'packed/2': None})


if __name__ == '__main__':
    main()
