#!/usr/bin/env python3
"""Gives the tiny Chinese-CLIP of tests/data/frameworks/cn_clip-1.6/epoch_latest.pt (chinese_clip.py) two other forms,
in tests/data/frameworks/names_chinese_clip: with BERT's pooler, which the published checkpoints have and cn_clip drops
when it loads them, and under the names of Hugging Face's ChineseCLIPModel, filled by the functions of
convert_chinese_clip_original_pytorch_to_hf.py, which transformers carried until 4.46.

    pip install torch==2.13.0 numpy
    pip install --no-deps torchvision==0.28.0 pillow cn_clip==1.6.0 six
    pip install transformers==4.46.3
    python tests/frameworks/names_chinese_clip.py
"""
import collections
import importlib.metadata
import os

import torch

import chinese_clip
import gloo
import keep
import tiny

import transformers
from cn_clip.clip.model import CLIP
from cn_clip.clip.modeling_bert import BertPooler
from transformers.models.chinese_clip import convert_chinese_clip_original_pytorch_to_hf as convert

S = chinese_clip.SIZES


def with_pooler(weights):
    net = CLIP(**S)
    net.bert.pooler = BertPooler(net.bert.config)
    net = torch.nn.parallel.DistributedDataParallel(net)
    net.load_state_dict(weights, strict=False)
    return {'epoch': 1, 'step': chinese_clip.STEPS, 'name': 'tiny', 'state_dict': net.state_dict()}


def hugging_face(weights):
    out = transformers.ChineseCLIPModel(transformers.ChineseCLIPConfig(
        projection_dim=S['embed_dim'],
        text_config={'vocab_size': S['vocab_size'], 'hidden_size': S['text_hidden_size'],
                     'num_hidden_layers': S['text_num_hidden_layers'],
                     'num_attention_heads': S['text_num_attention_heads'],
                     'intermediate_size': S['text_intermediate_size'],
                     'max_position_embeddings': S['text_max_position_embeddings'],
                     'type_vocab_size': S['text_type_vocab_size']},
        vision_config={'hidden_size': S['vision_width'], 'intermediate_size': 4 * S['vision_width'],
                       'num_hidden_layers': S['vision_layers'],
                       'num_attention_heads': S['vision_width'] // S['vision_head_width'],
                       'image_size': S['image_resolution'], 'patch_size': S['vision_patch_size']}))
    weights = {k.removeprefix('module.'): v for k, v in weights.items()}
    with torch.no_grad():
        convert.copy_text_model_and_projection(out, weights)
        convert.copy_vision_model_and_projection(out, weights)
        out.logit_scale.data = weights['logit_scale'].data
    # Without sharing: the script leaves q, k and v as parts of one storage.
    return collections.OrderedDict((k, v.clone(memory_format=torch.contiguous_format))
                                   for k, v in out.state_dict().items())


def main():
    torch.manual_seed(7)
    saved = torch.load(os.path.join(keep.DATA, 'cn_clip-1.6', 'epoch_latest.pt'), weights_only=False)
    with tiny.empty_folder(), gloo.alone():
        for name, made, framework, shows, path in [
                ('epoch_latest_pooler.pt', with_pooler(saved['state_dict']),
                 'cn_clip ' + importlib.metadata.version('cn_clip'),
                 "the weights of cn_clip-1.6/epoch_latest.pt with BERT's pooler", 'state_dict'),
                ('hf.pt', hugging_face(saved['state_dict']), 'transformers ' + transformers.__version__,
                 'the weights of cn_clip-1.6/epoch_latest.pt under the names of a ChineseCLIPModel, by its conversion '
                 'script',
                 '')]:
            torch.save(made, name)
            keep.keep_file(name, 'names_chinese_clip', name, framework, shows, weights=path)


if __name__ == '__main__':
    main()
