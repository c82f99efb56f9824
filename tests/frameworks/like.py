#!/usr/bin/env python3
"""Writes dictionaries of the structure that well-known programs save, with torch.save, in tests/data/frameworks/like:
programs that need more than a CPU and random weights to run.

    pip install torch==2.13.0 numpy omegaconf==2.4.0
    python tests/frameworks/like.py
"""
import argparse
import collections

import numpy
import omegaconf
import torch

import keep
import tiny


@tiny.module_named('pytorch_lightning.callbacks.model_checkpoint')
class ModelCheckpoint:
    """A key of the dictionary of callbacks in Lightning before 1.5."""


@tiny.module_named('fairseq.data.dictionary')
class Dictionary:
    def __init__(self):
        self.bos_word, self.unk_word, self.pad_word, self.eos_word = '<s>', '<unk>', '<pad>', '</s>'
        self.symbols, self.count = ['<s>', '<pad>', '</s>', '<unk>', '0'], [1, 1, 1, 1, 7]
        self.indices = {s: i for i, s in enumerate(self.symbols)}
        self.bos_index, self.pad_index, self.eos_index, self.unk_index, self.nspecial = 0, 1, 2, 3, 4


def weights(shapes, prefix='', dtype=torch.float32):
    return collections.OrderedDict((prefix + name, torch.randn(shape).to(dtype)) for name, shape in shapes.items())


def adam(values):
    """The state of Adam over the values of a state_dict."""
    parameters = [torch.nn.Parameter(v.float()) for v in values.values()]
    optimizer = torch.optim.AdamW(parameters)
    sum(p.sum() for p in parameters).backward()
    optimizer.step()
    return optimizer.state_dict()


def dino():
    shapes = {'backbone.cls_token': (1, 1, 4), 'backbone.pos_embed': (1, 5, 4),
              'backbone.patch_embed.proj.weight': (4, 3, 2, 2), 'backbone.blocks.0.attn.qkv.weight': (12, 4),
              'backbone.blocks.0.attn.qkv.bias': (12,), 'head.mlp.0.weight': (4, 4),
              'head.last_layer.weight_g': (8, 1), 'head.last_layer.weight_v': (8, 4)}
    student = weights(shapes, 'module.')
    args = argparse.Namespace(arch='vit_small', patch_size=16, out_dim=8, local_crops_scale=(0.05, 0.4), use_fp16=False)
    return {'student': student, 'teacher': weights(shapes), 'optimizer': adam(student), 'epoch': 1, 'args': args,
            'dino_loss': collections.OrderedDict(center=torch.zeros(1, 8))}


def whisper():
    shapes = {'encoder.positional_embedding': (6, 4), 'encoder.conv1.weight': (4, 8, 3), 'encoder.conv1.bias': (4,)}
    for side in 'encoder', 'decoder':
        for part in ('attn', 'cross_attn') if side == 'decoder' else ('attn',):
            block = '%s.blocks.0.%s.' % (side, part)
            shapes.update({block + name: (4, 4)
                           for name in ('query.weight', 'key.weight', 'value.weight', 'out.weight')})
            shapes.update({block + name: (4,) for name in ('query.bias', 'value.bias', 'out.bias')})
    shapes.update({'decoder.token_embedding.weight': (16, 4), 'decoder.ln.weight': (4,), 'decoder.ln.bias': (4,)})
    dims = {'n_mels': 8, 'n_audio_ctx': 6, 'n_audio_state': 4, 'n_audio_head': 2, 'n_audio_layer': 1, 'n_vocab': 16,
            'n_text_ctx': 8, 'n_text_state': 4, 'n_text_head': 2, 'n_text_layer': 1}
    return {'dims': dims, 'model_state_dict': weights(shapes, dtype=torch.float16)}


