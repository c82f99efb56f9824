#!/usr/bin/env python3
"""layout.py [--clang-format PROGRAM]: no line of a source, a script or a build file is longer than 120 columns, and no
line of a document longer than 160 but the rows of tables and what stands in a block.

With PROGRAM also that every C++ source is laid out as .clang-format says. Raw string literals of C++ may be wider, and
so may texts in triple quotes of Python that are no docstrings: their line breaks are part of what they say. Some
examples keep the layout in which the design document shows them: examples/0*.cpp.
"""
import argparse
import re

from harness import ROOT, Report, run

COLUMNS = 120
DOCUMENT_COLUMNS = 160
BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
FOLDERS = ("bench", "examples", "fuzz", "include", "src", "tests", "tools")
SOURCES = {".hpp", ".ipp", ".cpp", ".cu", ".cuh", ".h"}
SCRIPTS = (".ci/run", "tools/demo", "tools/nightly", "tools/setup", "tools/test")
RAW_STRING = re.compile(r'R"([^()\\\s]{0,16})\(.*?\)\1"', re.DOTALL)
TEXT = re.compile(r"""(?<=[=(,+])\s*[bfr]*(\"{3}|'{3}).*?\1""", re.DOTALL)  # a docstring stands at the beginning of a line


def as_designed(source):
    return source.parent == ROOT / "examples" and source.name.startswith("0")


def lines(file):
    """Those of the file, without what may be wider."""
    wider = TEXT if file.suffix == ".py" else RAW_STRING
    return wider.sub(lambda m: "\n" * m[0].count("\n"), file.read_text(encoding="utf-8")).splitlines()


def wide_lines(document):
    prose = BLOCK.sub(lambda m: "\n" * m[0].count("\n"), document.read_text(encoding="utf-8"))
    return [f"{document.relative_to(ROOT)}:{number}" for number, line in enumerate(prose.splitlines(), 1)
            if len(line) > DOCUMENT_COLUMNS and not line.startswith("|")]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--clang-format", metavar="PROGRAM")
    program = parser.parse_args().clang_format
    report = Report()
    inside = [file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*"))]
    sources = [file for file in inside if file.suffix in SOURCES]
    others = [ROOT / "meson.build", *(file for file in inside if file.name == "meson.build" or file.suffix == ".py"),
              *map(ROOT.joinpath, SCRIPTS)]
    wide = [f"{file.relative_to(ROOT)}:{number}" for file in sources + others
            for number, line in enumerate(lines(file), 1) if len(line) > COLUMNS]
    report.check(f"at most {COLUMNS} columns", not wide, "\n".join(wide))
    wide = [line for file in [*ROOT.glob("*.md"), *sorted((ROOT / "docs").glob("*.md"))] for line in wide_lines(file)]
    report.check(f"documents: at most {DOCUMENT_COLUMNS} columns", not wide, "\n".join(wide))
    if program:
        status, output = run([program, "--dry-run", "-Werror", *(file for file in sources if not as_designed(file))])
        report.check("laid out as .clang-format says", status == 0, "\n".join(output.splitlines()[:60]))
    report.end()


main()
