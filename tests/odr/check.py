#!/usr/bin/env python3
"""check.py CHECKPOINT COMPILER...: two translation units that include every header link into one program.

Compiled with and without exceptions; where the two kinds are mixed and an object of ckpt passes between them, the
program must not link.
"""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from harness import HEADERS, INCLUDE, STRICT, Report, os_leaf, run, run_all, scratch, spelled

KINDS = {"throwing": [], "noexcept": ["-fno-exceptions", "-fno-rtti"]}
LINKS = [  # main's object, the other's object, whether they link
    ("exchanges throwing", "other throwing", True),
    ("exchanges noexcept", "other noexcept", True),
    ("keeps_to_itself throwing", "other noexcept", True),
    ("exchanges throwing", "other noexcept", False),
    ("exchanges noexcept", "other throwing", False),
]


def main(checkpoint, *compiler):
    report, objects = Report(), {}
    with scratch() as name:
        folder = pathlib.Path(name)
        (folder / "everything.hpp").write_text("#pragma once\n" + "".join(
            f"#include <{spelled(h)}>\n" for h in HEADERS
            if not os_leaf(h, sys.platform) and not h.name.startswith("cuda")))
        for wanted in sorted({w for link in LINKS for w in link[:2]}):
            source, kind = wanted.split()
            objects[wanted] = [*compiler, "-std=c++20", *STRICT, *KINDS[kind], "-I", INCLUDE, "-I", folder,
                               "-c", HERE / f"{source}.cpp", "-o", folder / f"{source}-{kind}.o"]
        for wanted, status, output in run_all(objects):
            report.check(f"{wanted} compiles", status == 0, "\n".join(output.splitlines()[:12]))
        for first, second, links in LINKS:
            title = f"{first} + {second}"
            program = folder / "program"
            program.unlink(missing_ok=True)
            status, output = run([*compiler, *(folder / (o.replace(" ", "-") + ".o") for o in (first, second)),
                                  "-o", program])
            if not links:
                report.check(f"{title} does not link", status != 0 and "undefined" in output, output)
            elif report.check(f"{title} links", status == 0, output):
                status, output = run([program, checkpoint])
                report.check(f"{title} runs", status == 0, f"exit status {status}\n{output}")
    report.end()


main(*sys.argv[1:])
