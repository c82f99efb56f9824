#!/usr/bin/env python3
"""Saves a small DenseNet and a small VisionTransformer under the names that torchvision's present and earlier versions
have, in tests/data/frameworks/names_torchvision. Earlier names are put back to the present ones by torchvision itself:
the pattern in its densenet.py, MLPBlock._load_from_state_dict in its vision_transformer.py.

    pip install torch==2.13.0 numpy
    pip install --no-deps torchvision==0.28.0 pillow
    python tests/frameworks/names_torchvision.py
"""
import collections
import re

import torch

import keep
import tiny

import torchvision
from torchvision.models import densenet, vision_transformer


class Weights:
    """What densenet._load_state_dict asks of a WeightsEnum."""

    def __init__(self, weights):
        self.weights = weights

    def get_state_dict(self, **_):
        return dict(self.weights)


def dense():
    return tiny.randomized(densenet.DenseNet(growth_rate=2, block_config=(2, 3), num_init_features=4, bn_size=2,
                                             num_classes=3))


def earlier_dense(weights):
    """As torchvision wrote them with torch before 0.4.1, which had no num_batches_tracked."""
    out = collections.OrderedDict((re.sub(r'(denselayer\d+\.(?:norm|conv))([12]\.)', r'\1.\2', k), v)
                                  for k, v in weights.items() if not k.endswith('num_batches_tracked'))
    again = dense()
    densenet._load_state_dict(again, Weights(out), False)
    assert all(torch.equal(v, weights[k]) for k, v in again.state_dict().items()
               if not k.endswith('num_batches_tracked'))
    return out


def vit():
    return tiny.randomized(vision_transformer.VisionTransformer(image_size=8, patch_size=4, num_layers=2, num_heads=2,
                                                                hidden_dim=4, mlp_dim=6, num_classes=3))


def earlier_vit(weights):
    """As torchvision 0.12 wrote them; its state_dict had no version of MLPBlock."""
    numbers = {'0': 'linear_1', '3': 'linear_2'}
    out = collections.OrderedDict((re.sub(r'(\.mlp\.)([03])\.', lambda m: m[1] + numbers[m[2]] + '.', k), v)
                                  for k, v in weights.items())
    again = vit()
    again.load_state_dict(dict(out))
    assert all(torch.equal(v, weights[k]) for k, v in again.state_dict().items())
    return out


def main():
    torch.manual_seed(7)
    dense_weights, vit_weights = dense().state_dict(), vit().state_dict()
    with tiny.empty_folder():
        for name, saved, shows in [('densenet.pt', dense_weights, 'a DenseNet'),
                                   ('densenet_earlier.pt', earlier_dense(dense_weights),
                                    'the same with the names of torchvision 0.2: norm.1, conv.1'),
                                   ('vit.pt', vit_weights, 'a VisionTransformer'),
                                   ('vit_earlier.pt', earlier_vit(vit_weights),
                                    'the same with the names of torchvision 0.12: linear_1, linear_2')]:
            torch.save(saved, name)
            keep.keep_file(name, 'names_torchvision', name, 'torchvision ' + torchvision.__version__, shows, weights='')


if __name__ == '__main__':
    main()
