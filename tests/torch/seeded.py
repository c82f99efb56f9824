"""What scripts have in common that compare random things with torch: their arguments, and what they do without
torch."""
import argparse
import random
import sys
import warnings


def arguments(doc, count, torch, more=()):
    """The arguments of the command line, with a seed. `torch` is the module, or the ImportError that came instead of
    it: then nothing is compared, and the process ends. `more` are further arguments: (name, keywords of
    add_argument)."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument('--ckpt', required=True, metavar='PROGRAM')
    parser.add_argument('--count', type=int, default=count)
    parser.add_argument('--seed', type=int, default=None)
    for name, keywords in more:
        parser.add_argument(name, **keywords)
    parser.add_argument('--skip-code', type=int, default=0, help='exit code where torch is absent (77 for meson)')
    args = parser.parse_args()
    if isinstance(torch, ImportError):
        print('torch cannot be imported (%s): nothing was compared' % torch)
        print('0 passed, 0 failed, %d skipped' % args.count)
        sys.exit(args.skip_code)
    if args.seed is None:
        args.seed = random.SystemRandom().randrange(2 ** 31)
    print('seed %d, torch %s' % (args.seed, torch.__version__))
    warnings.filterwarnings('ignore')
    return args


def report(passed, failed, skipped):
    """The line that counts; gives the exit code."""
    print('%d passed, %d failed' % (passed, failed) + (', %d skipped' % skipped if skipped else ''))
    return 1 if failed else 0
