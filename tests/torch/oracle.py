#!/usr/bin/env python3
"""Checks the program `ckpt` against what PyTorch said of every file of tests/data (NAME.json beside the file).

    python tests/torch/oracle.py --ckpt PROGRAM [--data FOLDER] [NAME…]

Needs neither torch nor numpy. Exit code 0 when everything agrees, 1 otherwise.

Fields of an oracle: tensors (rows of `ls --all --digest --json`, with `shares`: an equal number means shared bytes,
null means unknown), values (path as text: what `show --json` prints; {"$any": …} matches everything), and where needed
ls_error (the code with which `ls --strict` refuses), ls_policy (with which it opens), strict_exit (exit code with
--strict, 0 otherwise), or_exit (exit codes that are an honest answer too), named_only (only key, path, dtype, shape and
layout of rows are compared), key_only (not the path), same_as (another oracle from which the rest is taken).

An oracle stands beside the file or the folder that it is of, or names it (file, from the oracle's folder). weights is
the path of the one best candidate, question the paths of equally good ones; user_globals lists the names of a user's
own classes; selected is the path of the dictionary that the tensors are of, where they are not all: what `ls` without
--all must choose.

What this version names but does not read counts as skipped: a file that is refused with container_not_supported, and a
row whose tensor is refused with unsupported_tensor.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import zlib

HERE = os.path.dirname(os.path.abspath(__file__))
FIELDS = ('dtype', 'shape', 'stride', 'layout', 'storage_offset', 'nbytes', 'requires_grad')
NAMED = ('dtype', 'shape', 'layout')
SIGNALS = 'ended by a signal'




class Failed(Exception):
    pass


class NotReadYet(Exception):
    """Named for what it is, and left to a later version."""


def run(program, *args, timeout=120):
    """The exit code and the one JSON document on standard output."""
    try:
        done = subprocess.run([program, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise Failed('no answer within %d s' % timeout)
    if done.returncode < 0:
        raise Failed('%s %d' % (SIGNALS, -done.returncode))

    def constant(name):
        raise ValueError('%s is no JSON' % name)
    try:
        document = json.loads(done.stdout.decode('utf-8'), parse_constant=constant)
    except ValueError as e:
        raise Failed('exit %d, no JSON document: %s; stderr: %s' % (
            done.returncode, e, done.stderr.decode('utf-8', 'replace').strip()[:200]))
    return done.returncode, document


def short(value):
    text = json.dumps(value)
    return text if len(text) <= 120 else text[:117] + '...'


def error_of(document):
    if isinstance(document, dict) and isinstance(document.get('error'), dict):
        return document['error'].get('code')
    return None


# --- rows -------------------------------------------------------------------------------------------------------------

def same(a, b):
    """Equal and of the same type, so that true is not 1 and 1 is not 1.0."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    return a == b


def compare_rows(want, got, named_only=False, key_only=False):
    """What is different between the oracle's rows and those of the program, as lines of text."""
    out = []

    def name(row):
        return row.get('key') if key_only else json.dumps(row.get('path'))
    table = {}
    for row in got:
        if name(row) in table:
            out.append('%s: two rows' % name(row))
        table[name(row)] = row
    for row in want:
        mine = table.pop(name(row), None)
        if mine is None:
            out.append('%s: missing' % name(row))
            continue
        if mine.get('key') != row['key']:
            out.append('%s: key %s, should be %s' % (name(row), short(mine.get('key')), short(row['key'])))
        if 'error' in row:
            if error_of(mine) != row['error']:
                out.append('%s: error %s, should be %s' % (name(row), error_of(mine), row['error']))
        elif error_of(mine) and not named_only:
            out.append('%s: error %s' % (name(row), short(mine['error'])))
        for field in NAMED if named_only else FIELDS:
            if row.get(field) is not None and not same(mine.get(field), row[field]):
                out.append('%s: %s is %s, should be %s' % (name(row), field, short(mine.get(field)), short(row[field])))
        if not named_only:
            if 'crc32' in row and mine.get('crc32') != row['crc32']:
                out.append('%s: crc32 is %s, should be %s' % (name(row), mine.get('crc32'), row['crc32']))
            if row.get('numpy') and mine.get('storage', 'absent') is not None:
                out.append('%s: storage is %s, should be null' % (name(row), short(mine.get('storage', 'absent'))))
    for left in table:
        out.append('%s: unexpected row' % left)
    if not named_only:
        out += compare_sharing(want, got, name)
    return out


