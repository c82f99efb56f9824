#!/usr/bin/env python3
"""Compares the names of tests/support/naming_schemes.hpp with the real packages: each name must be one of the model's
state_dict, with as many dimensions. Says what was compared, and what could not be. Exit code 1 where a name is wrong.

    pip install torch==2.13.0 numpy openai-whisper
    pip install transformers==4.57.1
    pip install --no-deps timm==1.0.31 torchvision==0.28.0 pillow openai-clip==1.0.1 ftfy regex
    pip install --no-deps segment-anything==1.0 diffusers==0.35.2 stable-diffusion-sdkit==2.1.5 einops omegaconf
    python tests/frameworks/naming_schemes.py

The names of fairseq, fairseq2, t5x, Megatron-LM, Meta's Llama, DETR and DINOv2 come from converters of transformers and
fairseq2: those projects are no packages of PyPI, or do not install beside a present PyTorch.
"""
import itertools
import os
import re
import sys
import types

import packaging.version
import torch

import tiny  # before what imports torchvision

HEADER = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'support', 'naming_schemes.hpp')


# --- the header -------------------------------------------------------------------------------------------------------

def choices(name):
    """All names that a pattern of the header stands for: `{a,b}`, `{i}` and `*`, with whether it is a bias."""
    parts = []
    for part in re.split(r'(\{[^}]*\}|\*)', name):
        if part == '*':
            parts.append([('weight', False), ('bias', True)])
        elif part == '{i}':
            parts.append([('0', False), ('1', False)])
        else:
            parts.append([(p, False) for p in part.strip('{}').split(',')] if part.startswith('{') else [(part, False)])
    for chosen in itertools.product(*parts):
        yield ''.join(p for p, _ in chosen), any(bias for _, bias in chosen)


def schemes():
    """(name of the pair, the names of its left side, of its right side): a dictionary from names to dimensions."""
    with open(HEADER, encoding='utf-8') as f:
        text = f.read()
    for name, rows in re.findall(r'\{"([^"]+)", R"\(\n(.*?)\)"\}', text, re.S):
        sides, prefix = ({}, {}), ['', '']
        for row in rows.splitlines():
            fields = [f.strip() for f in row.split('|')]
            if row.startswith('@'):
                prefix = [fields[0][1:].strip(), fields[1]]
                continue
            shapes = (fields[2] if len(fields) > 2 else '').split('>')
            for side in (0, 1):
                if fields[side] == '-':
                    continue
                dimensions = len(shapes[min(side, len(shapes) - 1)].split())
                for key, is_bias in choices(prefix[side] + fields[side]):
                    sides[side][key] = 1 if is_bias else dimensions
        yield (name, *sides)


# --- the models, as small as they can be ------------------------------------------------------------------------------

def of_transformers(cls, config, **fields):
    import transformers
    return getattr(transformers, cls)(getattr(transformers, config)(**fields))


def bart():
    return of_transformers('BartForConditionalGeneration', 'BartConfig', vocab_size=20, d_model=8, encoder_layers=2,
                           decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32,
                           decoder_ffn_dim=32, max_position_embeddings=10)


def transformers_whisper():
    return of_transformers('WhisperForConditionalGeneration', 'WhisperConfig', vocab_size=20, d_model=8,
                           num_mel_bins=6, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
                           decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, max_source_positions=10,
                           max_target_positions=7, pad_token_id=0, bos_token_id=0, eos_token_id=1,
                           decoder_start_token_id=0)


def openai_whisper():
    from whisper import model
    return model.Whisper(model.ModelDimensions(6, 10, 8, 2, 2, 20, 7, 8, 2, 2))


def openai_clip():
    # setuptools no longer has it
    sys.modules.setdefault('pkg_resources', types.SimpleNamespace(packaging=packaging))
    from clip import model
    return model.CLIP(6, 8, 2, 64, 4, 5, 16, 64, 1, 2)


def transformers_clip():
    import transformers
    sizes = {'hidden_size': 8, 'intermediate_size': 32, 'num_hidden_layers': 2, 'num_attention_heads': 2}
    return transformers.CLIPModel(transformers.CLIPConfig(
        projection_dim=6, text_config=dict(sizes, vocab_size=16, max_position_embeddings=5),
        vision_config=dict(sizes, image_size=8, patch_size=4)))


