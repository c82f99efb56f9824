"""What the comparisons of conversions have in common: their options, and counting what is right."""
import argparse
import os


def options(count, more=()):
    """--ckpt PROGRAM, --count N, --seed S, and `more`: names and keywords of other options."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--ckpt', required=True, type=os.path.abspath)
    parser.add_argument('--count', type=int, default=count)
    parser.add_argument('--seed', default='1')
    for name, keywords in more:
        parser.add_argument(name, **keywords)
    return parser.parse_args()


class Checked:
    """Checks of one program, whose files are in one folder."""

    def __init__(self, program, folder):
        self.program, self.folder = program, folder
        self.passed = self.failed = 0

    def check(self, name, ok, detail=''):
        if ok:
            self.passed += 1
        else:
            self.failed += 1
            print('FAILED: ' + name + '\n    ' + str(detail)[-900:])

    def end(self, skipped=0):
        """Prints the last line; the exit status."""
        print(f'{self.passed} passed, {self.failed} failed, {skipped} skipped')
        return 1 if self.failed else 0
