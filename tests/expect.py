#!/usr/bin/env python3
"""expect.py EXPECTED PROGRAM [ARG...]: the program exits 0 and prints exactly what the file EXPECTED holds.

Where EXPECTED is -, it prints nothing.
"""
import difflib
import pathlib
import subprocess
import sys

expected, *command = sys.argv[1:]
done = subprocess.run(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
got = done.stdout.decode(errors="replace")
want = "" if expected == "-" else pathlib.Path(expected).read_text()
if got != want:
    sys.stdout.writelines(difflib.unified_diff(want.splitlines(True), got.splitlines(True), "expected", "printed"))
if done.returncode != 0:
    print("exit status", done.returncode)
sys.exit(got != want or done.returncode != 0)
