#!/usr/bin/env python3
"""check.py [--all] CHECKPOINT [--library FILE] COMPILER...: two sources with every header link into one program.

Header-only and compiled; with --all also header-only without exceptions, two that share nothing, and a source of the
program that holds all definitions, which is only checked otherwise. Where two kinds are mixed and an object of ckpt
passes between them, the program must not link, and the linker must name the kind that it misses. FILE is the library
of the compiled mode, built by the same compiler.
"""
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from harness import HEADERS, INCLUDE, STRICT, Report, os_leaf, run, run_all, scratch, spelled

KINDS = {
    "throwing": [],
    "noexcept": ["-fno-exceptions", "-fno-rtti"],
    "compiled": ["-DCKPT_COMPILED"],
    "compiled_noexcept": ["-DCKPT_COMPILED", "-fno-exceptions", "-fno-rtti"],
}
LINKS = [  # main's object, the other's object, whether they link or, where not, what the linker names
    ("exchanges throwing", "other throwing", True),
    ("exchanges noexcept", "other noexcept", True),
    ("keeps_to_itself throwing", "other noexcept", True),
    ("exchanges throwing", "other noexcept", "ckpt::v0_1::"),
    ("exchanges noexcept", "other throwing", "ckpt::v0_1_noexcept::"),
    ("exchanges compiled", "holds_definitions compiled", True),
]
WITH_LIBRARY = [
    ("exchanges compiled", "other compiled", True),
    ("keeps_to_itself compiled", "other throwing", True),
    ("keeps_to_itself throwing", "other compiled", True),
    ("exchanges compiled", "other throwing", "ckpt::v0_1_compiled::"),
    ("exchanges throwing", "other compiled", "ckpt::v0_1::"),
    ("exchanges compiled_noexcept", "other compiled", "ckpt::v0_1_compiled_noexcept::"),
]


def main(*arguments):
    every = arguments[0] == "--all"
    checkpoint, *compiler = arguments[every:]
    report, objects, library = Report(), {}, []
    if compiler[0] == "--library":
        library, compiler = [compiler[1], "-pthread"], compiler[2:]
    links = [(*link, []) for link in LINKS] + [(*link, library) for link in WITH_LIBRARY if library]
    if not every:
        links = [link for link in links
                 if not re.search(" noexcept|itself throwing|holds_definitions", f"{link[0]} {link[1]}")]
    with scratch() as name:
        folder = pathlib.Path(name)
        (folder / "everything.hpp").write_text("#pragma once\n" + "".join(
            f"#include <{spelled(h)}>\n" for h in HEADERS
            if not os_leaf(h, sys.platform) and not h.name.startswith("cuda")))
        needed = {w for link in links for w in link[:2]}
        # The one that takes longest begins first.
        for wanted in sorted(needed | {"holds_definitions compiled"}, key=lambda w: ("definitions" not in w, w)):
            source, kind = wanted.split()
            objects[wanted] = [*compiler, "-std=c++20", *STRICT, *KINDS[kind], "-I", INCLUDE, "-I", folder,
                               *(["-c"] if wanted in needed else ["-fsyntax-only"]),
                               HERE / f"{source}.cpp", "-o", folder / f"{source}-{kind}.o"]
        for wanted, status, output in run_all(objects):
            report.check(f"{wanted} compiles", status == 0, "\n".join(output.splitlines()[:12]))
        for first, second, outcome, archive in links:
            title = f"{first} + {second}" + (" + library" if archive else "")
            program = folder / "program"
            program.unlink(missing_ok=True)
            linked = [folder / (o.replace(" ", "-") + ".o") for o in (first, second)]
            status, output = run([*compiler, *linked, *archive, "-o", program])
            if outcome is not True:
                report.check(f"{title} does not link, and {outcome} is named",
                             status != 0 and "undefined" in output and outcome in output, output[:2000])
            elif report.check(f"{title} links", status == 0, "\n".join(output.splitlines()[:12])):
                status, output = run([program, checkpoint])
                report.check(f"{title} runs", status == 0, f"exit status {status}\n{output}")
    report.end()


main(*sys.argv[1:])
