#!/usr/bin/env python3
"""check.py COMPILER...: what each folder of include/ckpt may include, and what the umbrella may cost.

The order of the folders is the way of a byte (docs/architecture.md). The last two checks need GCC and libstdc++,
whose figures repeat exactly.
"""
import os
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import DEVICE_HEADERS, HEADERS, INCLUDE, Report, run, scratch, spelled

MAX_LINES = 60_000  # of ckpt.hpp, preprocessed
MAX_MEGABYTES = 500  # 77 of them are the standard headers that are included

BASE = ["version", "fwd", "core/"]
MAY_INCLUDE = {  # folder, or header beside the folders: folders and headers below it
    "version": [],
    "fwd": BASE,
    "core/": BASE,
    "io/": [*BASE, "io/"],
    "archive/": [*BASE, "io/", "archive/"],
    "tensor/": [*BASE, "tensor/"],
    "pickle/": [*BASE, "tensor/", "pickle/"],
    "torch/": [*BASE, "io/", "archive/", "tensor/", "pickle/", "torch/"],
    "state/": [*BASE, "tensor/", "pickle/value", "torch/resolved", "state/"],
    "checkpoint": [*BASE, "io/", "archive/", "tensor/", "pickle/", "torch/", "state/"],
    "folder/": [*BASE, "io/", "archive/", "tensor/", "pickle/", "torch/", "state/", "checkpoint", "folder/"],
    "write/": [*BASE, "io/", "tensor/", "state/", "write/"],
    "maps/": [*BASE, "state/", "maps/"],
    "gpu/": [*BASE, "io/", "tensor/", "state/", "gpu/"],
    "ckpt": [*BASE, "io/", "archive/", "tensor/", "pickle/", "torch/", "state/", "checkpoint"],
    "folder": ["folder/"],
    "python": [*BASE, "tensor/", "pickle/"],
    "write": ["write/"],
    "maps": ["maps/"],
    "host": [*BASE, "ckpt", "gpu/", "io/", "state/", "tensor/"],
    "dlpack": [*BASE, "tensor/", "state/", "torch/checkpoint_file", "checkpoint"],
    "cuda": [*BASE, "ckpt", "dlpack", "gpu/", "state/", "tensor/"],
    "cuda_kernels": [*BASE, "gpu/"],
    "cuda_gds": [*BASE, "gpu/direct_read"],
}
DEFINITIONS = sorted((INCLUDE / "ckpt").rglob("*.ipp"))
HEAVY = "complex filesystem fstream functional iomanip ios iostream istream memory ostream ranges regex sstream".split()
THREADS = "condition_variable future mutex thread shared_mutex stop_token".split()
PUBLIC_MACROS = {"CKPT_VERSION_MAJOR", "CKPT_VERSION_MINOR", "CKPT_VERSION_PATCH", "CKPT_EXCEPTIONS"}


def without_suffix(name):
    """`io/source` for ckpt/io/source.hpp and for its definitions, ckpt/io/impl/source.ipp."""
    return re.sub(r"^ckpt/|\bimpl/(?=\w+\.ipp$)|\.(hpp|cuh|ipp)$", "", name)


def definitions_of(name):
    """ckpt/io/impl/source.ipp for ckpt/io/source.hpp."""
    folder, _, file = name.rpartition("/")
    return f"{folder}/impl/{file.removesuffix('.hpp')}.ipp"


def without_definitions(name, text):
    """A header without the lines at its end that include its definitions in header-only mode."""
    last = f"\n#if !defined(CKPT_COMPILED)\n#include <{definitions_of(name)}>\n#endif\n"
    return text.removesuffix(last)


def layer(name):
    """`io/` for ckpt/io/source.hpp, `checkpoint` for ckpt/checkpoint.hpp."""
    inside = without_suffix(name)
    return inside.split("/")[0] + "/" if "/" in inside else inside


def allowed(name, included):
    inside = without_suffix(included)
    return inside == without_suffix(name) or any(inside.startswith(may) if may.endswith("/") else inside == may for may in MAY_INCLUDE[layer(name)])


def without_comments_and_strings(text):
    pattern = r"""//[^\n]*|/\*.*?\*/|'(\\.|[^'\\\n])'|"(\\.|[^"\\\n])*\""""
    return re.sub(pattern, lambda m: m[0][0] * 2 if m[0][0] in "'\"" else "\n" * m[0].count("\n"), text, flags=re.S)


