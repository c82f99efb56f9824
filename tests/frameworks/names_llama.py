#!/usr/bin/env python3
"""Saves two small Llama models, with a head of its own and with a tied one, under the names of Hugging Face and of
GGUF, in tests/data/frameworks/names_llama. The names are those of the gguf package, the rows of q and k stand in the
order that llama.cpp's convert_hf_to_gguf.py gives them; transformers' own GGUF reader is asked whether it would undo
that.

    pip install torch==2.13.0 numpy transformers==5.23.0 gguf==0.19.0
    python tests/frameworks/names_llama.py
"""
import collections
import importlib.metadata

import gguf
import numpy
import torch

import keep
import tiny

import transformers
from transformers.modeling_gguf_pytorch_utils import LlamaTensorProcessor

HEADS, KV_HEADS, LAYERS = 4, 2, 2


def llama(tied, bias):
    return tiny.randomized(transformers.LlamaForCausalLM(transformers.LlamaConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS, head_dim=8, vocab_size=32, max_position_embeddings=16, bos_token_id=0,
        eos_token_id=1, tie_word_embeddings=tied, attention_bias=bias)))


def permute(weights, n_head, n_head_kv):
    """LlamaModel.permute of llama.cpp's convert_hf_to_gguf.py."""
    if n_head_kv is not None and n_head != n_head_kv:
        n_head = n_head_kv
    return (weights.reshape(n_head, 2, weights.shape[0] // n_head // 2, *weights.shape[1:])
            .swapaxes(1, 2)
            .reshape(weights.shape))


def gguf_names(net, tied):
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, LAYERS)
    config = {'num_attention_heads': HEADS, 'num_key_value_heads': KV_HEADS}
    out = collections.OrderedDict()
    for key, value in net.state_dict().items():
        if tied and key == 'lm_head.weight':  # the file that llama.cpp converts does not have it
            continue
        name, array = names.get_name(key, try_suffixes=('.weight', '.bias')), value.numpy()
        if '.q_proj.' in key or '.k_proj.' in key:
            old, array = array, permute(array, HEADS, HEADS if '.q_proj.' in key else KV_HEADS)
            if key.endswith('.weight'):
                back = LlamaTensorProcessor(config=config).process(weights=array, name=name).weights
                assert numpy.array_equal(back, old) and not numpy.array_equal(array, old)
        out[name] = torch.from_numpy(numpy.ascontiguousarray(array))
    return out


def main():
    torch.manual_seed(7)
    hf, gg = 'transformers ' + transformers.__version__, 'gguf ' + importlib.metadata.version('gguf')
    with tiny.empty_folder():
        for stem, tied, bias, what in [('llama', False, False, 'grouped attention and a head of its own'),
                                       ('llama_tied', True, True, 'a tied head and biases in attention')]:
            net = llama(tied, bias)
            for suffix, saved, framework, shows in [('_hf.pt', net.state_dict(), hf, 'a Llama with ' + what),
                                                    ('_gguf.pt', gguf_names(net, tied), gg,
                                                     'the same under the names and in the order of GGUF')]:
                torch.save(saved, stem + suffix)
                keep.keep_file(stem + suffix, 'names_llama', stem + suffix, framework, shows, weights='')


if __name__ == '__main__':
    main()
