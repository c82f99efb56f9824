#!/usr/bin/env python3
"""Prints the version that include/ckpt/version.hpp states."""
import pathlib
import re

header = pathlib.Path(__file__).resolve().parent.parent / "include/ckpt/version.hpp"
numbers = dict(re.findall(r"#define CKPT_VERSION_(MAJOR|MINOR|PATCH) (\d+)", header.read_text()))
print(numbers["MAJOR"], numbers["MINOR"], numbers["PATCH"], sep=".")
