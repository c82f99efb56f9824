#!/usr/bin/env python3
"""Trains a tiny YOLO with Ultralytics on two images of noise and keeps its checkpoints, whole pickled models in half
precision, in tests/data/frameworks/ultralytics-X.Y.

    pip install torch==2.13.0 numpy
    pip install --no-deps torchvision==0.28.0 ultralytics==8.4.190
    pip install pillow opencv-python-headless polars polars-runtime-32 matplotlib psutil pyyaml requests scipy
    python tests/frameworks/ultralytics_yolo.py
"""
import copy
import os

import numpy
import PIL.Image
import torch

import keep
import tiny  # before ultralytics, which imports torchvision

MODEL = '''nc: 1
reg_max: 1
backbone:
  - [-1, 1, Conv, [4, 3, 2]]
  - [-1, 1, C2f, [8, True]]
  - [-1, 1, SPPF, [8, 3]]
head:
  - [[2], 1, Detect, [nc]]
'''


def write_inputs():
    os.mkdir('images')
    os.mkdir('labels')
    for name in ('a', 'b'):
        noise = numpy.random.default_rng(7).integers(0, 255, (32, 32, 3), dtype=numpy.uint8)
        PIL.Image.fromarray(noise).save('images/%s.png' % name)
        with open('labels/%s.txt' % name, 'w') as f:
            f.write('0 0.5 0.5 0.5 0.5\n')
    with open('data.yaml', 'w') as f:
        f.write('train: images\nval: images\nnames: [thing]\n')
    with open('tiny.yaml', 'w') as f:
        f.write(MODEL)


def main():
    os.environ.update(YOLO_CONFIG_DIR='settings', YOLO_OFFLINE='True', YOLO_VERBOSE='False')
    with tiny.empty_folder():
        write_inputs()
        import ultralytics
        from ultralytics.models.yolo.detect import DetectionTrainer
        release, framework = tiny.release(ultralytics), 'ultralytics ' + ultralytics.__version__
        trainer = DetectionTrainer(overrides={
            'model': 'tiny.yaml', 'data': 'data.yaml', 'epochs': 1, 'imgsz': 32, 'batch': 2, 'device': 'cpu',
            'workers': 0, 'plots': False, 'save_period': 1, 'amp': False, 'seed': 7, 'save_dir': 'run'})
        trainer.args.save_dir = 'run'  # it had become absolute
        trainer.train()
        keep.keep_file('run/weights/epoch0.pt', release, 'epoch0.pt', framework,
                       'a checkpoint of training: the averaged model, whole; model is None', weights='ema')
        keep.keep_file('run/weights/last.pt', release, 'last.pt', framework,
                       'what training leaves: the averaged model is moved to model; ema and optimizer are None',
                       weights='model')
        torch.save({'epoch': 0, 'best_fitness': trainer.best_fitness, 'model': copy.deepcopy(trainer.model).half(),
                    'ema': copy.deepcopy(trainer.ema.ema).half(), 'updates': trainer.ema.updates,
                    'optimizer': None, 'train_args': vars(trainer.args),
                    'date': '2023-01-10T00:00:00', 'version': '8.0.0'}, 'both.pt')
        keep.keep_file('both.pt', release, 'like_8.0.pt', framework,
                       'the dictionary of version 8.0, by torch.save: model and averaged model, both whole',
                       question=['model', 'ema'])


if __name__ == '__main__':
    main()