def compare_sharing(want, got, name):
    group_of = {name(r): r['shares'] for r in want if r.get('shares') is not None}
    storage_of, shares_of, out = {}, {}, []
    for row in got:
        group = group_of.get(name(row))
        if group is None:
            continue
        storage = json.dumps([row.get('file'), row.get('storage')])
        if row.get('storage') is None:
            out.append('%s: has no storage' % name(row))
        elif storage_of.setdefault(group, storage) != storage:
            out.append('%s: storage %s, should be shared: %s' % (name(row), storage, storage_of[group]))
        elif shares_of.setdefault(storage, group) != group:
            out.append('%s: storage %s should not be shared' % (name(row), storage))
    return out


def compare_offsets(want, got, path):
    """Where a row says at which byte of the file its tensor is, the bytes there must have the digest: either those at
    file_offset are the tensor's first, or those of its storage."""
    out, table, files = [], {json.dumps(r.get('path')): r for r in got}, {}
    for row in want:
        mine = table.get(json.dumps(row['path']), {})
        offset = mine.get('file_offset')
        name_of_file = os.path.join(path, mine.get('file', '')).rstrip('/')
        if os.path.isdir(name_of_file):
            out.append('%s: a row of a folder without file' % json.dumps(row['path']))
            continue
        if name_of_file not in files:
            with open(name_of_file, 'rb') as f:
                files[name_of_file] = f.read()
        data = files[name_of_file]
        if (offset is None or not row.get('crc32') or 'nbytes' not in row or row.get('lazy') or row.get('quant')
            or row.get('numpy')):
            continue
        size, step, dense = row['nbytes'], 1, True
        for n, s in zip(reversed(row['shape']), reversed(row['stride'])):
            dense = dense and (n == 1 or s == step)
            step *= n
        if not dense or step == 0:
            continue
        starts = (offset, offset + row.get('storage_offset', 0) * (size // step))
        if not any('%08x' % zlib.crc32(data[a:a + size]) == row['crc32'] and a + size <= len(data) for a in starts):
            out.append('%s: the bytes at file_offset %s are others' % (json.dumps(row['path']), offset))
    return out


def compare_parts(want, got):
    """What makes tensors more than one array: parts, quantizers, classes, placements."""
    out, table = [], {json.dumps(r.get('path')): r for r in got}
    for row in want:
        compare_kind(row['key'], row, table.get(json.dumps(row['path']), {}), out)
    return out


def compare_kind(name, row, mine, out):
    if 'parts' in row:
        parts = {p.get('key'): p for p in mine.get('parts', [])}
        for part in row['parts']:
            compare_part('%s: part %s' % (name, part['key']), part, parts.get(part['key'], {}), out)
    have = mine.get('quant', {})
    for field, x in row.get('quant', {}).items():
        if isinstance(x, dict):
            compare_part('%s: quant %s' % (name, field), x, have.get(field) or {}, out)
        elif not same(have.get(field), x):
            out.append('%s: quant %s is %s, should be %s' % (name, field, short(have.get(field)), short(x)))
    if 'class' in row and mine.get('class') != row['class']:
        out.append('%s: class is %s, should be %s' % (name, mine.get('class'), row['class']))
    if 'placement' in row and not str(mine.get('placement')).startswith(row['placement']):
        out.append('%s: placement is %s, should begin with %s' % (name, mine.get('placement'), row['placement']))


def compare_part(name, part, have, out):
    for field in ('dtype', 'shape', 'layout', 'crc32'):
        if field in part and not same(have.get(field), part[field]):
            out.append('%s: %s is %s, should be %s' % (name, field, short(have.get(field)), short(part[field])))
    compare_kind(name, part, have, out)


# --- values -----------------------------------------------------------------------------------------------------------

def compare_value(want, got, path='', out=None):
    """What is different, as lines of text."""
    out = [] if out is None else out
    if len(out) > 20:
        return out

    def differ():
        out.append('%s: %s, should be %s' % (path or '(root)', short(got), short(want)))
    if (isinstance(want, dict) and isinstance(got, dict) and '$object' not in want
        and str(got.get('$object', {}).get('class')).startswith('__main__.')):
        # A dictionary of a user's own class stays an inert object; its items are keys and values in turn.
        items = got['$object'].get('items', [])
        got = dict(zip(items[::2], items[1::2]))
    if isinstance(want, dict) and len(want) == 1 and next(iter(want)).startswith('$'):
        kind, inner = next(iter(want.items()))
        if kind == '$any':
            return out
        if not isinstance(got, dict) or kind not in got:
            differ()
        elif kind == '$tensor':
            compare_fields(inner, got[kind], path, out)
        elif kind == '$ndarray':
            for field, x in inner.items():
                mine = got[kind].get(field)
                if field == 'dtype':  # arrays come out of numpy in native order: the order of the file is right too
                    x, mine = x.lstrip('<>=|'), str(mine).lstrip('<>=|')
                if not same(x, mine):
                    out.append('%s: $ndarray %s is %s, should be %s' % (path, field, short(mine), short(x)))
        elif kind == '$storage':
            if got[kind].get('nbytes') != inner['nbytes']:
                differ()
        elif kind == '$set':
            if not isinstance(got[kind], list) or sorted(map(canonical, got[kind])) != sorted(map(canonical, inner)):
                differ()
        elif kind == '$object':
            compare_object(inner, got[kind], path, out)
        elif kind == '$dict':
            compare_value(inner, got[kind], path, out)
        elif kind in ('$tuple', '$complex'):
            compare_value(inner, got[kind], path, out)
        elif got != want:
            differ()
    elif isinstance(want, dict):
        if not isinstance(got, dict):
            differ()
        elif list(want) != list(got):
            out.append('%s: keys %s, should be %s' % (path or '(root)', short(list(got)), short(list(want))))
        else:
            for k in want:
                compare_value(want[k], got[k], path + '/' + k, out)
    elif isinstance(want, list):
        if not isinstance(got, list) or len(got) != len(want):
            differ()
        else:
            for i, (a, b) in enumerate(zip(want, got)):
                compare_value(a, b, '%s/%d' % (path, i), out)
    elif type(want) is not type(got) or repr(want) != repr(got):  # repr: -0.0 is not 0.0
        differ()
    return out


def canonical(value):
    return json.dumps(value, sort_keys=True)


def compare_fields(want, got, path, out):
    for field in FIELDS:
        if want.get(field) is not None and field in want and 'parts' not in want and 'quant' not in want:
            if not same(got.get(field), want[field]):
                out.append('%s: $tensor %s is %s, should be %s' %
                           (path, field, short(got.get(field)), short(want[field])))
    if want.get('crc32') and got.get('crc32') and got['crc32'] != want['crc32']:
        out.append('%s: $tensor crc32 is %s, should be %s' % (path, got['crc32'], want['crc32']))


def compare_object(want, got, path, out):
    if got.get('class') != want['class']:
        out.append('%s: class %s, should be %s' % (path, got.get('class'), want['class']))
    for part in ('args', 'state', 'items'):
        if part == 'args' and want['class'] == 'collections.deque':
            continue
        empty = None if part == 'state' else []
        a, b = want.get(part, empty), got.get(part, empty)
        if a != b:
            compare_value(a, b, '%s.%s' % (path, part), out)


# --- files ------------------------------------------------------------------------------------------------------------

def check_ls(program, path, oracle):
    problems = []
    if 'selected' in oracle:
        oracle = {**oracle, 'tensors': [{**row, 'path': oracle['selected'] + row['path']} for row in oracle['tensors']]}
    args = ['ls', path, '--digest', '--json'] + ([] if 'selected' in oracle else ['--all'])
    if 'ls_error' in oracle:
        code, document = run(program, *args, '--strict')
        if code != 1 or error_of(document) != oracle['ls_error']:
            problems.append('ls --strict: exit %d, %s; should be refused: exit 1, %s'
                            % (code, error_of(document), oracle['ls_error']))
        if oracle['ls_error'] == 'global_not_allowed':  # otherwise it is said beside what is listed, or of the weights
            code, document = run(program, *args)
            said = [error_of({'error': e}) for e in document.get('refused', [])] or [error_of(document)]
            if set(said) != {oracle['ls_error']}:
                problems.append('ls: exit %d, says %s; should name what is refused' % (code, said))
        args += ['--policy', oracle['ls_policy']]
    for strict in ([], ['--strict']):
        code, document = run(program, *args, *strict)
        if code == 4 and error_of(document) == 'container_not_supported':
            raise NotReadYet
        if any(error_of(row) == 'unsupported_tensor' for row in document.get('tensors', [])):
            wanted, got = {r['key'] for r in oracle['tensors']}, {r['key'] for r in document['tensors']}
            if wanted != got:
                return problems + ['ls: other keys: %s' % short(sorted(wanted ^ got))]
            raise NotReadYet
        if error_of(document) or 'tensors' not in document:
            if code in oracle.get('or_exit', []):
                return problems
            return problems + ['ls: exit %d, %s' % (code, short(document))]
        wanted = oracle.get('strict_exit', 0) if strict else 0
        if code != wanted and not (oracle.get('named_only') or code in oracle.get('or_exit', [])):
            problems.append('ls %s: exit %d, should be %d' % (' '.join(strict), code, wanted))
        if document.get('schema') != 'ckpt.ls/1':
            problems.append('ls: schema is %s' % short(document.get('schema')))
        if code and code in oracle.get('or_exit', []) or any(
                error_of(r) and 'or_exit' in oracle for r in document['tensors']):
            problems += compare_rows(oracle['tensors'], document['tensors'], named_only=True)
        else:
            problems += compare_rows(oracle['tensors'], document['tensors'], oracle.get('named_only'),
                                     oracle.get('key_only'))
            if not oracle.get('named_only') and not strict:
                problems += compare_offsets(oracle['tensors'], document['tensors'], path)
            if not strict:
                problems += compare_parts(oracle['tensors'], document['tensors'])
        if problems:
            break
    return problems


def check_show(program, path, oracle):
    problems, paths = [], [p for p in oracle['values'] if p]
    if '' in oracle['values']:
        code, document = run(program, 'show', path, '--json')
        if code == 4 and error_of(document) == 'container_not_supported':
            raise NotReadYet
        if code != 0:
            if code in oracle.get('or_exit', []):
                return problems
            problems.append('show: exit %d, %s' % (code, short(document)))
        else:
            problems += ['show: ' + p for p in compare_value(oracle['values'][''], document)]
    if paths:
        code, document = run(program, 'show', path, *paths, '--json')
        document = [document] if len(paths) == 1 else document
        if code != 0 or not isinstance(document, list) or len(document) != len(paths):
            problems.append('show %s: exit %d, %s' % (short(paths), code, short(document)))
        else:
            for p, got in zip(paths, document):
                problems += ['show %s%s' % (p, x) for x in compare_value(oracle['values'][p], got)]
    return problems


def pairs(data):
    """(the file, its oracle) for every oracle under the folder."""
    for folder, folders, files in os.walk(data):
        folders.sort()
        for name in sorted(files):
            stem, ext = os.path.splitext(name)
            if ext != '.json' or name.endswith('.index.json'):
                continue
            with open(os.path.join(folder, name), encoding='utf-8') as f:
                try:
                    oracle = json.load(f)
                except ValueError:
                    continue
            if not isinstance(oracle, dict) or 'made_by' not in oracle:
                continue
            if 'same_as' in oracle:
                with open(os.path.join(folder, oracle['same_as']), encoding='utf-8') as f:
                    oracle = {**json.load(f), **oracle}
            if 'file' in oracle:
                yield os.path.join(folder, oracle['file']), oracle
                continue
            beside = [f for f in files if f != name and os.path.splitext(f)[0] == stem and not f.endswith('.md')]
            if len(beside) == 1:
                yield os.path.join(folder, beside[0]), oracle
            else:
                yield os.path.join(folder, stem), oracle


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--ckpt', required=True, metavar='PROGRAM')
    parser.add_argument('--data', default=os.path.join(os.path.dirname(HERE), 'data'))
    parser.add_argument('--most', type=int, default=6, help='mismatches to print per file')
    parser.add_argument('names', nargs='*', help='only files whose path contains one of these')
    args = parser.parse_args()
    passed = failed = skipped = 0
    for path, oracle in pairs(args.data):
        shown = os.path.relpath(path, args.data)
        if args.names and not any(re.search(n, shown) for n in args.names):
            continue
        for check in (check_ls, check_show):
            if check is check_show and not oracle['values']:
                continue
            try:
                problems = check(args.ckpt, path, oracle)
            except NotReadYet:
                skipped += 1
                continue
            except Failed as e:
                problems = [check.__name__[6:] + ': ' + str(e)]
            if problems:
                failed += 1
                for p in problems[:args.most]:
                    print('%s: %s' % (shown, p))
                if len(problems) > args.most:
                    print('%s: and %d more' % (shown, len(problems) - args.most))
            else:
                passed += 1
    if passed + failed == 0:
        print('no oracle found under', args.data)
        failed = 1
    print('%d passed, %d failed, %d skipped' % (passed, failed, skipped))
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
