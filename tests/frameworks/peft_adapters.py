#!/usr/bin/env python3
"""Puts a LoRA adapter of PEFT on a tiny GPT-2 and keeps what save_pretrained wrote in tests/data/frameworks/peft-X.Y,
as safetensors and as a .bin file: the adapter's weights under base_model.model, without the adapter's name.

    pip install torch==2.13.0 peft==0.21.2 transformers==5.23.0 safetensors==0.8.0 numpy
    python tests/frameworks/peft_adapters.py
"""
import safetensors.torch
import torch

import keep
import tiny  # before peft, which imports torchvision where it is installed

import peft


def main():
    model = peft.get_peft_model(tiny.gpt2(),
                                peft.LoraConfig(r=2, target_modules=['c_attn', 'c_fc'], fan_in_fan_out=True))
    release, framework = tiny.release(peft), 'peft ' + peft.__version__
    with tiny.empty_folder():
        model.save_pretrained('safetensors')
        keep.keep_folder('safetensors', release, 'adapter', framework, 'LoRA adapter',
                         safetensors.torch.load_file('safetensors/adapter_model.safetensors'), {},
                         leave_out=['README.md'])
        model.save_pretrained('bin', safe_serialization=False)
        keep.keep_folder('bin', release, 'adapter_bin', framework, 'LoRA adapter without safetensors',
                         torch.load('bin/adapter_model.bin'),
                         {'adapter_model.bin': {'shows': "bare dictionary of the adapter's weights", 'weights': ''}},
                         leave_out=['README.md'])


if __name__ == '__main__':
    main()
