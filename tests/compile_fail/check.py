#!/usr/bin/env python3
"""check.py COMPILER...: no program in this folder compiles, and each fails with the text that its first line expects.

A text may have alternatives, A | B, for compilers that say it in other words. Further lines at the top:
`// expect: TEXT` again (each must appear), `// flags: FLAG...` (added to the command) and `// compilers: NAME`, for
what only compilers with NAME in the name of their program find. The texts stand in the first 3 lines of what GCC and
Clang say; `// within: N` is for what they begin otherwise, such as faults of a literal, where they say first which it
is, and `// most: N` for output that has no more than N lines at all.
control.cpp is the exception: it must compile, so that a folder where nothing compiles at all is noticed.
"""
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from harness import INCLUDE, Report, run_all, scratch


def main(compiler):
    if "nvcc" in pathlib.Path(compiler[0]).name:
        base = [*compiler, "-x", "cu", "-Werror", "all-warnings"]
    else:
        base = [*compiler, "-Werror"]
    counts_lines = "nvcc" not in pathlib.Path(compiler[0]).name
    base += ["-DCKPT_COMPILED", "-c"]  # what is refused is refused by declarations
    report, jobs, wanted, within, most = Report(), {}, {}, {}, {}
    with scratch() as folder:
        for case in sorted(HERE.glob("*.cpp")):
            head = re.match(r"(//[^\n]*\n)*", case.read_text())[0]
            only = re.search(r"^// compilers: (.*)$", head, re.M)
            if only and not any(only[1] in pathlib.Path(word).name for word in compiler):
                continue
            wanted[case.name] = re.findall(r"^// expect: (.*)$", head, re.M)
            limit = re.search(r"^// within: (\d+)$", head, re.M)
            within[case.name] = (int(limit[1]) if limit else 3) if counts_lines else None
            flags = [flag for line in re.findall(r"^// flags: (.*)$", head, re.M) for flag in line.split()]
            limit = re.search(r"^// most: (\d+)$", head, re.M)
            most[case.name] = int(limit[1]) if limit and counts_lines else None
            if not any(flag.startswith("-std=") for flag in flags):
                flags.append("-std=c++20")
            jobs[case.name] = [*base, "-I", INCLUDE, *flags, "-o", pathlib.Path(folder) / (case.stem + ".o"), case]
        for name, status, output in run_all(jobs):
            start = "\n".join(output.splitlines()[:15])
            if name == "control.cpp":
                report.check(f"{name} compiles", status == 0, start)
                continue
            said = "\n".join(output.splitlines()[:within[name]])
            missing = [text for text in wanted[name] if not any(words in said for words in text.split(" | "))]
            if most[name]:
                lines = len(output.splitlines())
                report.check(f"{name} says no more than that", lines <= most[name], f"{lines} lines\n{output}")
            report.check(f"{name} does not compile, and says why", status != 0 and wanted[name] and not missing,
                         f"exit status {status}; expected {wanted[name]}, did not find {missing} in "
                         f"{within[name]} lines\n{start}")
    report.end()


main(sys.argv[1:])
