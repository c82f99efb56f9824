#!/usr/bin/env python3
"""Saves a tiny GPT-2 of transformers and the 16 tensors that llm.c makes of it, in tests/data/frameworks/names_gpt2.
The form of those is proved by computing: what llm.c computes of them, done here with numpy, are transformers' scores.

    pip install torch==2.13.0 numpy transformers==5.23.0
    python tests/frameworks/names_gpt2.py
"""
import math

import numpy
import torch

import keep
import tiny

import transformers

MULTIPLE = 128
OF_LAYERS = {'ln1w': 'ln_1.weight', 'ln1b': 'ln_1.bias', 'qkvw': 'attn.c_attn.weight', 'qkvb': 'attn.c_attn.bias',
             'attprojw': 'attn.c_proj.weight', 'attprojb': 'attn.c_proj.bias', 'ln2w': 'ln_2.weight',
             'ln2b': 'ln_2.bias', 'fcw': 'mlp.c_fc.weight', 'fcb': 'mlp.c_fc.bias', 'fcprojw': 'mlp.c_proj.weight',
             'fcprojb': 'mlp.c_proj.bias'}


def llm_c_tensors(net):
    """The fields of llm.c's ParameterTensors, in their order."""
    weights, layers = net.state_dict(), net.config.n_layer
    wte = weights['transformer.wte.weight']
    rows = -(-len(wte) // MULTIPLE) * MULTIPLE
    out = {'wte': torch.cat([wte, torch.zeros(rows - len(wte), wte.shape[1])]),
           'wpe': weights['transformer.wpe.weight']}
    for name, part in OF_LAYERS.items():
        parts = [weights['transformer.h.%d.%s' % (i, part)] for i in range(layers)]
        out[name] = torch.stack([p.t().contiguous() if p.dim() == 2 else p for p in parts])
    return {**out, 'lnfw': weights['transformer.ln_f.weight'], 'lnfb': weights['transformer.ln_f.bias']}


def layer_norm(x, weight, bias):
    return (x - x.mean(-1, keepdims=True)) / numpy.sqrt(x.var(-1, keepdims=True) + 1e-5) * weight + bias


def gelu(x):
    return 0.5 * x * (1 + numpy.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))


def scores(p, tokens, heads):
    """The scores of all tokens behind each of `tokens`: a matrix has a row for each output."""
    steps = len(tokens)
    x = p['wte'][tokens] + p['wpe'][:steps]
    for i in range(len(p['ln1w'])):
        qkv = layer_norm(x, p['ln1w'][i], p['ln1b'][i]) @ p['qkvw'][i].T + p['qkvb'][i]
        q, k, v = (part.reshape(steps, heads, -1).swapaxes(0, 1) for part in numpy.split(qkv, 3, -1))
        weights = q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1])
        weights = numpy.exp(numpy.where(numpy.tri(steps), weights, -numpy.inf))
        attended = (weights / weights.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(steps, -1)
        x = x + attended @ p['attprojw'][i].T + p['attprojb'][i]
        hidden = gelu(layer_norm(x, p['ln2w'][i], p['ln2b'][i]) @ p['fcw'][i].T + p['fcb'][i])
        x = x + hidden @ p['fcprojw'][i].T + p['fcprojb'][i]
    return layer_norm(x, p['lnfw'], p['lnfb']) @ p['wte'].T


def main():
    net = tiny.randomized(tiny.gpt2()).eval()
    made, tokens = llm_c_tensors(net), [3, 1, 4, 15, 9]
    computed = scores({name: value.double().numpy() for name, value in made.items()}, tokens, net.config.n_head)
    with torch.no_grad():
        wanted = net.double()(torch.tensor([tokens])).logits[0].numpy()
    assert numpy.allclose(computed[:, :net.config.vocab_size], wanted) and made['wte'].shape[0] == MULTIPLE
    net.float()
    with tiny.empty_folder():
        framework = 'transformers ' + transformers.__version__
        for name, saved, shows in (('hf.pt', net.state_dict(), "a GPT-2 with transformers' names"),
                                   ('llm_c.pt', made, "the same as llm.c's tensors: layers stacked, rows padded")):
            torch.save(saved, name)
            keep.keep_file(name, 'names_gpt2', name, framework, shows, weights='')


if __name__ == '__main__':
    main()
