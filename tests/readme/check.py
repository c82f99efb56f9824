#!/usr/bin/env python3
"""Runs what README.md, docs/cookbook.md, docs/key-rules.md and docs/cuda.md show, every program and every `$` line, and compares what they print.

A line `$ c++ … NAME.cpp -o NAME && ./NAME ARGUMENTS` runs the program that was shown last before it; `$ ckpt …` the program
`ckpt`, whose output may go through `head -N` or `tail -N`. What was shown last as ```rules is the file rules.txt.
What begins with an #include is compiled, too, even where it is no program. For what includes <ckpt/cuda…> that is all, and it is left out
where there is no nvcc, whose headers it needs; ```cuda is compiled by nvcc itself.

usage: check.py --compiler CXX --ckpt PROGRAM [--nvcc NVCC]
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
# How many programs and commands there are at least.
DOCUMENTS = {"README.md": (1, 3), "docs/cookbook.md": (5, 12), "docs/key-rules.md": (0, 1), "docs/cuda.md": (1, 1)}
FOR_A_DEVICE = {"README.md": 1, "docs/cuda.md": 7}  # and how many that are compiled only, where nvcc is


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
        self.programs = self.commands = self.for_a_device = 0
        self.results = []  # what was tried, expected, actual
        self.binary = None

    def check(self):
        with open(os.path.join(ROOT, self.name), encoding="utf-8") as file:
            blocks = re.findall(r"^```(\w*)\n(.*?)^```$", file.read(), re.MULTILINE | re.DOTALL)
        for language, text in blocks:
            if language == "cuda" or (language == "cpp" and "#include <ckpt/cuda" in text):
                self.compile_for_a_device(language, text)
            elif language == "cpp" and ("int main" in text or text.startswith("#include")):
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
        if self.options.nvcc:
            self.results.append(("it shows enough for a device", True, self.for_a_device >= FOR_A_DEVICE.get(self.name, 0)))

    def write(self, name, text):
        path = os.path.join(self.folder, os.path.basename(self.name) + name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def compile(self, text):
        self.programs += 1
        source = self.write(f"{self.programs}.cpp", text)
        self.binary = source.removesuffix(".cpp")
        said = run([*shlex.split(self.options.compiler), "-std=c++20", "-Wall", "-Wextra", "-Werror", "-Iinclude", "-pthread", source, "-o", self.binary])
        self.results.append((f"program {self.programs} compiles", "", said))

    def compile_for_a_device(self, language, text):
        if not self.options.nvcc:
            return
        self.for_a_device += 1
        if language == "cuda":
            source = self.write(f"-device{self.for_a_device}.cu", text)
            command = [self.options.nvcc, "-std=c++20", "-Werror", "all-warnings", "-o", source + ".o"]
        else:
            source = self.write(f"-device{self.for_a_device}.cpp", text)
            includes = re.search(r'INCLUDES="-I([^"]*)"', run([self.options.nvcc, "--dryrun", "-c", "x.cu"]))[1]
            command = [*shlex.split(self.options.compiler), "-std=c++20", "-Wall", "-Wextra", "-Werror", "-isystem", includes, "-fsyntax-only"]
        said = run([*command, "-Iinclude", "-c", source])
        self.results.append((f"program {self.for_a_device} for a device compiles", "", said))

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
    parser.add_argument("--nvcc")
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
