#!/usr/bin/env python3
"""Saves settings as configuration libraries keep them, and enums, beside a small state_dict, in
tests/data/frameworks/configurations/configs.pt.

    pip install torch==2.13.0 numpy==2.4.6 omegaconf==2.4.0 easydict==1.14 addict==2.4.0 yacs==0.1.8
    pip install ml_collections==1.1.0
    python tests/frameworks/configurations.py
"""
import re
import types
import uuid

import addict
import easydict
import ml_collections
import omegaconf
import torch
import yacs.config

import keep
import tiny


def references():
    settings = ml_collections.ConfigDict({'a': 1, 'b': {'c': (1, 2)}})
    settings.reference = settings.get_ref('a')
    return settings


def main():
    torch.manual_seed(7)
    settings = references()
    values = {
        'state_dict': torch.nn.Linear(2, 2).state_dict(),
        'omegaconf': omegaconf.OmegaConf.create({'timesteps': 1000, 'opt': {'lr': 0.5, 'same': '${timesteps}'},
                                                 'betas': [0.9, 0.99],
                                                 'color': uuid.SafeUUID.unsafe, 'whole': '${opt}'}),
        'easydict': easydict.EasyDict({'a': 1, 'b': {'c': [1, 2]}}),
        'addict': addict.Dict({'a': 1, 'b': {'c': [1, {'q': 3}]}}),
        'yacs': yacs.config.CfgNode({'a': 1, 'b': {'c': [1, 2]}}),
        'ml_collections': settings,
        'frozen': ml_collections.FrozenConfigDict({'a': 1}),
        'simple': types.SimpleNamespace(a=1, b=types.SimpleNamespace(c=2)),
        'enums': [uuid.SafeUUID.unsafe, re.RegexFlag.ASCII],
    }
    with tiny.empty_folder():
        torch.save(values, 'configs.pt')
        keep.keep_file('configs.pt', 'configurations', 'configs.pt', 'omegaconf %s' % omegaconf.__version__,
                       'settings of omegaconf, easydict, addict, yacs and ml_collections, enums', weights='state_dict')


if __name__ == '__main__':
    main()