def complaints(header):
    """Everything that one header does and must not do."""
    name, conditions = spelled(header), 0
    leaf = re.fullmatch(r"ckpt/io/detail/\w+_(posix|win32)\.hpp", name)
    if layer(name) not in MAY_INCLUDE:
        yield "has no place among the layers: see MAY_INCLUDE"
        return
    text = without_definitions(name, header.read_text())
    if name.endswith(".hpp") and (INCLUDE / definitions_of(name)).is_file() and text == header.read_text():
        yield f"does not end with <{definitions_of(name)}>, unless CKPT_COMPILED"
    if name.endswith(".ipp") and not (INCLUDE / "ckpt" / f"{without_suffix(name)}.hpp").is_file():
        yield "defines what no header declares"
    if len(re.findall(r"^#pragma once$", text, re.M)) != 1:
        yield "wants one #pragma once"
    for number, line in enumerate(without_comments_and_strings(text.replace('include "', "include <quoted>")).splitlines(), 1):
        if re.match(r"\s*#\s*if", line):
            conditions += 1
        elif re.match(r"\s*#\s*endif", line):
            conditions -= 1
        if re.search(r"\b_WIN32\b", line) and layer(name) != "io/":
            yield f"{number}: asks for the operating system outside io/"
        if (m := re.match(r"\s*#\s*define\s+(\w+)", line)) and m[1] not in PUBLIC_MACROS and not m[1].startswith("CKPT_DETAIL_"):
            yield f"{number}: defines the macro {m[1]}"
        if not (m := re.match(r"\s*#\s*include\s*<([^>]*)>", line)):
            continue
        included = m[1]
        if included == "quoted":
            yield f"{number}: includes with quotes instead of <ckpt/...>"
        elif included.startswith("ckpt/"):
            if not (INCLUDE / included).is_file():
                yield f"{number}: <{included}> does not exist"
            if leaf:
                yield f"{number}: a leaf for one operating system includes nothing of ours"
            elif not allowed(name, included):
                yield f"{number}: {layer(name)} may not include <{included}>"
            if conditions and not included.startswith("ckpt/io/detail/"):
                yield f"{number}: <{included}> is included under a condition"
        elif included in HEAVY:
            yield f"{number}: <{included}> is too heavy for a header of ours"
        elif included in THREADS and name != "ckpt/gpu/engine.hpp":
            yield f"{number}: threads are only for the upload engine"
        elif ("/" in included or included.endswith(".h")) and not leaf and not name.startswith(("ckpt/cuda", "ckpt/gpu/cuda")):
            yield f"{number}: <{included}> belongs in io/detail/*_posix.hpp or *_win32.hpp"


def budgets(report, compiler, folder):
    source = pathlib.Path(folder) / "umbrella.cpp"
    source.write_text("#include <ckpt/ckpt.hpp>\n")
    base = [*compiler, "-std=c++20", "-I", INCLUDE]
    status, text = run([*base, "-E", "-P", source])
    lines = text.count("\n")
    print(f"ckpt.hpp: {lines:,} preprocessed lines")
    report.check(f"at most {MAX_LINES:,} preprocessed lines", status == 0 and lines <= MAX_LINES, f"{lines:,}")
    status, text = run([*base, "-fsyntax-only", "-ftime-report", source], env=os.environ | {"LC_ALL": "C"})
    total = re.search(r"^ *TOTAL .* (\d+)([kM]) *$", text, re.M)
    megabytes = int(total[1]) / (1024 if total[2] == "k" else 1) if total else None
    print(f"ckpt.hpp: {megabytes} MB of GCC front-end memory")
    report.check(f"at most {MAX_MEGABYTES} MB of GCC memory", megabytes is not None and megabytes <= MAX_MEGABYTES,
                 f"{megabytes} MB" if total else text)


def main(compiler):
    report = Report()
    files = HEADERS + DEVICE_HEADERS + DEFINITIONS
    for header in files:
        found = list(complaints(header))
        report.check(spelled(header), not found, "\n".join(found))
    throws = [spelled(h) for h in files for _ in re.findall(r"\bthrow\b", without_comments_and_strings(h.read_text()))]
    report.check("one throw in the library, in core/", len(throws) == 1 and throws[0].startswith("ckpt/core/"), str(throws))
    if "Free Software Foundation" in run([*compiler, "--version"])[1]:
        with scratch() as folder:
            budgets(report, compiler, folder)
    else:
        print("the budgets are measured with GCC only")
    report.end()


main(sys.argv[1:])
