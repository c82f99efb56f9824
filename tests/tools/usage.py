#!/usr/bin/env python3
"""Checks the help of `ckpt`, what it says of wrong options, and what the build makes of its table: the man page and the
completions.

    python tests/tools/usage.py --ckpt PROGRAM
"""
import os
import re
import shutil
import subprocess
import sys

import cli
from cli import MLP, check, ckpt, equal

COMMANDS = 'info ls stat show globals verify diff map'.split()


def helps():
    code, whole, err = ckpt('help')
    check('help', code == 0 and not err and all('\n  %s ' % c in whole for c in COMMANDS), whole)
    equal('--help is the same', ckpt('--help')[1], whole)
    for command in COMMANDS:
        code, out, err = ckpt('help', command)
        check('help ' + command, code == 0 and not err and out.startswith('Usage: ckpt %s ' % command), out)
        equal('%s --help is the same' % command, (ckpt(command, '--help')[1], ckpt(command, '-h')[1]), (out, out))
        examples = out.partition('Examples\n')[2].split('\n\n')[0].splitlines()
        check('two examples of ' + command,
              len(examples) == 2 and all(e.startswith('  ckpt ' + command) for e in examples), examples)
        for columns in (40, 80):
            lines = ckpt(command, '--help', env={'COLUMNS': str(columns)})[1].splitlines()
            wide = [line for line in lines if len(line) > max(columns, 66) and ' ' in line.strip()]
            check('help %s in %d columns' % (command, columns), not wide, wide)
    equal('help of nothing', ckpt('help', 'nothing')[0], 3)


def refusals():
    for args, said in ((('ls', MLP, '--jsno'), 'did you mean "--json"?'), (('ls', MLP, '--diget'), '"--digest"'),
                       (('info', MLP, '--digest'), 'it belongs to: ls'),
                       (('show', MLP, '--values=x'), 'a whole number'),
                       (('ls', MLP, '--max-nodes', '-1'), '--max-nodes takes a whole number, not "-1"'),
                       (('ls', MLP, '--max-nodes', '1.5'), 'a whole number'),
                       (('ls', MLP, '--max-nodes='), '--max-nodes needs a value: --max-nodes N'),
                       (('ls', MLP, '--max-nodes', '18446744073709551616'), 'a whole number'),
                       (('ls', MLP, '--top'), '--top needs a value: --top N'),
                       (('ls', MLP, '--json=1'), 'takes no value'),
                       (('ls', MLP, '--policy', 'lax'), 'weights, training or inspect, not "lax"'),
                       (('ls', MLP, '-x'), 'there is no option "-x" of ckpt ls'), (('lss', MLP), '"ls"'),
                       (('ls', MLP, '--color', 'red'), 'always, never or auto'), (('map', MLP, MLP), 'one FILE')):
        code, out, err = ckpt(*args)
        check('%s' % (args,), code == 3 and not out and said in err and err.count('\n') == 1, (code, out, err))
    equal('the largest number', ckpt('ls', MLP, '--max-nodes', '18446744073709551615')[0], 0)


def letters():
    for short, long in (('-a', '--all'), ('-d', '--digest'), ('-j', '--json'), ('-ad', '--all')):
        rest = ('--digest',) if short == '-ad' else ()
        equal(short, ckpt('ls', MLP, short), ckpt('ls', MLP, long, *rest))
    for words in (('-s', 'model'), ('-smodel',), ('--select=model',)):
        equal('%s' % (words,), ckpt('ls', MLP, *words), ckpt('ls', MLP, '--select', 'model'))
    equal('behind -- everything is a name', ckpt('ls', MLP, '--', '--all')[0], 1)
    check('--color=always', '\x1b[' in ckpt('ls', MLP, '--color=always')[1])
    check('--color=never', '\x1b[' not in (cli.terminal('--color=never', 'ls', MLP, '--color=never') or ''))


def made():
    man = ckpt('help', '--man')[1]
    listed = [ckpt('help', c)[1].partition('Options\n')[2].partition('Examples')[0] for c in COMMANDS]
    options = set(re.findall(r'--([a-z-]+)', ''.join(listed)))
    check('there are options', len(options) > 20, options)
    with open(os.path.join(os.path.dirname(os.path.dirname(cli.HERE)), 'docs', 'program.md'), encoding='utf-8') as f:
        page = f.read()
    for option in options:
        check('docs/program.md has --' + option, re.search(r'--%s\b' % option, page))
        check('the man page has --' + option, '\\-\\-' + option.replace('-', '\\-') in man)
    if shutil.which('man'):
        path = os.path.join(cli.folder, 'ckpt.1')
        with open(path, 'w') as f:
            f.write(man)
        done = subprocess.run(['man', '--warnings', '-l', path], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              env={**os.environ, 'MANPAGER': 'cat', 'LC_ALL': 'C'})
        check('man reads it', done.returncode == 0 and not done.stderr, done.stderr)
    for shell, flags in (('bash', '-n'), ('zsh', '-n'), ('fish', '--no-execute')):
        code, out, _ = ckpt('help', '--' + shell)
        missing = [o for o in options if not re.search(r'(--|-l )%s\b' % o, out)]
        check('completions of %s have every option' % shell, code == 0 and not missing, missing)
        path = os.path.join(cli.folder, 'ckpt.' + shell)
        with open(path, 'w') as f:
            f.write(out)
        if shutil.which(shell):
            done = subprocess.run([shell, flags, path], stderr=subprocess.PIPE)
            check(shell + ' reads them', done.returncode == 0, done.stderr)
    if shutil.which('bash'):
        script = ('source %s; COMP_WORDS=(ckpt %s); COMP_CWORD=%d; _ckpt; echo "${COMPREPLY[*]}"')
        path = os.path.join(cli.folder, 'ckpt.bash')
        for words, at, want in (('ls --dig', 2, '--digest'), ('ver', 1, 'verify'), ('ls m.pt --sort s', 4, 'size')):
            done = subprocess.run(['bash', '-c', script % (path, words, at)], stdout=subprocess.PIPE, cwd=cli.folder)
            equal('bash completes: ' + words, done.stdout.decode().strip(), want)


if __name__ == '__main__':
    sys.exit(cli.run(helps, refusals, letters, made))
