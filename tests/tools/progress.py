#!/usr/bin/env python3
"""Checks the line that shows how far `ckpt` has come, and the end by Ctrl-C.

    python tests/tools/progress.py --ckpt PROGRAM

The files are nearly all holes. A command that would be through within a second is held for a while.
"""
import json
import math
import os
import re
import signal
import struct
import subprocess
import sys
import time

import cli
from cli import MLP, check, equal
from harness import on_terminal

LINE = re.compile(r'^\[#*\.*\] +\d+ %  [\d.]+ \w+ of [\d.]+ \w+  [\d.]+ \w+/s  \d+:\d\d left$')


def zeros(name, shapes):
    """A safetensors file with tensors of zeros."""
    path, header, at = os.path.join(cli.folder, name), {}, 0
    for key, shape in shapes.items():
        size = 4 * math.prod(shape)
        header[key] = {'dtype': 'F32', 'shape': shape, 'data_offsets': [at, at + size]}
        at += size
    header = json.dumps(header).encode()
    with open(path, 'wb') as f:
        f.write(struct.pack('<Q', len(header)) + header)
        f.truncate(8 + len(header) + at)
    return path


def hollow(name, mebibytes):
    return zeros(name, {'w%d' % i: [mebibytes << 16] for i in range(4)})


class Held:
    """Holds a command for more than a second, once."""

    def __init__(self):
        self.done = False

    def __call__(self, child, text):
        if self.done or child.poll() is not None:
            return
        self.done = True
        time.sleep(0.2)
        child.send_signal(signal.SIGSTOP)
        time.sleep(1.3)
        child.send_signal(signal.SIGCONT)


class Interrupted:
    """Presses Ctrl-C when the line is there, and keeps the child."""

    def __init__(self):
        self.child, self.pressed = None, False

    def __call__(self, child, text):
        self.child = child
        if not self.pressed and '%' in text:
            self.pressed = True
            child.send_signal(signal.SIGINT)


def terminal(args, seen=None, stream='stderr', **options):
    """What stands on standard error's terminal while a command runs."""
    other = {} if stream == 'stdout' else {'stdout': subprocess.DEVNULL}
    return on_terminal([cli.program, *args], stream=stream, seen=seen, **{**other, **options})


def screen(text):
    """The lines that a terminal shows in the end, and all that stood on its last line meanwhile."""
    lines, meanwhile = [''], []
    for line in text.split('\n'):
        shown = ''
        for part in line.split('\r'):
            shown = part + shown[len(part):]
            meanwhile.append(shown.rstrip())
        lines.append(shown.rstrip())
    return [line for line in lines if line], [line for line in meanwhile if line]


def shown():
    big = hollow('big.safetensors', 256)
    for args in (('stat', big), ('ls', big, '--digest'), ('diff', big, hollow('other.safetensors', 256))):
        text = terminal(args, Held())
        if text is None:
            cli.skipped += 1
            print('skipped: there is no pseudo-terminal')
            return
        left, meanwhile = screen(text)
        if args[0] == 'stat':  # others may be through before they are held
            check('%s shows a line' % args[0], meanwhile, text)
        for line in meanwhile:
            check('%s: the form of the line' % args[0], LINE.match(line) and len(line) < 80, line)
        equal('%s: the line is gone at the end' % args[0], left, [])
    text = terminal(('stat', big), Held(), env={'COLUMNS': '30'})
    check('a narrow terminal', screen(text)[1] and all(len(line) < 30 for line in screen(text)[1]), text)


def folded():
    """The total is what a call reads: of weight normalisation the directions, and not all of the file."""
    path = zeros('norm.safetensors', {'a.weight_g': [1, 1], 'a.weight_v': [1, 64 << 20], 'other': [16 << 20]})
    text = terminal(('convert', path, os.path.join(cli.folder, 'x.safetensors'), '-n', '--fold-weight-norm'), Held())
    for line in screen(text)[1] if text is not None else ():
        check('the bytes of v alone', 'of 256.0 MiB' in line, line)


def hidden():
    big = hollow('big.safetensors', 128)
    equal('a short command shows none', terminal(('verify', MLP)), '')
    equal('nor with --quiet', terminal(('stat', big, '--quiet'), Held()), '')
    equal('nor into a pipe', cli.ckpt('stat', big, timeout=300)[2], '')
    out = terminal(('stat', big, '--json'), Held(), stream='stdout', stderr=subprocess.STDOUT)
    if out is not None:
        check('a JSON document on the terminal is not torn', json.loads(out)['schema'] == 'ckpt.stat/1', out)
    out = terminal(('stat', big), Held(), stream='stdout', stderr=subprocess.STDOUT)
    if out is not None:
        rows = [line for line in screen(out)[0] if line.startswith('w')]
        check('rows on the same terminal stand alone', len(rows) == 4 and all('%' not in row for row in rows), out)


def stopped():
    big = hollow('huge.safetensors', 16384)
    for args in (('stat', big), ('stat', big, '--json')):
        pressed = Interrupted()
        text = terminal(args, pressed)
        if text is None:
            continue
        equal('%s: Ctrl-C ends with 130' % ' '.join(args[::2]), pressed.child.returncode, 130)
        equal('and takes the line away', screen(text)[0], [])
    for args in (('stat', big), ('ls', big, '--digest'), ('diff', big, big)):
        child = subprocess.Popen([cli.program, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(0.4)
        if child.poll() is not None:
            continue  # a fast machine
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
        equal('%s: in a pipe, too' % args[0], child.returncode, 130)
        equal('without a word', err, b'')
        check('no row is cut', not out or out.endswith(b'\n'), out[-200:])


if __name__ == '__main__':
    sys.exit(0 if os.name == 'nt' else cli.run(shown, folded, hidden, stopped))
