#!/usr/bin/env python3
"""Compiles all C++ that README.md, SECURITY.md, CHANGELOG.md and docs/*.md show, runs every program and every `$` line,
and compares what they print.

A ```cpp block that begins with an #include and defines a function is a program or a header of its own. Every other one
is a fragment: it goes on where the fragment before it in its document ended, so that what that one declared is known,
and may be declared anew. <ckpt/ckpt.hpp> is included before the first. Nothing that says cpp is left out.

Throughout a document one name has one type.

A line `$ c++ … NAME.cpp -o NAME && ./NAME ARGUMENTS` runs the program that was shown last before it; `$ ckpt …` the
program `ckpt`, on a terminal of 80 columns, or through `head -N` or `tail -N`. A `$` line below which no output is
shown is not run. What was shown last as ```rules is the file rules.txt.
What includes <ckpt/cuda…> is compiled only, and left out where there is no nvcc, whose headers it needs. ```cuda is
nvcc's. All of it is compiled with CKPT_COMPILED.

usage: check.py --compiler CXX --ckpt PROGRAM --library LIBCKPT [--nvcc NVCC]
The last line is `N passed, N failed`.
"""
import argparse
import glob
import os
import re
import shlex
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import on_terminal

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NAMES = ["README.md", "SECURITY.md", "CHANGELOG.md", *sorted(glob.glob("docs/*.md", root_dir=ROOT))]
# How many programs, commands and fragments there are at least.
LEAST = {
    "README.md": (1, 3, 1),
    "docs/cookbook.md": (5, 14, 0),
    "docs/key-rules.md": (0, 3, 1),
    "docs/cuda.md": (1, 1, 0),
    "docs/tour.md": (0, 3, 20),
    "docs/errors.md": (0, 0, 1),
    "docs/formats.md": (1, 2, 1),
    "docs/security.md": (0, 0, 1),
}
# How many are compiled only, where nvcc is.
FOR_A_DEVICE = {"README.md": 1, "docs/cuda.md": 8, "docs/tour.md": 1}
LANGUAGES = {"", "cpp", "cuda", "rules", "sh", "meson", "cmake"}
DECLARED = re.compile(r"(?<!for \()\b(auto|[\w:]+(?:<[^;=()]*>)?[&*]*) (\w+) = ([^;]*);")
OWN_FUNCTION = re.compile(r"^(?!if|for|while|else|switch)[\w:<>&* ]+ \**\w+\(.*\) \{$", re.MULTILINE)


def run(command):
    environment = dict(os.environ, COLUMNS="80", NO_COLOR="1")
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    return done.stdout.rstrip("\n")


def run_on_terminal(command):
    """The same where the output is a terminal, as for somebody who types the command; None where there can be none."""
    out = on_terminal(command, cwd=ROOT, env={"NO_COLOR": "1"}, stderr=subprocess.STDOUT)
    return None if out is None else out.rstrip("\n")


def cut(text, filter_):
    """What `| head -N` or `| tail -N` leaves of it."""
    if not filter_:
        return text
    end, count = re.fullmatch(r"(head|tail) -(\d+)", filter_).groups()
    lines = text.split("\n")
    return "\n".join(lines[:int(count)] if end == "head" else lines[-int(count):])


def paragraphs(text):
    return [p for p in re.split(r"\n{2,}", text.strip("\n")) if p]


def names_of_two_types(blocks):
    """Names that are declared with two types, as far as the texts tell: a result and its value, auto and a type."""
    types = {}
    for language, text in blocks:
        for declared, name, made_by in DECLARED.findall(text if language in ("cpp", "cuda") else ""):
            is_value = declared == "auto" and made_by.endswith(".value()")
            types.setdefault(name, set()).add((declared, is_value))
    return sorted(name for name, of in types.items() if len(of) > 1)


def documents_not_listed():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        listed = file.read().partition("\n## Documents\n")[2]
    return [name for name in [*NAMES, "LICENSE"] if name != "README.md" and f"]({name})" not in listed]


def verbs_without_example(blocks):
    with open(os.path.join(ROOT, "include/ckpt/state/rule_code.hpp"), encoding="utf-8") as file:
        names = re.search(r"names\[\]\{(.*?)\}", file.read(), re.DOTALL)[1]
    rules = "\n".join(text for language, text in blocks if language == "rules")
    return [verb for verb in [*re.findall(r'"(\w+)"', names), "first"]
            if not re.search(rf"^ *\??{verb} ", rules, re.MULTILINE)]


class Fragments:
    """The fragments of one document as one translation unit: each in a scope inside that of the one before it."""

    def __init__(self):
        self.includes, self.declarations, self.scopes = ["#include <ckpt/ckpt.hpp>"], [], []

    def add(self, text):
        body = []
        for paragraph in paragraphs(text):
            lines = paragraph.split("\n")
            self.includes += [line for line in lines if line.startswith("#include")]
            rest = "\n".join(line for line in lines if not line.startswith("#include"))
            # Types and specialisations stand outside of functions.
            (self.declarations if re.match(r"struct |class |template ", rest) else body).append(rest)
        self.scopes.append("\n".join(body))

    def text(self):
        opened = "".join(f"{{\n{scope}\n" for scope in self.scopes)
        return "\n".join([*self.includes, *self.declarations, "int fragments() {", opened + "}" * len(self.scopes),
                          "return 0;", "}", ""])


