#!/usr/bin/env python3
"""Writes README.md of this folder from the oracles beside the files: python tests/data/make_readme.py

With --check it writes nothing, and exits with 1 where the file is not what it would write.
"""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
HEAD = """# Files written by real programs

Every file here was written by PyTorch itself, by a real framework on top of it, or (folder `rezipped`) packed again from such a
file. Beside each stands `NAME.json`, the oracle: who wrote it, and what PyTorch says of it.

| Script | Writes | Runs under |
|---|---|---|
| `make_torch.py` | `torch-1.13`, `torch-2.13`, `demo` | torch 1.13 (numpy 1.24, Debian's `python3-torch`) and torch 2.13 (`pip install torch==2.13.0 numpy`); rows that a version cannot write are skipped, with the reason printed |
| `make_rezipped.py` | `rezipped` | any Python 3 |
| `make_archives.py` | `archives` | torch 1.13 and 2.13; with `--old` torch 1.0 to 1.3 (Python 3.6), for `script_model.pt` |
| `../torch/zoo_files.py` | `zoo-VERSION` | that version of torch, with `--selection` (torch 1.0 under Python 2.7; 1.5 under 3.6; 1.7, 1.8 and 1.10 under 3.8) |
| `../frameworks/*.py` | `frameworks` | the recipe is in each script; the section of a folder names it |
| `make_readme.py` | this file | any Python 3 |

`python tests/torch/oracle.py --ckpt PROGRAM` checks the program against all of them and needs no torch. What the fields of an
oracle mean is said at its top. A value `{"$any": ...}` matches everything, as the form is not fixed there.

"""


def size_of(path):
    if os.path.isfile(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(at, f)) for at, _, files in os.walk(path) for f in files)


def rows():
    for folder, folders, files in os.walk(HERE):
        folders.sort()
        for name in sorted(files):
            stem, ext = os.path.splitext(name)
            if ext != '.json':
                continue
            with open(os.path.join(folder, name), encoding='utf-8') as f:
                oracle = json.load(f)
            if 'made_by' not in oracle:
                continue
            beside = [f for f in files if os.path.splitext(f)[0] == stem and f != name]
            if 'file' in oracle:
                of = oracle['file']
            elif beside:
                of = beside[0]
            elif stem in folders:
                of = stem + '/'
            else:
                continue
            yield os.path.relpath(folder, HERE), of, size_of(os.path.join(folder, of)), oracle


def main():
    out, last = [HEAD], None
    for folder, name, size, oracle in rows():
        made = oracle['made_by']
        if folder != last:
            last = folder
            versions = ', '.join('%s %s' % (k, made[k]) for k in ('torch', 'numpy', 'python') if k in made)
            out.append('\n## %s\n\n%s%s; `%s`\n\n| File | Bytes | Shows |\n|---|---|---|\n' % (
                folder, made['framework'] + ', ' if 'framework' in made else '', versions, made['script']))
        notes = []
        if not oracle.get('oracle_from', 'loaded').startswith('loaded'):
            notes.append('torch cannot read it back, the oracle is of the object that was saved')
        if oracle.get('not_as_saved'):
            notes.append('torch loses the bits of ' + ', '.join(oracle['not_as_saved']))
        if 'ls_error' in oracle:
            notes.append('`ls` refuses it by default')
        if 'weights' in oracle:
            notes.append('the weights: %s' % (oracle['weights'] and '`%s`' % oracle['weights'] or 'the root'))
        if 'question' in oracle:
            notes.append('a question: %s' % ' or '.join('`%s`' % p for p in oracle['question']))
        if oracle.get('named_only'):
            notes.append('names, shapes and layouts only')
        if oracle.get('or_exit'):
            notes.append('exit %s is right too' % ' or '.join(map(str, oracle['or_exit'])))
        shows = ' '.join(oracle.get('shows', '').split())
        out.append('| `%s` | %d | %s%s |\n' % (name, size, shows, ' (%s)' % '; '.join(notes) if notes else ''))
    text, path = ''.join(out), os.path.join(HERE, 'README.md')
    if sys.argv[1:] == ['--check']:
        with open(path, encoding='utf-8') as f:
            if f.read() != text:
                sys.exit('%s is not what its oracles say: run python tests/data/make_readme.py' % path)
        return
    with open(path, 'w', encoding='utf-8') as f:
        f.write(text)


if __name__ == '__main__':
    main()
