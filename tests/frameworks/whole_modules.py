#!/usr/bin/env python3
"""Saves whole pickled modules with torch.save in tests/data/frameworks/modules: a transformers model, a torchvision
model, modules of torch's own with everything that a module can hold, YOLOv5's dictionary, a user's own class.

    pip install torch==2.13.0 transformers==5.23.0 numpy
    pip install --no-deps torchvision==0.28.0 pillow
    python tests/frameworks/whole_modules.py
"""
import collections
import pathlib
import warnings

import torch
from torch import nn

import keep
import tiny  # before torchvision, which does not import without it

import torchvision
import transformers

FOLDER = 'modules'
TORCH = 'torch ' + torch.__version__


def save(module, name, framework, shows, **fields):
    torch.save(module, name)
    keep.keep_file(name, FOLDER, name, framework, shows, **fields)


def every_kind():
    """A module of torch's classes alone."""
    root = nn.Module()
    root.register_buffer('early', torch.arange(3))
    root.register_buffer('scratch', torch.ones(2), persistent=False)
    root.register_buffer('no_buffer', None)
    root.declared = nn.Buffer(torch.ones(2))
    root.declared_scratch = nn.Buffer(torch.ones(2), persistent=False)
    root.weight = nn.Parameter(torch.randn(2, 2))
    root.weight.tag = 'an attribute of the parameter'
    root.frozen = nn.Parameter(torch.randn(2), requires_grad=False)
    root.register_parameter('no_parameter', None)
    root.register_module('no_module', None)
    root.plain = torch.zeros(2)
    root.encoder = nn.Sequential(collections.OrderedDict(
        conv=nn.Conv2d(2, 4, 3, bias=False).to(memory_format=torch.channels_last), norm=nn.BatchNorm2d(4),
        bare_norm=nn.BatchNorm2d(4, affine=False, track_running_stats=False), act=nn.ReLU()))
    root.encoder_again = root.encoder
    root.embedding = nn.Embedding(5, 4)
    root.head = nn.Linear(4, 5)
    root.head.weight = root.embedding.weight
    root.parameter_list = nn.ParameterList([torch.randn(2), torch.randn(3)])
    root.parameter_dict = nn.ParameterDict({'b': torch.randn(2), 'a': torch.randn(1)})
    root.module_list = nn.ModuleList([nn.Linear(2, 1), nn.Identity()])
    root.module_dict = nn.ModuleDict({'10': nn.Linear(1, 2), '9': nn.Dropout(0.5)})
    root.weight_normed = nn.utils.weight_norm(nn.Linear(2, 2))
    root.spectral_normed = nn.utils.spectral_norm(nn.Linear(2, 2))
    root.rnn = nn.LSTM(2, 2)
    root.attention = nn.MultiheadAttention(4, 2)
    root.register_forward_hook(torch.relu)
    root.head.register_forward_pre_hook(nn.functional.relu)
    return root


class Net(nn.Module):
    """A user's own class; its extra state is made by a method and is not in the file."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.version = 3

    def get_extra_state(self):
        return {'version': self.version}

    def set_extra_state(self, state):
        self.version = state['version']


@tiny.module_named('models.common')
class Conv(nn.Module):
    def __init__(self, c1, c2):
        super().__init__()
        self.conv = nn.Conv2d(c1, c2, 3, 2, bias=False)
        self.bn = nn.BatchNorm2d(c2)
        self.act = nn.SiLU()


@tiny.module_named('models.yolo')
class Detect(nn.Module):
    def __init__(self, anchors, channels):
        super().__init__()
        self.stride = torch.tensor([8.0])
        self.grid = [torch.empty(0)]
        self.anchor_grid = [torch.ones(1, 2, 1, 1, 2)]
        self.register_buffer('anchors', torch.tensor(anchors).float().view(1, -1, 2))
        self.m = nn.ModuleList([nn.Conv2d(channels, 12, 1)])


@tiny.module_named('models.yolo')
class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.yaml = {'nc': 1, 'backbone': [[-1, 1, 'Conv', [4, 3, 2]]]}
        self.model = nn.Sequential(Conv(3, 4), Conv(4, 4), Detect([[1, 2, 3, 4]], 4))
        self.names = ['thing']
        self.stride = self.model[-1].stride
        self.inplace = True


def yolov5():
    """The dictionary of YOLOv5's train.py, with classes of the same names and attributes."""
    model, average = Model(), Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    sum(p.sum() for p in model.parameters()).backward()
    optimizer.step()
    return {'epoch': 0, 'best_fitness': 0.1, 'model': model.half(), 'ema': average.half(), 'updates': 7,
            'optimizer': optimizer.state_dict(),
            'opt': {'weights': pathlib.PosixPath('yolov5s.pt'), 'hyp': {'lr0': 0.01}},
            'git': {'remote': None, 'branch': None, 'commit': None}, 'date': '2022-11-22T00:00:00'}


def main():
    # weight_norm and spectral_norm are the old ones on purpose.
    warnings.filterwarnings('ignore', category=FutureWarning)
    with tiny.empty_folder():
        save(tiny.gpt2(), 'gpt2.pt', 'transformers ' + transformers.__version__, 'a whole model with its configuration',
             weights='')
        save(torchvision.models.VisionTransformer(32, 16, 2, 2, 8, 16, num_classes=3), 'vision_transformer.pt',
             'torchvision ' + torchvision.__version__, 'a whole model', weights='')
        save(every_kind(), 'torch_module.pt', TORCH,
             "torch's own classes: buffers that are not persistent, None, tied and shared parts, hooks, weight_norm, "
             "lists, "
             'LSTM',
             weights='')
        save(nn.DataParallel(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))), 'data_parallel.pt', TORCH,
             'a module in DataParallel', weights='')
        save(Net(), 'user_module.pt', TORCH, "a module of a user's own class, with get_extra_state", weights='',
             user_globals=[['__main__', 'Net']], ls_error='global_not_allowed', ls_policy='inspect')
        save(yolov5(), 'like_yolov5.pt', TORCH,
             "YOLOv5's dictionary by torch.save: model and averaged model, both whole", question=['model', 'ema'])


if __name__ == '__main__':
    main()
