#!/usr/bin/env python3
"""Saves two small Llama models, with a head of its own and with a tied one, under the names of Hugging Face, of GGUF
and of Meta's own files, in tests/data/frameworks/names_llama. GGUF's names are those of the gguf package, the rows of q
and k stand in the order that llama.cpp's convert_hf_to_gguf.py gives them; transformers' own GGUF reader is asked
whether it would undo that. That Meta's rows have the same order is proved by computing: the rotation of neighbouring
rows as complex numbers gives the scores of transformers' attention.

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
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

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


META = {'model.embed_tokens': 'tok_embeddings', 'model.norm': 'norm', 'lm_head': 'output', 'model.layers': 'layers',
        'self_attn.q_proj': 'attention.wq', 'self_attn.k_proj': 'attention.wk', 'self_attn.v_proj': 'attention.wv',
        'self_attn.o_proj': 'attention.wo', 'mlp.gate_proj': 'feed_forward.w1', 'mlp.down_proj': 'feed_forward.w2',
        'mlp.up_proj': 'feed_forward.w3', 'input_layernorm': 'attention_norm', 'post_attention_layernorm': 'ffn_norm'}


def meta_names(net):
    """A tied head is there, too, as values of its own."""
    out = collections.OrderedDict()
    for key, value in net.state_dict().items():
        array = value.numpy()
        if '.q_proj.' in key or '.k_proj.' in key:
            array = permute(array, HEADS, HEADS if '.q_proj.' in key else KV_HEADS)
        for hf, meta in META.items():
            key = key.replace(hf, meta)
        out[key] = torch.from_numpy(numpy.array(array))
    return out


def check_rotation(net, meta):
    """The scores of the first layer's attention, before any scaling, for six random inputs."""
    x, at = torch.randn(6, net.config.hidden_size), torch.arange(6)
    first = net.model.layers[0].self_attn
    split = lambda y: y.unflatten(-1, (-1, net.config.head_dim)).transpose(0, 1)  # heads, steps, rows
    with torch.no_grad():
        q, k = split(first.q_proj(x)), split(first.k_proj(x))
        cos, sin = net.model.rotary_emb(x, at[None])
        q, k = (t[0] for t in apply_rotary_pos_emb(q[None], k[None], cos, sin))
        turns = torch.outer(at.float(), net.model.rotary_emb.inv_freq)
        turns = torch.polar(torch.ones_like(turns), turns)
        rotated = []
        for part in 'wq', 'wk':
            name = 'layers.0.attention.' + part
            rows = x @ meta[name + '.weight'].T + meta.get(name + '.bias', 0)
            pairs = torch.view_as_complex(split(rows).unflatten(-1, (-1, 2)).contiguous())
            rotated.append(torch.view_as_real(pairs * turns).flatten(-2))
    scores = [q @ k.repeat_interleave(HEADS // KV_HEADS, 0).transpose(1, 2) for q, k in ((q, k), rotated)]
    assert torch.allclose(*scores, atol=1e-4)


def main():
    torch.manual_seed(7)
    hf, gg = 'transformers ' + transformers.__version__, 'gguf ' + importlib.metadata.version('gguf')
    with tiny.empty_folder():
        for stem, tied, bias, what in [('llama', False, False, 'grouped attention and a head of its own'),
                                       ('llama_tied', True, True, 'a tied head and biases in attention')]:
            net = llama(tied, bias)
            meta = meta_names(net)
            check_rotation(net, meta)
            for suffix, saved, framework, shows in [('_hf.pt', net.state_dict(), hf, 'a Llama with ' + what),
                                                    ('_meta.pt', meta, hf, "the same as Meta's files have it"),
                                                    ('_gguf.pt', gguf_names(net, tied), gg,
                                                     'the same under the names and in the order of GGUF')]:
                torch.save(saved, stem + suffix)
                keep.keep_file(stem + suffix, 'names_llama', stem + suffix, framework, shows, weights='')


if __name__ == '__main__':
    main()