def transformers_roberta():
    return of_transformers('RobertaForMaskedLM', 'RobertaConfig', vocab_size=20, hidden_size=8, num_hidden_layers=2,
                           num_attention_heads=2, intermediate_size=32, max_position_embeddings=10, type_vocab_size=2)


class OwnTranslation(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.transformer = torch.nn.Transformer(8, 2, 2, 2, 32)


def torch_decoder():
    return torch.nn.TransformerDecoder(torch.nn.TransformerDecoderLayer(8, 2, 32), 2, torch.nn.LayerNorm(8))


def transformers_detr():
    return of_transformers('DetrForObjectDetection', 'DetrConfig', use_timm_backbone=True, backbone='resnet18',
                           use_pretrained_backbone=False, d_model=8, encoder_layers=2, decoder_layers=2,
                           encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32,
                           num_queries=7, num_labels=4)


def transformers_t5():
    return of_transformers('T5ForConditionalGeneration', 'T5Config', vocab_size=20, d_model=8, d_kv=6, d_ff=32,
                           num_layers=2, num_heads=2, feed_forward_proj='gated-gelu', tie_word_embeddings=False)


def transformers_gpt2():
    return of_transformers('GPT2LMHeadModel', 'GPT2Config', vocab_size=20, n_positions=10, n_embd=8, n_layer=2,
                           n_head=2)


def transformers_llama():
    return of_transformers('LlamaForCausalLM', 'LlamaConfig', vocab_size=20, hidden_size=8, intermediate_size=24,
                           num_hidden_layers=2, num_attention_heads=2)


def timm_vit():
    import timm
    return timm.models.vision_transformer.VisionTransformer(img_size=8, patch_size=4, embed_dim=8, depth=2, num_heads=2,
                                                            num_classes=5)


def transformers_vit():
    return of_transformers('ViTForImageClassification', 'ViTConfig', image_size=8, patch_size=4, hidden_size=8,
                           num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, num_labels=5)


def torchvision_vit():
    import torchvision
    return torchvision.models.VisionTransformer(8, 4, 2, 2, 8, 32, num_classes=5)


def transformers_dinov2():
    return of_transformers('Dinov2Model', 'Dinov2Config', image_size=8, patch_size=4, hidden_size=8,
                           num_hidden_layers=2, num_attention_heads=2)


def timm_swin():
    import timm
    return timm.models.swin_transformer.SwinTransformer(img_size=32, patch_size=4, embed_dim=8, depths=(2, 2),
                                                        num_heads=(2, 2), window_size=4, num_classes=2)


def read_by_timm(names, net):
    """The names that timm makes of those of its versions before 0.9, which Microsoft's files have too. What it leaves
    out is no parameter any more."""
    from timm.models import swin_transformer
    now = net.state_dict()
    given = {name: torch.zeros([1] * dimensions) for name, dimensions in names.items()}
    for name in given.keys() & now.keys():
        given[name] = now[name].clone()  # tables of other sizes are interpolated
    return {name: tensor.ndim for name, tensor in swin_transformer.checkpoint_filter_fn(given, net).items()}


def transformers_swin():
    return of_transformers('SwinForImageClassification', 'SwinConfig', image_size=32, patch_size=4, embed_dim=8,
                           depths=[2, 2], num_heads=[2, 2], window_size=4, num_labels=2)


def transformers_wav2vec2():
    return of_transformers('Wav2Vec2ForPreTraining', 'Wav2Vec2Config', hidden_size=16, num_hidden_layers=2,
                           num_attention_heads=2, intermediate_size=32, conv_dim=(6, 6, 6), conv_stride=(2, 2, 2),
                           conv_kernel=(3, 3, 3), conv_bias=True, feat_extract_norm='layer', do_stable_layer_norm=True,
                           num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, num_codevectors_per_group=4,
                           num_codevector_groups=2, codevector_dim=8, proj_codevector_dim=8)


def meta_sam():
    from functools import partial
    from segment_anything import modeling
    return modeling.Sam(
        modeling.ImageEncoderViT(img_size=32, patch_size=8, embed_dim=8, depth=2, num_heads=2, out_chans=8,
                                 use_rel_pos=True, window_size=2, norm_layer=partial(torch.nn.LayerNorm, eps=1e-6)),
        modeling.PromptEncoder(8, (4, 4), (32, 32), 8),
        modeling.MaskDecoder(transformer_dim=8, num_multimask_outputs=3, iou_head_hidden_dim=8,
                             transformer=modeling.TwoWayTransformer(depth=2, embedding_dim=8, mlp_dim=16, num_heads=2)))


def transformers_sam():
    import transformers
    return transformers.SamModel(transformers.SamConfig(
        vision_config=dict(hidden_size=8, output_channels=8, num_hidden_layers=2, num_attention_heads=2, image_size=32,
                           patch_size=8, mlp_dim=32, num_pos_feats=4, window_size=2, global_attn_indexes=[1]),
        prompt_encoder_config=dict(hidden_size=8, image_size=32, patch_size=8, mask_input_channels=8),
        mask_decoder_config=dict(hidden_size=8, mlp_dim=16, num_hidden_layers=2, num_attention_heads=2,
                                 iou_head_hidden_dim=8)))


class LatentDiffusion(torch.nn.Module):
    def __init__(self):
        super().__init__()
        from ldm.modules.diffusionmodules import openaimodel
        self.model = torch.nn.Module()
        self.model.diffusion_model = openaimodel.UNetModel(
            image_size=8, in_channels=4, model_channels=32, out_channels=4, num_res_blocks=2, attention_resolutions=[1],
            channel_mult=[1, 2], num_heads=2, use_spatial_transformer=True, context_dim=8, legacy=False,
            use_checkpoint=False)


def diffusers_unet():
    import diffusers
    return diffusers.UNet2DConditionModel(
        sample_size=8, block_out_channels=(32, 64), layers_per_block=2, cross_attention_dim=8, attention_head_dim=2,
        down_block_types=('CrossAttnDownBlock2D', 'DownBlock2D'), up_block_types=('UpBlock2D', 'CrossAttnUpBlock2D'))


TRANSLATED = {timm_swin: read_by_timm}
MODELS = {
    'whisper: transformers, openai': (transformers_whisper, openai_whisper),
    'clip: openai, transformers': (openai_clip, transformers_clip),
    'roberta: transformers, fairseq': (transformers_roberta, None),
    'bart: transformers, nn.Transformer': (bart, OwnTranslation),
    'nllb: fairseq, fairseq2': (None, None),
    'decoder: nn.TransformerDecoder, fairseq': (torch_decoder, None),
    'detr: facebookresearch, transformers': (None, transformers_detr),
    't5: transformers, t5x': (transformers_t5, None),
    'gpt2: megatron-lm, transformers': (None, transformers_gpt2),
    'llama: meta, transformers': (None, transformers_llama),
    'vit: timm, transformers': (timm_vit, transformers_vit),
    'vit: timm, torchvision': (timm_vit, torchvision_vit),
    'dinov2: facebookresearch, transformers': (None, transformers_dinov2),
    'swin: timm, transformers': (timm_swin, transformers_swin),
    'wav2vec2: fairseq, transformers': (None, transformers_wav2vec2),
    'sam: facebookresearch, transformers': (meta_sam, transformers_sam),
    'stable diffusion: compvis, diffusers': (LatentDiffusion, diffusers_unet),
}


def main():
    wrong = compared = 0
    for name, *sides in schemes():
        title, projects = name.split(': ')
        for project, names, make in zip(projects.split(', '), sides, MODELS[name]):
            if make is None:
                print('%s of %s: not compared, no package has it' % (title, project))
                continue
            try:
                net = make()
                state = {k: v.ndim for k, v in net.state_dict().items()}
                names = TRANSLATED[make](names, net) if make in TRANSLATED else names
            except Exception as e:  # whatever a package raises where it does not fit
                print('%s of %s: not compared: %s: %s' % (title, project, type(e).__name__, str(e).splitlines()[0]))
                continue
            compared += 1
            faults = ['%s is not there' % n for n in names if n not in state]
            faults += ['%s has %d dimensions, not %d' % (n, state[n], d) for n, d in names.items()
                       if n in state and state[n] != d]
            wrong += len(faults)
            print('%s of %s: %d of %d names of the model are in the scheme, %d wrong'
                  % (title, project, len(set(names) & set(state)), len(state), len(faults)))
            for fault in faults:
                print('    ' + fault)
    print('%d sides compared, %d names wrong' % (compared, wrong))
    return 1 if wrong or compared == 0 else 0


if __name__ == '__main__':
    sys.exit(main())