def latent_diffusion():
    unet = weights({'diffusion_model.time_embed.0.weight': (4, 4),
                    'diffusion_model.input_blocks.0.0.weight': (4, 4, 3, 3),
                    'diffusion_model.middle_block.1.proj_in.weight': (4, 4, 1, 1), 'diffusion_model.out.2.bias': (4,)})
    state_dict = weights({'betas': (10,), 'alphas_cumprod': (10,)})
    state_dict.update({'model.' + k: v for k, v in unet.items()})
    state_dict.update({'model_ema.decay': torch.tensor(0.9999),
                       'model_ema.num_updates': torch.tensor(7, dtype=torch.int32)})
    state_dict.update({'model_ema.' + k.replace('.', ''): v / 2 for k, v in unet.items()})
    state_dict.update(weights({'encoder.conv_in.weight': (4, 3, 3, 3), 'decoder.conv_out.bias': (3,),
                               'quant_conv.bias': (8,)},
                              'first_stage_model.'))
    text = 'cond_stage_model.transformer.text_model.'
    state_dict[text + 'embeddings.position_ids'] = torch.arange(6).unsqueeze(0)
    state_dict.update(weights({'embeddings.token_embedding.weight': (16, 4), 'final_layer_norm.bias': (4,)}, text))
    callback = {'monitor': 'val/loss_simple_ema', 'best_model_score': numpy.float32(0.25),
                'best_model_path': 'epoch=000.ckpt'}
    return {'epoch': 1, 'global_step': 470000, 'pytorch-lightning_version': '1.4.2', 'state_dict': state_dict,
            'callbacks': {ModelCheckpoint: callback}, 'optimizer_states': [adam(unet)],
            'lr_schedulers': [{'base_lrs': [0.0001], 'last_epoch': 470000, '_last_lr': [numpy.float64(1e-4)]}]}


def fairseq():
    model = weights({'mask_emb': (4,), 'label_embs_concat': (8, 4),
                     'feature_extractor.conv_layers.0.0.weight': (4, 1, 3),
                     'encoder.pos_conv.0.bias': (4,), 'encoder.pos_conv.0.weight_g': (1, 1, 4),
                     'encoder.pos_conv.0.weight_v': (4, 2, 4), 'encoder.layers.0.self_attn.k_proj.weight': (4, 4),
                     'final_proj.weight': (2, 4)},
                    dtype=torch.float16)
    config = omegaconf.OmegaConf.create({
        '_name': None, 'common': {'_name': None, 'fp16': True, 'seed': 1, 'user_dir': None},
        'task': {'_name': 'hubert_pretraining', 'data': '???', 'labels': ['km']},
        'optimization': {'lr': [0.0005], 'max_update': '${task.steps}'}})
    loss = [10, 'loss', 'AverageMeter', {'val': torch.tensor(2.5), 'sum': torch.tensor(10.0), 'count': 4, 'round': 3}]
    return {'args': argparse.Namespace(arch='hubert', encoder_layers=1, lr=[0.0005], no_cuda=False), 'cfg': config,
            'model': model, 'criterion': None,
            'optimizer_history': [{'criterion_name': 'HubertCriterion', 'optimizer_name': 'FairseqAdam',
                                   'lr_scheduler_state': {'best': None}, 'num_updates': 10}],
            'task_state': {'dictionaries': [Dictionary()]},
            'extra_state': {'metrics': {'train': [loss]}, 'val_loss': 2.25,
                            'train_iterator': {'version': 2, 'epoch': 2, 'iterations_in_epoch': 0, 'shuffle': True}},
            'last_optimizer_state': adam(model)}


def esrgan():
    return weights({'conv_first.weight': (4, 3, 3, 3), 'conv_first.bias': (4,),
                    'body.0.rdb1.conv1.weight': (2, 4, 3, 3),
                    'body.0.rdb1.conv1.bias': (2,), 'conv_up1.weight': (4, 4, 3, 3), 'conv_last.bias': (3,)})


def save(name, saved, shows, **fields):
    torch.save(saved, name)
    keep.keep_file(name, 'like', name, 'torch ' + torch.__version__, shows + ', by torch.save', **fields)


def main():
    torch.manual_seed(7)
    with tiny.empty_folder():
        save('dino.pth', dino(), "DINO's student and teacher, of which one is in DDP",
             question=['student', 'teacher'])
        save('whisper.pt', whisper(), "Whisper's sizes and weights in half precision", weights='model_state_dict')
        save('latent_diffusion.ckpt', latent_diffusion(),
             'a Lightning checkpoint of latent diffusion: averaged weights without dots, a class as a key, numpy '
             'scalars',
             weights='state_dict')
        save('fairseq.pt', fairseq(), "fairseq's checkpoint: arguments, an omegaconf configuration, its own Dictionary",
             weights='model')
        save('basicsr.pth', {'params': esrgan(), 'params_ema': esrgan()}, "BasicSR's raw and averaged weights",
             question=['params', 'params_ema'])
        save('basicsr_ema.pth', {'params_ema': esrgan()}, "BasicSR's averaged weights alone", weights='params_ema')


if __name__ == '__main__':
    main()
