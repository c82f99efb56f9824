#!/usr/bin/env python3
"""listed.py NAME... --slow FOLDER...: lists that are kept by hand name exactly the files that exist.

NAME is a test source that tests/meson.build lists, as folder/name.cpp; the folders looked at are those that hold a
header of the same folder, and two that test more than one. What declares test cases does so in its own namespace. And
every definition file (.ipp) of the headers is compiled by one source of the library, and by <ckpt/impl/src.hpp>, once;
the build files list all sources. Documents name no file that is gone. FOLDERs are those of which the slow cases are a
test.
"""
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
from harness import INCLUDE, ROOT, Report, spelled


def tests(report, listed):
    folders = [p.name for p in (INCLUDE / "ckpt").iterdir() if p.is_dir()] + ["checkpoint", "gpu"]
    existing = {p.relative_to(HERE).as_posix() for folder in folders for p in (HERE / folder).glob("*.cpp")}
    for name in sorted(existing | set(listed)):
        report.check(f"{name} exists and is listed", name in existing and name in listed,
                     "it is not listed in tests/meson.build" if name in existing else "it is listed and does not exist")
    for name in sorted(existing):
        text, own = (HERE / name).read_text(), f"namespace {pathlib.Path(name).stem}_test {{"
        report.check(f"{name} has a namespace of its own", own in text or "TEST_CASE" not in text,
                     f"it is compiled together with others: put what it declares into `{own}`")


def definitions(report):
    def included(file):
        return re.findall(r"^#include <(ckpt/[^>]+\.ipp)>", file.read_text(), re.M)

    sources = {f"src/{p.name}": included(p) for p in sorted((ROOT / "src").glob("*.cpp"))}
    whole = included(INCLUDE / "ckpt/impl/src.hpp")
    existing = {spelled(p) for p in INCLUDE.rglob("*.ipp")}
    for name in sorted(existing | set(whole) | {n for names in sources.values() for n in names}):
        if not report.check(f"{name} exists", name in existing, "src/*.cpp or <ckpt/impl/src.hpp> includes it"):
            continue
        those = [source for source, names in sources.items() for n in names if n == name]
        report.check(f"{name} is included by one source", len(those) == 1,
                     f"included by {', '.join(those)}" if those else "add it to the source of its stage, src/*.cpp")
        report.check(f"{name} is included by impl/src.hpp once", whole.count(name) == 1,
                     f"included {whole.count(name)} times in include/ckpt/impl/src.hpp")
    for build in ("src/meson.build", "CMakeLists.txt"):
        text = (ROOT / build).read_text()
        listed = set(re.findall(r"\b\w+\.cpp\b", text))
        report.check(f"{build} lists the sources", listed == {pathlib.Path(s).name for s in sources},
                     f"it lists {', '.join(sorted(listed))}; there are {', '.join(sorted(sources))}")


def documents(report):
    """A file that README.md or docs/ name is there: as it is written, below include/ or include/ckpt/, or anywhere by
    its bare name. A file called x, or x_ and more, stands for any."""
    anywhere = {p.name for folder in ("include", "src", "tests", "tools", "bench", "fuzz", "examples")
                for p in (ROOT / folder).rglob("*.*")}
    for document in [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]:
        text = document.read_text()
        names = re.findall(r"(?:`|<|\]\()((?:[\w.-]+/)*[\w.-]+\.(?:hpp|ipp|cuh|cu|cpp|py))(?=[`> ),])", text)
        places = (ROOT, INCLUDE, INCLUDE / "ckpt", document.parent)
        gone = sorted({name for name in names if not re.match(r"x[._]", name.rpartition("/")[2])
                       and not any((place / name).is_file() for place in places)
                       and ("/" in name or name not in anywhere)})
        report.check(f"{document.name} names files that exist", not gone, ", ".join(gone))


def slow_cases(report, folders):
    """A folder with slow cases that is not listed would never run them."""
    marked = {p.parent.name for p in HERE.glob("*/*.cpp") if 'doctest::test_suite("slow")' in p.read_text()}
    report.check("folders with slow cases are listed", marked == set(folders),
                 f"with_slow_cases of tests/meson.build: {sorted(folders)}, files: {sorted(marked)}")


def main(*arguments):
    report, slow = Report(), arguments.index("--slow")
    tests(report, arguments[:slow])
    slow_cases(report, arguments[slow + 1:])
    definitions(report)
    documents(report)
    report.end()


main(*sys.argv[1:])
