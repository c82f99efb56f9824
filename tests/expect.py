#!/usr/bin/env python3
"""expect.py EXPECTED PROGRAM [ARG...]: the program exits 0 and prints exactly what the file EXPECTED holds.

Where EXPECTED is -, it prints nothing. `{<1e-4}` in it stands for any number below that one.
"""
import difflib
import pathlib
import re
import subprocess
import sys


def agrees(got, want):
    texts = re.split(r"\{<([^{}]+)\}", want)
    found = re.fullmatch(r"(\S+)".join(map(re.escape, texts[::2])), got)
    try:
        return found is not None and all(float(n) < float(limit) for n, limit in zip(found.groups(), texts[1::2]))
    except ValueError:
        return False


expected, *command = sys.argv[1:]
done = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
got = done.stdout.decode(errors="replace")
want = "" if expected == "-" else pathlib.Path(expected).read_text()
equal = agrees(got, want)
if not equal:
    sys.stdout.writelines(difflib.unified_diff(want.splitlines(True), got.splitlines(True), "expected", "printed"))
if done.returncode != 0:
    print("exit status", done.returncode)
sys.exit(not equal or done.returncode != 0)
