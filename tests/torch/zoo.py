#!/usr/bin/env python3
"""Compares what the program `ckpt` says with what PyTorch holds in memory, for every combination of options of
PyTorch's writer with dtypes, layouts, view patterns and values (zoo_files.py writes them).

    python tests/torch/zoo.py --ckpt PROGRAM [--python PYTHON]… [--only TEXT]… [--keep FOLDER] [--skip-code 77]

--python can be given several times, one for each version of PyTorch; without it, the Python that runs this and
/usr/bin/python3 are tried. Where no Python has torch nothing is compared, and the exit code is --skip-code.

Every tensor of every file is one check, and so are each file's value, container and verification. The oracle is the
object in memory before it was saved. Where torch itself cannot read its file, or reads other numbers, that is counted
and said; only for the reasons that zoo_files.known lists, or it is a failure of the zoo.
"""
import argparse
import collections
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import oracle  # noqa: E402


class Count:
    def __init__(self):
        self.passed = self.failed = 0
        self.skipped, self.torch = collections.Counter(), collections.Counter()
        self.groups = collections.OrderedDict()

    def add(self, passed):
        self.passed += passed

    def fail(self, kind, file, text, recipe):
        """One failure. Alike ones (same kind and batch) are listed once."""
        self.failed += 1
        self.groups.setdefault(kind, []).append((file, text, recipe))


def versions_of(python):
    """What a Python has, or None."""
    code = 'import sys, torch; print(torch.__version__, sys.version.split()[0])'
    try:
        done = subprocess.run([python, '-c', code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=300)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode().split() if done.returncode == 0 else None


def rows_by_name(rows):
    return {json.dumps(r.get('path')): r for r in rows}


def check_rows(program, path, made, fail, count):
    policy = ['--policy', made['policy']] if 'policy' in made else []
    code, document = oracle.run(program, 'ls', path, '--all', '--digest', '--json', *policy)
    if code == 4 and oracle.error_of(document) in ('container_not_supported', 'compressed'):
        raise oracle.NotReadYet
    if 'tensors' not in document:
        fail('ls: ' + str(oracle.error_of(document)), oracle.short(document))
        return
    if document.get('container') != made['container']:
        fail('container', '%s, should be %s' % (document.get('container'), made['container']))
    names = rows_by_name(document['tensors'])
    for row in made['rows']:
        mine = names.pop(json.dumps(row['path']), None)
        if mine is None:
            fail('missing', row['key'])
            continue
        if oracle.error_of(mine) == 'unsupported_tensor':
            count.skipped['%s tensors' % row['layout'] if 'quant' not in row else 'quantised tensors'] += 1
            continue
        problems = oracle.compare_rows([dict(row, shares=None)], [mine]) + oracle.compare_parts([row], [mine])
        if problems:
            fail(problems[0].split(': ', 1)[1].split(' is ')[0], '; '.join(problems))
        else:
            count.add(1)
    for name in names:
        fail('unexpected row', name)
    for problem in oracle.compare_sharing(made['rows'], document['tensors'], lambda r: json.dumps(r.get('path'))):
        if not any(oracle.error_of(r) for r in document['tensors']):
            fail('sharing', problem)


def check_show(program, path, made, fail, count):
    code, document = oracle.run(program, 'show', path, '--json')
    if code:
        fail('show: ' + str(oracle.error_of(document)), oracle.short(document))
        return
    problems = oracle.compare_value(made['show'], document)
    # A tensor that is not read yet is an error value here as it is in ls.
    problems = [p for p in problems if 'unsupported_tensor' not in p]
    if problems:
        fail('show', '; '.join(problems[:3]))
    else:
        count.add(1)


def check_verify(program, path, made, fail, count):
    code, document = oracle.run(program, 'verify', path, '--json')
    found = [f.get('error', {}) for f in document.get('findings', [])]
    if code not in (0, 4) or any(f.get('code') not in ('unsupported_tensor', 'container_not_supported') for f in found):
        fail('verify', 'exit %d, %s' % (code, oracle.short(document)))
    else:
        count.add(1)


def check(program, folder, made, zoo, count):
    path = os.path.join(folder, made['file'])
    recipe = 'torch %s, python %s: --only %s' % (zoo['torch'], zoo['python'], made['file'].rsplit('.', 1)[0])

    def fail(kind, text):
        count.fail('%s %s %s' % (made['option'], made['batch'], kind), path, text, recipe)
    if made.get('torch'):
        if made['why'] is None:
            count.fail('the zoo itself: torch differs', path, made['torch'], recipe)
        else:
            count.torch[made['why']] += len(made['rows'])
    try:
        for part in (check_rows, check_show, check_verify):
            if part is not check_show or made['show'] is not None:
                part(program, path, made, fail, count)
    except oracle.NotReadYet:
        count.skipped['container %s' % made['container']] += len(made['rows'])
    except oracle.Failed as e:
        fail('program', str(e))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--ckpt', required=True, metavar='PROGRAM')
    parser.add_argument('--python', action='append', default=[])
    parser.add_argument('--only', action='append', default=[], help='only files whose name contains this')
    parser.add_argument('--keep', metavar='FOLDER', help='where files with failures go')
    parser.add_argument('--from', dest='written', action='append', default=[], metavar='FOLDER',
                        help='a folder that zoo_files.py has written already')
    parser.add_argument('--skip-code', type=int, default=0, help='exit code where no Python has torch (77 for meson)')
    args = parser.parse_args()
    count = Count()
    with tempfile.TemporaryDirectory() as top:
        folders, seen = list(args.written), set()
        for python in args.python or ([] if args.written else [sys.executable, '/usr/bin/python3']):
            has = versions_of(python)
            if has is None and args.python:
                print('%s: has no torch' % python)
            if has is None or has[0] in seen:
                continue
            seen.add(has[0])
            folder = os.path.join(top, str(len(folders)))
            os.mkdir(folder)
            done = subprocess.run([python, os.path.join(HERE, 'zoo_files.py'), folder] +
                                  [x for o in args.only for x in ('--only', o)],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            if done.returncode:
                print('zoo_files.py under %s ended with %d:\n%s' %
                      (python, done.returncode, done.stdout.decode(errors='replace')[-2000:]))
                print('0 passed, 1 failed')
                return 1
            folders.append(folder)
        if not folders:
            print('no Python here has torch: nothing was compared')
            print('0 passed, 0 failed, 1 skipped')
            return args.skip_code
        for folder in folders:
            with open(os.path.join(folder, 'zoo.json'), encoding='utf-8') as f:
                zoo = json.load(f)
            before = count.passed
            for made in zoo['files']:
                if not args.only or any(o in made['file'] for o in args.only):
                    check(args.ckpt, folder, made, zoo, count)
            print('torch %s, python %s: %d files, %d checks passed%s' % (
                zoo['torch'], zoo['python'], len(zoo['files']), count.passed - before,
                ''.join('; not written: ' + u for u in zoo['unwritten'])))
        for kind, failures in count.groups.items():
            file, text, recipe = failures[0]
            print('%s (%d times): %s' % (kind, len(failures), text[:400]))
            print('    %s' % recipe)
            if args.keep:
                os.makedirs(args.keep, exist_ok=True)
                shutil.copy(file, args.keep)
    for what, n in sorted(count.torch.items()):
        print('%d tensors in files where torch itself %s' % (n, what))
    for what, n in sorted(count.skipped.items()):
        print('not read yet: %d in %s' % (n, what))
    print('%d passed, %d failed, %d skipped' % (count.passed, count.failed, sum(count.skipped.values())))
    return 1 if count.failed else 0


if __name__ == '__main__':
    sys.exit(main())