class Document:
    def __init__(self, name, options, folder):
        self.name, self.options, self.folder = name, options, folder
        self.programs = self.commands = self.for_a_device = self.fragments = 0
        self.results = []  # what was tried, expected, actual
        self.binary = None

    def check(self):
        with open(os.path.join(ROOT, self.name), encoding="utf-8") as file:
            blocks = re.findall(r"^ *```([^\n]*)\n(.*?)^ *```$", file.read(), re.MULTILINE | re.DOTALL)
        fragments = Fragments()
        for language, text in blocks:
            device = language == "cuda" or (language == "cpp" and "#include <ckpt/cuda" in text)
            if language == "cuda" or (language == "cpp" and text.startswith("#include") and OWN_FUNCTION.search(text)):
                self.compile_for_a_device(language, text) if device else self.compile(text)
            elif language == "cpp":
                self.fragments += 1
                if device and self.options.nvcc:
                    self.for_a_device += 1
                if not device or self.options.nvcc:
                    fragments.add(text)
            elif language == "rules":
                with open(os.path.join(self.folder, "rules.txt"), "w", encoding="utf-8") as file:
                    file.write(text)
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                command, _, output = part.partition("\n")
                if not output.strip("\n"):
                    continue
                self.commands += 1
                self.results.append((command, output.strip("\n"), self.output_of(command)))
        if self.fragments:
            self.compile_fragments(fragments.text())
        self.results.append(("its blocks are of known languages", [], [b for b, _ in blocks if b not in LANGUAGES]))
        hidden = [t for b, t in blocks
                  if b not in ("cpp", "cuda") and re.search(r"ckpt::.*[;{]$|#include <", t, re.MULTILINE)]
        self.results.append(("all C++ in it says so", [], hidden))
        self.results.append(("one name has one type throughout", [], names_of_two_types(blocks)))
        if self.name == "README.md":
            self.results.append(("it lists all documents", [], documents_not_listed()))
        if self.name == "docs/key-rules.md":
            self.results.append(("each verb has an example", [], verbs_without_example(blocks)))
        found = self.programs, self.commands, self.fragments
        self.results.append(("it shows enough", True,
                             all(n >= least for n, least in zip(found, LEAST.get(self.name, (0, 0, 0))))))
        if self.options.nvcc:
            self.results.append(("it shows enough for a device", True,
                                 self.for_a_device >= FOR_A_DEVICE.get(self.name, 0)))

    def write(self, name, text):
        path = os.path.join(self.folder, os.path.basename(self.name) + name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def command(self):
        return [*shlex.split(self.options.compiler), "-std=c++20", "-Wall", "-Wextra", "-Werror", "-DCKPT_COMPILED",
                "-Iinclude"]

    def cuda_headers(self):
        return ["-isystem", re.search(r'INCLUDES="-I([^"]*)"', run([self.options.nvcc, "--dryrun", "-c", "x.cu"]))[1]]

    def compile(self, text):
        self.programs += 1
        source = self.write(f"{self.programs}.cpp", text)
        self.binary = source.removesuffix(".cpp")
        said = run([*self.command(), "-pthread", source, "-o", self.binary, self.options.library])
        self.results.append((f"program {self.programs} compiles", "", said))

    def compile_fragments(self, text):
        source = self.write("-fragments.cpp", text)
        needed = self.cuda_headers() if "#include <ckpt/cuda" in text else []
        said = run([*self.command(), "-Wno-unused-variable", "-Wno-unused-but-set-variable", *needed, "-fsyntax-only",
                    source])
        self.results.append(("its fragments compile", "", said))

    def compile_for_a_device(self, language, text):
        if not self.options.nvcc:
            return
        self.for_a_device += 1
        if language == "cuda":
            source = self.write(f"-device{self.for_a_device}.cu", text)
            command = [self.options.nvcc, "-std=c++20", "-Werror", "all-warnings", "-DCKPT_COMPILED", "-Iinclude", "-o",
                       source + ".o"]
        else:
            source = self.write(f"-device{self.for_a_device}.cpp", text)
            command = [*self.command(), *self.cuda_headers(), "-fsyntax-only"]
        said = run([*command, "-c", source])
        self.results.append((f"program {self.for_a_device} for a device compiles", "", said))

    def output_of(self, command):
        if command.startswith("ckpt "):
            command, _, filter_ = command.partition(" | ")
            words = [os.path.join(self.folder, w) if w == "rules.txt" else w for w in shlex.split(command)[1:]]
            shown = None if filter_ else run_on_terminal([self.options.ckpt, *words])
            return cut(run([self.options.ckpt, *words]), filter_) if shown is None else shown
        program = re.fullmatch(r"c\+\+ .* (\w+)\.cpp -o \1 && \./\1 (.*)", command)
        return run([self.binary, *shlex.split(program[2])]) if program else "check.py does not know how to run this"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--compiler", required=True)
    parser.add_argument("--ckpt", required=True)
    parser.add_argument("--library", required=True)
    parser.add_argument("--nvcc")
    options = parser.parse_args()
    options.ckpt, options.library = os.path.abspath(options.ckpt), os.path.abspath(options.library)
    passed = failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
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
