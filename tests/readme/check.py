#!/usr/bin/env python3
"""Runs what README.md, docs/cookbook.md and docs/key-rules.md show, every program and every `$` line, and compares what they print.

A line `$ c++ … NAME.cpp -o NAME && ./NAME ARGUMENTS` runs the program that was shown last before it; `$ ckpt …` the program
`ckpt`, whose output may go through `head -N` or `tail -N`. What was shown last as ```rules is the file rules.txt.

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

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DOCUMENTS = {"README.md": (1, 3), "docs/cookbook.md": (5, 12), "docs/key-rules.md": (0, 1)}  # how many programs and commands there are at least


def run(command):
    environment = dict(os.environ, COLUMNS="80", NO_COLOR="1")
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.stdout.rstrip("\n")


def cut(text, filter_):
    """What `| head -N` or `| tail -N` leaves of it."""
    if not filter_:
        return text
    end, count = re.fullmatch(r"(head|tail) -(\d+)", filter_).groups()
    lines = text.split("\n")
    return "\n".join(lines[:int(count)] if end == "head" else lines[-int(count):])


class Document:
    def __init__(self, name, options, folder):
        self.name, self.options, self.folder = name, options, folder
        self.programs = self.commands = 0
        self.results = []  # what was tried, expected, actual
        self.binary = None

    def check(self):
        with open(os.path.join(ROOT, self.name), encoding="utf-8") as file:
            blocks = re.findall(r"^```(\w*)\n(.*?)^```$", file.read(), re.MULTILINE | re.DOTALL)
        for language, text in blocks:
            if language == "cpp" and "int main" in text:
                self.compile(text)
            if language == "rules":
                with open(os.path.join(self.folder, "rules.txt"), "w", encoding="utf-8") as file:
                    file.write(text)
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                self.commands += 1
                self.results.append((command, output.strip("\n"), self.output_of(command)))
        least = DOCUMENTS[self.name]
        self.results.append(("it shows enough", True, self.programs >= least[0] and self.commands >= least[1]))

    def compile(self, text):
        self.programs += 1
        self.binary = os.path.join(self.folder, f"{os.path.basename(self.name)}{self.programs}")
        with open(self.binary + ".cpp", "w", encoding="utf-8") as file:
            file.write(text)
        said = run([*shlex.split(self.options.compiler), "-std=c++20", "-Wall", "-Wextra", "-Werror", "-Iinclude", self.binary + ".cpp", "-o", self.binary])
        self.results.append((f"program {self.programs} compiles", "", said))

    def output_of(self, command):
        if command.startswith("ckpt "):
            command, _, filter_ = command.partition(" | ")
            words = [os.path.join(self.folder, w) if w == "rules.txt" else w for w in shlex.split(command)[1:]]
            return cut(run([self.options.ckpt, *words]), filter_)
        program = re.fullmatch(r"c\+\+ .* (\w+)\.cpp -o \1 && \./\1 (.*)", command)
        return run([self.binary, *shlex.split(program[2])]) if program else "check.py does not know how to run this"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--ckpt", required=True)
    options = parser.parse_args()
    options.ckpt = os.path.abspath(options.ckpt)
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in DOCUMENTS:
            document = Document(name, options, folder)
            document.check()
            for tried, expected, actual in document.results:
                if expected == actual:
                    passed += 1
                    continue
                failed += 1
                print(f"FAILED: {name}: {tried}\n--- shown\n{expected}\n--- now\n{actual}\n")
    print(f"{passed} passed, {failed} failed")
    return failed != 0


sys.exit(main())
