#!/usr/bin/env python3
"""Trains a tiny LightningModule with Lightning's Trainer and keeps what ModelCheckpoint wrote as
tests/data/frameworks/lightning-2/last.ckpt with the oracle beside it. save_hyperparameters() stores a Namespace, a path,
numpy scalars and nested dictionaries.

    pip install torch==2.13.0 numpy lightning
    python tests/frameworks/lightning_2.py
"""
import argparse
import os
import pathlib
import shutil
import sys
import tempfile
import warnings

import numpy
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [HERE, os.path.join(TESTS, 'torch')]
import expected  # noqa: E402
import vision  # noqa: E402

TORCHVISION = vision.import_torchvision()  # torchmetrics imports it where it is installed
import lightning  # noqa: E402


class Tiny(lightning.LightningModule):
    def __init__(self, args, width, data_dir, lr, options):
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Sequential(torch.nn.Linear(width, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        self.register_buffer('scale', torch.tensor(2.0))

    def training_step(self, batch, _):
        x, y = batch
        loss = torch.nn.functional.mse_loss(self.net(x) * self.scale, y)
        self.log('loss', loss)
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)]


def main():
    warnings.filterwarnings('ignore')
    lightning.seed_everything(7)
    out = os.path.join(TESTS, 'data', 'frameworks', 'lightning-2')
    os.makedirs(out, exist_ok=True)
    args = argparse.Namespace(gpus=None, name='run', betas=(0.9, 0.999), inner=argparse.Namespace(depth=2))
    model = Tiny(args, 3, pathlib.Path('data/train'), numpy.float64(1e-3),
                 {'schedule': {'warmup': numpy.int64(5), 'factor': 0.5}, 'layers': [4, 2], 'seed': None})
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(8, 3), torch.randn(8, 2)), batch_size=4)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        keep = lightning.pytorch.callbacks.ModelCheckpoint(dirpath='kept', save_last=True, monitor='loss', save_top_k=1)
        stop = lightning.pytorch.callbacks.EarlyStopping('loss', patience=5)
        trainer = lightning.Trainer(accelerator='cpu', max_epochs=2, enable_progress_bar=False, enable_model_summary=False,
                                    logger=False, callbacks=[keep, stop], log_every_n_steps=1)
        trainer.fit(model, data)
        target = os.path.join(out, 'last.ckpt')
        shutil.copy('kept/last.ckpt', target)
        os.chdir(HERE)
    seen = torch.load(target, weights_only=False)
    document = {'made_by': {'script': 'tests/frameworks/lightning_2.py', 'framework': 'lightning ' + lightning.__version__,
                            'torch': torch.__version__, 'numpy': numpy.__version__, 'python': sys.version.split()[0]},
                'shows': 'Lightning checkpoint: state_dict, loops, callbacks, optimizer and scheduler states, hyper_parameters',
                'oracle_from': 'loaded by torch'}
    document.update(expected.describe(seen))
    with open(os.path.join(out, 'last.json'), 'w') as f:
        f.write(expected.dumps(document))
    print(target, os.path.getsize(target))


if __name__ == '__main__':
    main()
