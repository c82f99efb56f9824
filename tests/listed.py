#!/usr/bin/env python3
"""listed.py NAME...: tests/meson.build lists exactly the test sources that exist.

NAME is a listed source as folder/name.cpp; the folders looked at are those that hold a header of the same folder,
and two that test more than one.
"""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from harness import INCLUDE, Report


def main(listed):
    report = Report()
    folders = [p.name for p in (INCLUDE / "ckpt").iterdir() if p.is_dir()] + ["checkpoint", "gpu"]
    existing = {p.relative_to(HERE).as_posix() for folder in folders for p in (HERE / folder).glob("*.cpp")}
    for name in sorted(existing | set(listed)):
        report.check(f"{name} exists and is listed", name in existing and name in listed,
                     "it is not listed in tests/meson.build" if name in existing else "it is listed and does not exist")
    report.end()


main(sys.argv[1:])
