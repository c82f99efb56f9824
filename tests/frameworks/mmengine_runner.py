#!/usr/bin/env python3
"""Trains a tiny model with MMEngine's Runner and keeps the checkpoints that it wrote, with and without averaged
weights, in tests/data/frameworks/mmengine-X.Y. Its logs are HistoryBuffer objects, which hold arrays and methods.

    pip install torch==2.13.0 numpy addict yapf termcolor rich matplotlib opencv-python-headless
    pip install --no-deps mmengine==0.10.7
    python tests/frameworks/mmengine_runner.py
"""
import torch

import keep
import tiny  # before mmengine, which imports torchvision where it is installed

import mmengine
import mmengine.model
import mmengine.runner


class Tiny(mmengine.model.BaseModel):
    def __init__(self):
        super().__init__()
        self.backbone = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
        self.head = torch.nn.Linear(2, 2)

    def forward(self, inputs, labels, mode):
        features = self.backbone(torch.stack(inputs)).mean((2, 3))
        return {'loss': torch.nn.functional.cross_entropy(self.head(features), torch.tensor(labels))}


def train(saved_as, shows, hooks=(), **fields):
    torch.manual_seed(7)
    data = [{'inputs': torch.randn(1, 4, 4), 'labels': i % 2} for i in range(4)]
    with tiny.empty_folder():
        runner = mmengine.runner.Runner(
            Tiny(), work_dir='work', train_dataloader=torch.utils.data.DataLoader(
                data, batch_size=2, collate_fn=mmengine.dataset.pseudo_collate),
            optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.01, 'momentum': 0.9}},
            param_scheduler={'type': 'MultiStepLR', 'by_epoch': True, 'milestones': [1]},
            train_cfg={'by_epoch': True, 'max_epochs': 2}, custom_hooks=list(hooks),
            default_hooks={'logger': {'type': 'LoggerHook', 'interval': 1}},
            experiment_name=saved_as[:-4], randomness={'seed': 7}, log_level='ERROR')
        runner._work_dir = 'work'  # it had become absolute
        runner.train()
        keep.keep_file('work/epoch_2.pth', tiny.release(mmengine), saved_as, 'mmengine ' + mmengine.__version__,
                       shows, **fields)


def main():
    train('epoch_2.pth', 'training checkpoint of MMEngine: state_dict, message_hub with histories, optimizer',
          weights='state_dict')
    train('ema_2.pth', 'the same with EMAHook: averaged weights in state_dict, the raw ones in ema_state_dict',
          [{'type': 'EMAHook', 'momentum': 0.1}], question=['state_dict', 'ema_state_dict'])


if __name__ == '__main__':
    main()
