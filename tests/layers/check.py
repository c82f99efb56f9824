#!/usr/bin/env python3
"""check.py: what each folder of include/ckpt may include, and which headers a program pays for.

The order of the folders is the way of a byte (docs/architecture.md, whose table is compared with what is here). What
including a header costs is measured by tests/budgets.
"""
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import CONSUMER, DEVICE_HEADERS, HEADERS, INCLUDE, ROOT, Report, spelled

BASE = ["version", "core/"]
MAY_INCLUDE = {  # folder, or header beside the folders: folders and headers below it
    "version": [],
    "core/": BASE,
    "io/": [*BASE, "io/"],
    "archive/": [*BASE, "io/", "archive/"],
    "tensor/": [*BASE, "tensor/"],
    "pickle/": [*BASE, "tensor/", "pickle/"],
    "torch/": [*BASE, "io/", "archive/", "tensor/", "pickle/", "torch/"],
    "state/": [*BASE, "io/pages", "tensor/", "pickle/value", "pickle/value_access", "state/"],
    "checkpoint": [*BASE, "io/", "archive/", "tensor/", "pickle/", "torch/", "state/", "open_source"],
    "open_source": [*BASE, "io/", "archive/", "tensor/", "pickle/", "torch/", "state/", "checkpoint"],
    "folder/": [
        *BASE, "io/", "archive/", "tensor/", "pickle/", "torch/", "state/", "checkpoint", "open_source", "folder/",
    ],
    "maps/": [*BASE, "state/", "maps/"],
    "gpu/": [*BASE, "io/", "tensor/", "state/", "gpu/"],
    "ckpt": [*BASE, "io/", "archive/", "tensor/", "pickle/", "torch/", "state/", "checkpoint"],
    "config": [*BASE, "torch/", "checkpoint"],
    "write/": [
        *BASE, "io/", "archive/safetensors", "archive/zip_format", "tensor/", "pickle/",
        "torch/safetensors_types", "state/", "write/",
    ],
    "folder": ["config", "folder/"],
    "python": [*BASE, "tensor/", "pickle/"],
    "prefetch": [*BASE, "io/", "tensor/", "state/"],
    "threads": BASE,
    "maps": ["maps/"],
    "write": ["write/"],
    "host": [*BASE, "ckpt", "gpu/", "io/", "state/", "tensor/"],
    "dlpack": [*BASE, "tensor/", "state/", "torch/checkpoint_file", "checkpoint"],
    "cuda": [*BASE, "ckpt", "dlpack", "gpu/", "state/", "tensor/"],
    "cuda_async": [*BASE, "cuda", "gpu/"],
    "cuda_kernels": [*BASE, "gpu/"],
    "cuda_gds": [*BASE, "gpu/direct_read"],
}
# Standard headers that cost a program more than it may get from a consumer header.
COSTLY = "algorithm atomic charconv functional map memory numeric set unordered_map unordered_set variant".split()
DEFINITIONS = sorted((INCLUDE / "ckpt").rglob("*.ipp"))
HEAVY = "complex filesystem fstream functional iomanip ios iostream istream memory ostream ranges regex sstream".split()
WITH_THREADS = ("ckpt/gpu/engine.hpp", "ckpt/gpu/kept_rings.hpp", "ckpt/gpu/own_thread.hpp", "ckpt/gpu/upload_run.hpp",
                "ckpt/gpu/upload_watch.hpp", "ckpt/impl/threads.ipp")
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
    return (inside == without_suffix(name)
            or any(inside.startswith(may) if may.endswith("/") else inside == may for may in MAY_INCLUDE[layer(name)]))


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
    for number, line in enumerate(
            without_comments_and_strings(text.replace('include "', "include <quoted>")).splitlines(), 1):
        if re.match(r"\s*#\s*if", line):
            conditions += 1
        elif re.match(r"\s*#\s*endif", line):
            conditions -= 1
        if re.search(r"\b_WIN32\b", line) and layer(name) != "io/":
            yield f"{number}: asks for the operating system outside io/"
        if ((m := re.match(r"\s*#\s*define\s+(\w+)", line)) and m[1] not in PUBLIC_MACROS
            and not m[1].startswith("CKPT_DETAIL_")):
            yield f"{number}: defines the macro {m[1]}"
        if not (m := re.match(r"\s*#\s*include\s*<([^>]*)>", line)):
            continue
        included = m[1]
        if included == "quoted":
            yield f"{number}: includes with quotes instead of <ckpt/...>"
        elif included.startswith("ckpt/"):
            if not (INCLUDE / included).is_file():
                yield f"{number}: <{included}> does not exist"
            if leaf and included != f"ckpt/io/detail/file_{leaf[1]}.hpp":
                yield f"{number}: a leaf for one operating system includes nothing of ours but its file leaf"
            elif not allowed(name, included):
                yield f"{number}: {layer(name)} may not include <{included}>"
            elif (name.endswith(".hpp") and without_suffix(name) in CONSUMER
                  and without_suffix(included) not in CONSUMER):
                yield f"{number}: programs would get <{included}>, which is the library's own"
            if conditions and not included.startswith("ckpt/io/detail/"):
                yield f"{number}: <{included}> is included under a condition"
        elif included in HEAVY:
            yield f"{number}: <{included}> is too heavy for a header of ours"
        elif included in COSTLY and name.endswith(".hpp") and without_suffix(name) in CONSUMER:
            yield f"{number}: programs would get <{included}>"
        elif included in THREADS and name not in WITH_THREADS:
            yield f"{number}: threads are only for the upload engine and for those that a program asks for"
        elif (("/" in included or included.endswith(".h")) and not leaf
              and not name.startswith(("ckpt/cuda", "ckpt/gpu/cuda"))):
            yield f"{number}: <{included}> belongs in io/detail/*_posix.hpp or *_win32.hpp"


