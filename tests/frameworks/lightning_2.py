#!/usr/bin/env python3
"""Trains tiny LightningModules with Lightning's Trainer and keeps what ModelCheckpoint wrote in
tests/data/frameworks/lightning-2: all hyper-parameters, weights alone, averaged weights of two kinds, entries of a
user's hook, and a module whose checkpoints hold an adapter alone.

    pip install torch==2.13.0 numpy lightning==2.6.6
    python tests/frameworks/lightning_2.py
"""
import argparse
import collections
import datetime
import decimal
import http
import pathlib
import uuid
import warnings

import numpy
import torch

import keep
import tiny  # before lightning: torchmetrics imports torchvision where it is installed

import lightning
from lightning.pytorch import callbacks


class Tiny(lightning.LightningModule):
    def __init__(self, lr=1e-3):
        super().__init__()
        self.lr = lr
        self.net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
        self.register_buffer('scale', torch.tensor(2.0))

    def forward(self, x):
        return self.net(x) * self.scale

    def training_step(self, batch, _):
        x, y = batch
        loss = torch.nn.functional.mse_loss(self(x), y)
        self.log('loss', loss)
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW([p for p in self.parameters() if p.requires_grad], lr=self.lr)
        return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)]


class Configured(Tiny):
    def __init__(self, args, width, data_dir, lr, options):
        super().__init__(lr)
        self.save_hyperparameters()


class Hooked(Tiny):
    def on_save_checkpoint(self, checkpoint):
        checkpoint['extra'] = {
            'array': numpy.arange(6, dtype=numpy.float32).reshape(2, 3), 'numpy_bytes': numpy.bytes_(b'ab'),
            'saved_at': datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.timezone.utc),
            'elapsed': datetime.timedelta(hours=1, microseconds=5), 'recent': collections.deque([0.5, 0.25], maxlen=3),
            'classes': {1, 3}, 'price': decimal.Decimal('1.10'), 'run': uuid.UUID(int=7), 'status': http.HTTPStatus.OK,
            'phase': 1 + 2j, 'steps': range(0, 10, 2), 'window': slice(1, None),
            'data': pathlib.PurePosixPath('data/train')}


class WithAdapter(Tiny):
    def __init__(self):
        super().__init__()
        self.adapter = torch.nn.Linear(2, 2)

    def forward(self, x):
        return self.adapter(super().forward(x))


class AdapterOnly(WithAdapter):
    """Trains and saves the adapter alone."""

    def __init__(self):
        super().__init__()
        self.net.requires_grad_(False)
        self.strict_loading = False

    def state_dict(self, *args, **kwargs):
        return {k: v for k, v in super().state_dict(*args, **kwargs).items() if k.startswith('adapter.')}


def run(model, name, shows, *others, epochs=2, save_weights_only=False, **fields):
    """Trains the model and keeps its last checkpoint as NAME."""
    data = torch.utils.data.TensorDataset(torch.randn(8, 3), torch.randn(8, 2))
    with tiny.empty_folder():
        saver = callbacks.ModelCheckpoint(dirpath='kept', save_last=True, monitor='loss', save_top_k=-1,
                                          save_weights_only=save_weights_only)
        saver.dirpath = 'kept'  # it had become absolute
        lightning.Trainer(
            accelerator='cpu', max_epochs=epochs, enable_progress_bar=False, enable_model_summary=False, logger=False,
            callbacks=[saver, *others]).fit(model, torch.utils.data.DataLoader(data, batch_size=4))
        keep.keep_file('kept/last.ckpt', 'lightning-2', name, 'lightning ' + lightning.__version__, shows, **fields)


def main():
    warnings.filterwarnings('ignore')
    lightning.seed_everything(7)
    args = argparse.Namespace(gpus=None, name='run', betas=(0.9, 0.999), inner=argparse.Namespace(depth=2))
    run(Configured(args, 3, pathlib.Path('data/train'), numpy.float64(1e-3),
                   {'schedule': {'warmup': numpy.int64(5), 'factor': 0.5}, 'layers': [4, 2], 'seed': None}),
        'last.ckpt',
        'Lightning checkpoint: state_dict, loops, callbacks, optimizer and scheduler states, hyper_parameters',
        callbacks.EarlyStopping('loss', patience=5), weights='state_dict')
    run(Tiny(), 'weights_only.ckpt', 'save_weights_only: no state of optimizer and callbacks', save_weights_only=True,
        weights='state_dict')
    run(Tiny(), 'swa.ckpt', 'averaged weights in the state of a callback, the raw ones in state_dict',
        callbacks.StochasticWeightAveraging(1e-2, swa_epoch_start=1), epochs=3,
        question=['state_dict', 'callbacks/StochasticWeightAveraging/average_model_state'])
    run(Tiny(), 'ema.ckpt', 'averaged weights in state_dict, the raw ones in current_model_state',
        callbacks.EMAWeightAveraging(decay=0.5), question=['state_dict', 'current_model_state'])
    run(Hooked(), 'hook.ckpt', 'entries of on_save_checkpoint: an array and objects of the standard library',
        weights='state_dict')
    whole = WithAdapter()
    run(whole, 'base.ckpt', 'the whole module to which adapter.ckpt belongs', weights='state_dict')
    part = AdapterOnly()
    part.load_state_dict(whole.state_dict())
    run(part, 'adapter.ckpt', "strict_loading=False: the adapter's keys alone", weights='state_dict')


if __name__ == '__main__':
    main()
