#!/usr/bin/env python3
"""check.py [--standard=c++20[,c++23]] COMMAND...: headers and examples compile without a warning, whatever the
compiler.

Each COMMAND is a compiler with what belongs to it, in one word: 'clang++-14 -stdlib=libc++'. For each and each
standard: all headers at once with all definitions, all headers over the compiled library, and every example over it.
"""
import pathlib
import shlex
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import HEADERS, INCLUDE, ROOT, STRICT, Report, os_leaf, run, run_all, scratch, spelled

# What such files include is not on every machine.
NOT_EVERYWHERE = ("<cuda", "<cufile", "<mpi", "ckpt/cuda", "ckpt/gpu/cuda_api")


def spelling(command, standard):
    """The standard as this compiler spells it: Clang 14 and 16 know c++23 as c++2b."""
    for name in (standard, standard.replace("23", "2b")):
        if run([*command, f"-std={name}", "-fsyntax-only", "-x", "c++", "/dev/null"])[0] == 0:
            return name
    return None


def main(*arguments):
    standards = ["c++20"]
    if arguments and arguments[0].startswith("--standard="):
        standards, arguments = arguments[0].split("=", 1)[1].split(","), arguments[1:]
    headers = [h for h in HEADERS if not os_leaf(h, sys.platform)]
    plain = [h for h in headers if not any(name in h.read_text() for name in NOT_EVERYWHERE)]
    examples = [e for e in sorted((ROOT / "examples").glob("*.cpp"))
                if not any(name in e.read_text() for name in NOT_EVERYWHERE)]
    report = Report()
    with scratch() as folder:
        everything = pathlib.Path(folder) / "everything.cpp"
        everything.write_text("".join(f"#include <{spelled(h)}>\n" for h in plain))
        jobs = {}
        for command in map(shlex.split, arguments):
            for standard in standards:
                name = spelling(command, standard)
                title = f"{' '.join(command)}, {standard}"
                if not report.check(f"{title} is known", name is not None):
                    continue
                base = [*command, f"-std={name}", *STRICT, "-I", INCLUDE, "-fsyntax-only"]
                jobs[f"{title}: all definitions"] = [*base, everything]
                jobs[f"{title}: all declarations"] = [*base, "-DCKPT_COMPILED", everything]
                for example in examples:
                    options = ["-fno-exceptions"] if "no_exceptions" in example.name else []
                    jobs[f"{title}: {example.name}"] = [*base, "-DCKPT_COMPILED", *options, example]
        for title, status, output in run_all(jobs):
            report.check(title, status == 0, "\n".join(output.splitlines()[:12]))
    report.end()


main(*sys.argv[1:])
