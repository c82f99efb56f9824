#!/usr/bin/env python3
"""Saves the state_dict of a linear layer quantised by torchao, as int8, float8 and int4 in int8, in
tests/data/frameworks/torchao-0.18.

    pip install torch==2.13.0 torchao==0.18.0 numpy
    python tests/frameworks/torchao_tensors.py
"""
import torch
import torchao
from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, IntxWeightOnlyConfig, quantize_

import keep
import tiny


def main():
    with tiny.empty_folder():
        for name, config in (('int8', Int8WeightOnlyConfig()), ('float8', Float8WeightOnlyConfig()),
                             ('int4_in_int8', IntxWeightOnlyConfig(weight_dtype=torch.int4))):
            torch.manual_seed(0)
            model = torch.nn.Linear(8, 4).to(torch.bfloat16)
            quantize_(model, config)
            torch.save(model.state_dict(), name + '.pt')
            keep.keep_file(name + '.pt', 'torchao-0.18', name + '.pt', 'torchao ' + torchao.__version__,
                           'a weight of %s: a wrapper with named parts' % type(model.weight).__name__, weights='')


if __name__ == '__main__':
    main()
