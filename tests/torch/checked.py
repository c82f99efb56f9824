"""What the comparisons of conversions have in common: their options, and counting what is right."""
import argparse
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import Report  # noqa: E402


def options(count, more=()):
    """--ckpt PROGRAM, --count N, --seed S, and `more`: names and keywords of other options."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--ckpt', required=True, type=os.path.abspath)
    parser.add_argument('--count', type=int, default=count)
    parser.add_argument('--seed', default='1')
    for name, keywords in more:
        parser.add_argument(name, **keywords)
    return parser.parse_args()


class Checked(Report):
    """Checks of one program, whose files are in one folder."""

    def __init__(self, program, folder):
        super().__init__()
        self.program, self.folder = program, folder

    def check(self, name, ok, detail=''):
        super().check(name, ok, str(detail)[-900:])

    def end(self, skipped=0):
        """Prints the last line; the exit status."""
        print(f'{self.passed} passed, {self.failed} failed, {skipped} skipped')
        return 1 if self.failed else 0