def included_by(name):
    """Our headers and definitions that a file includes, in order."""
    found = re.findall(r"^\s*#\s*include\s*<(ckpt/[^>]+)>", (INCLUDE / name).read_text(), re.M)
    return [included for included in found if (INCLUDE / included).is_file()]


def too_early(first):
    """What a program compiles too early that includes `first` before anything else, and all definitions with it.

    Definitions that include a header come too early where that header is still above its own declarations: it includes,
    itself or through others, the header of those definitions. `#pragma once` then skips it.
    """
    seen, open_headers, found = set(), [], set()

    def enter(name):
        if name in seen:
            return
        seen.add(name)
        if name.endswith(".ipp"):
            open_headers.pop()  # a header includes its definitions last: its declarations are known
            found.update((name, needed) for needed in included_by(name) if needed in open_headers)
            for included in included_by(name):
                enter(included)
            open_headers.append("")
        else:
            open_headers.append(name)
            for included in included_by(name):
                enter(included)
            open_headers.pop()

    enter(first)
    return sorted(found)


# A command in a text: an error's hint speaks of the interface in use, and the program has hints of its own.
OF_THE_PROGRAM = r'"[^"\n]*\bckpt (?:info|ls|stat|show|globals|verify|diff|map)\b[^"\n]*"'


def documented():
    """{folder: (consumer headers, internal headers)} as the table in docs/architecture.md names them."""
    rows = re.findall(r"^\| `(\w+/)` \|([^|]*)\|([^|]*)\|[^|]*\|$", (ROOT / "docs/architecture.md").read_text(), re.M)
    return {folder: tuple(set(re.split(r"[,;]\s*", re.sub(r"\*[^*]*\*|`[^;]*$", "", cell).strip(" ;")))
                          for cell in cells) for folder, *cells in rows}


def main():
    report = Report()
    files = HEADERS + DEVICE_HEADERS + DEFINITIONS
    for header in files:
        found = list(complaints(header))
        report.check(spelled(header), not found, "\n".join(found))
    for header in HEADERS + DEVICE_HEADERS:
        early = [f"<{definitions}> needs <{needed}>, which includes its header"
                 for definitions, needed in too_early(spelled(header))]
        report.check(f"{spelled(header)}, included first, is no part of a circle", not early, "\n".join(early))
    throws = [spelled(h) for h in files for _ in re.findall(r"\bthrow\b", without_comments_and_strings(h.read_text()))]
    report.check("one throw in the library, in core/", len(throws) == 1 and throws[0].startswith("ckpt/core/"),
                 str(throws))
    spoken = [f"{spelled(h)}: {m}" for h in files for m in re.findall(OF_THE_PROGRAM, h.read_text())]
    report.check("texts of the library name no command of the program", not spoken, "\n".join(spoken))
    table = documented()
    for folder in sorted({layer(spelled(h)) for h in HEADERS if "/" in without_suffix(spelled(h))}):
        existing = {h.stem for h in (INCLUDE / "ckpt" / folder).glob("*.hpp")}
        consumer = {name for name in existing if folder + name in CONSUMER}
        for kind, wanted, shown in zip(("consumer", "internal"), (consumer, existing - consumer),
                                       table.get(folder, ((), ()))):
            shown = {name.strip() for name in shown}
            report.check(f"docs/architecture.md names the {kind} headers of {folder}", wanted == shown,
                         f"it lacks {sorted(wanted - shown)}; it should not name {sorted(shown - wanted)}")
        report.check(f"docs/architecture.md has a row for {folder}", folder in table)
    missing = [name for name in sorted(CONSUMER) if not (INCLUDE / "ckpt" / f"{name}.hpp").is_file()]
    report.check("every header for programs exists", not missing, str(missing))
    report.end()


main()
