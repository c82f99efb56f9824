#!/usr/bin/env python3
"""Runs what README.md shows: its first program, and every `$ ckpt …` line, and compares what they print.

usage: check.py --compiler CXX --ckpt PROGRAM
The last line is `N passed, N failed`.
"""
import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile

root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def run(command):
    environment = dict(os.environ, COLUMNS="80", NO_COLOR="1")
    done = subprocess.run(command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout.rstrip("\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--ckpt", required=True)
    options = parser.parse_args()
    options.ckpt = os.path.abspath(options.ckpt)
    with open(os.path.join(root, "README.md"), encoding="utf-8") as file:
        blocks = re.findall(r"^```(\w*)\n(.*?)^```$", file.read(), re.MULTILINE | re.DOTALL)
    program = next(text for language, text in blocks if language == "cpp" and "int main" in text)
    shown = []  # command, output
    for _, text in blocks:
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            shown.append((command, output.strip("\n")))
    results = []
    with tempfile.TemporaryDirectory() as folder:
        source, binary = os.path.join(folder, "readme.cpp"), os.path.join(folder, "readme")
        with open(source, "w", encoding="utf-8") as file:
            file.write(program)
        said = run([*shlex.split(options.compiler), "-std=c++20", "-Wall", "-Wextra", "-Werror", "-Iinclude", source, "-o", binary])
        results.append(("the first program compiles", "", said))
        for command, expected in shown:
            if command.startswith("ckpt "):
                actual = run([options.ckpt, *shlex.split(command)[1:]])
            elif "&& ./readme " in command:
                actual = run([binary, *shlex.split(command.partition("&& ./readme ")[2])])
            else:
                actual = "check.py does not know how to run this"
            results.append((command, expected, actual))
    failed = 0
    for name, expected, actual in results:
        if expected != actual:
            failed += 1
            print(f"FAILED: {name}\n--- README.md\n{expected}\n--- now\n{actual}\n")
    if len(shown) < 3:
        failed += 1
        print("README.md shows fewer commands than expected")
    print(f"{len(results) - failed} passed, {failed} failed")
    return failed != 0


sys.exit(main())
