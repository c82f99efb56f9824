#!/usr/bin/env python3
"""Saves one small ViT CLIP under the names of OpenAI's CLIP, OpenCLIP (both forms) and Hugging Face, in
tests/data/frameworks/names_clip. OpenCLIP loads OpenAI's state_dict; the Hugging Face model is filled by the functions
of convert_clip_original_pytorch_to_hf.py, which transformers carried until 4.46.

    pip install torch==2.13.0 numpy
    pip install --no-deps torchvision==0.28.0 pillow openai-clip==1.0.1 ftfy regex
    pip install --no-deps open_clip_torch==3.3.0 timm
    pip install transformers==4.46.3
    python tests/frameworks/names_clip.py
"""
import collections
import importlib.metadata
import sys
import types

import packaging.version
import torch

import keep
import tiny  # before clip, which imports torchvision

sys.modules.setdefault('pkg_resources', types.SimpleNamespace(packaging=packaging))  # setuptools no longer has it
import clip.model
import open_clip
import transformers
from transformers.models.clip import convert_clip_original_pytorch_to_hf as convert

IMAGE, PATCH, EMBED, CONTEXT, VOCABULARY = 8, 4, 6, 5, 16
SCALARS = {'input_resolution': IMAGE, 'context_length': CONTEXT, 'vocab_size': VOCABULARY}


def openai():
    """Its sizes are multiples of 64 where heads are counted from the width, so the smaller tower is put in after."""
    net = clip.model.CLIP(EMBED, IMAGE, 1, 64, PATCH, CONTEXT, VOCABULARY, 4, 2, 2)
    net.visual = clip.model.VisionTransformer(IMAGE, PATCH, 8, 2, 2, EMBED)
    return tiny.randomized(net)


def openai_state_dict(net):
    """The published files are TorchScript archives, whose state_dict has the sizes too."""
    weights = net.state_dict()
    weights.update({k: torch.tensor(v) for k, v in SCALARS.items()})
    return weights


def open_clip_names(weights, cls):
    net = cls(EMBED, open_clip.CLIPVisionCfg(layers=2, width=8, head_width=4, patch_size=PATCH, image_size=IMAGE),
              open_clip.CLIPTextCfg(context_length=CONTEXT, vocab_size=VOCABULARY, width=4, heads=2, layers=2))
    net.load_state_dict(weights)
    return net.state_dict()


def hugging_face(net):
    sizes = {'num_hidden_layers': 2, 'num_attention_heads': 2}
    out = transformers.CLIPModel(transformers.CLIPConfig(
        projection_dim=EMBED,
        text_config=dict(sizes, hidden_size=4, intermediate_size=16, vocab_size=VOCABULARY,
                         max_position_embeddings=CONTEXT, bos_token_id=0, eos_token_id=1, pad_token_id=1),
        vision_config=dict(sizes, hidden_size=8, intermediate_size=32, image_size=IMAGE, patch_size=PATCH)))
    with torch.no_grad():
        convert.copy_text_model_and_projection(out, net)
        convert.copy_vison_model_and_projection(out, net)
        out.logit_scale = net.logit_scale
    # Without sharing: the script leaves q, k and v as parts of one storage.
    return collections.OrderedDict((k, v.clone()) for k, v in out.state_dict().items())


def main():
    torch.manual_seed(7)
    net = openai()
    weights = net.state_dict()
    version = importlib.metadata.version
    files = [
        ('openai.pt', openai_state_dict(net), 'openai-clip ' + version('openai-clip'),
         "a ViT CLIP under OpenAI's names, with the sizes that its archives have"),
        ('open_clip.pt', open_clip_names(weights, open_clip.CLIP), 'open_clip_torch ' + open_clip.__version__,
         'the same under the names of OpenCLIP'),
        ('open_clip_text.pt',
         open_clip_names(open_clip.model.convert_to_custom_text_state_dict(weights), open_clip.CustomTextCLIP),
         'open_clip_torch ' + open_clip.__version__, "the same under the names of OpenCLIP's CustomTextCLIP"),
        ('hf.pt', hugging_face(net), 'transformers ' + transformers.__version__,
         'the same under the names of a CLIPModel, by its conversion script'),
    ]
    with tiny.empty_folder():
        for name, saved, framework, shows in files:
            torch.save(saved, name)
            keep.keep_file(name, 'names_clip', name, framework, shows, weights='')


if __name__ == '__main__':
    main()
