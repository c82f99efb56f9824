"""What several scripts share: a tiny random GPT-2, names, classes of other modules, and an empty folder to run in."""
import contextlib
import os
import sys
import tempfile
import types

import torch

import vision

TORCHVISION = vision.import_torchvision()  # the libraries import it where it is installed


def gpt2():
    import transformers
    torch.manual_seed(7)
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(
        n_embd=8, n_layer=2, n_head=2, vocab_size=32, n_positions=16, bos_token_id=0, eos_token_id=1))


def release(module):
    """The module's major and minor version, as the folder of its files is named: transformers-4.57."""
    return '%s-%s' % (module.__name__, '.'.join(module.__version__.split('.')[:2]))


def module_named(name):
    """A decorator: the class lives in the module `name`, as that of the program which saved the file did."""
    for part in (name.partition('.')[0], name):
        module = sys.modules.setdefault(part, types.ModuleType(part))

    def move(cls):
        cls.__module__ = name
        setattr(module, cls.__name__, cls)
        return cls
    return move


def randomized(net):
    """All floating parameters and buffers random and counters too, so that no two tensors of a shape are equal."""
    with torch.no_grad():
        for tensor in [*net.parameters(), *net.buffers()]:
            if tensor.is_floating_point():
                tensor.normal_()
            elif tensor.ndim == 0:
                tensor.random_(1, 1 << 30)
    return net


@contextlib.contextmanager
def empty_folder():
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        yield


def merged_shards(folder, suffix, load):
    """The dictionaries of all shards of a saved model (or of its only file) in the order of their names, as one."""
    weights = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(suffix):
            weights.update(load(os.path.join(folder, name)))
    return weights
