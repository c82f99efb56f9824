#!/usr/bin/env python3
"""check.py [--header-only] EXAMPLES COMPILER...: what it costs to include ckpt, in units of what the standard headers
cost.

The standard unit includes the headers that ckpt's interface is made of and prints a string out of a vector. It and the
examples are compiled in turn, so that a loaded machine slows both; of each the fastest of several runs counts. A budget
is never raised by whoever exceeds it. --header-only measures that mode, which takes GCC half a minute.
"""
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import INCLUDE, Report, run, scratch

STANDARD = """
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

int main() {
    std::vector<std::string> words{"unit"};
    std::puts(words.front().c_str());
}
"""
MAX_LINES = 33_000  # of a compiled consumer, preprocessed, that are not blank
# Times the processor time of the standard unit, times its memory, kilobytes of text.
COMPILED = {"01_list": (3, 2, 12), "02_typed_view": (3, 2, 12), "03_strict_load": (5, 2.2, 20),
            "04_remap": (5, 2.2, 20)}
HEADER_ONLY = ("01_list", 60, 600, 680)  # times the unit, megabytes, both of GCC, kilobytes of text


def cost(command):
    """Seconds of the processor and megabytes that a command takes, both of the largest process below it."""
    child = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"check.py: does not compile: {' '.join(map(str, command))}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def text_bytes(program):
    """Code and constants of an object file, as `size` counts them."""
    return int(run(["size", program])[1].splitlines()[1].split()[0])


def main(*arguments):
    header_only = arguments[0] == "--header-only"
    examples, *compiler = arguments[header_only:]
    os.environ["CCACHE_DISABLE"] = "1"
    report, examples = Report(), pathlib.Path(examples)
    base = [*compiler, "-std=c++20", "-O2", "-I", INCLUDE]
    with scratch() as folder:
        standard, out = pathlib.Path(folder) / "standard.cpp", pathlib.Path(folder) / "out.o"
        standard.write_text(STANDARD)

        def measure(source, *flags, rounds):
            """(time / the unit's, megabytes, memory / the unit's, kilobytes of text), each round beside the unit."""
            unit, its = [], []
            for _ in range(rounds):
                unit.append(cost([*base, "-c", standard, "-o", out]))
                its.append(cost([*base, *flags, "-c", source, "-o", out]))
            (unit_time, unit_memory), (time, memory) = map(lambda runs: map(min, zip(*runs)), (unit, its))
            return time / unit_time, memory, memory / unit_memory, text_bytes(out) / 1024

        for name, (most_time, most_memory, most_text) in ({} if header_only else COMPILED).items():
            source = examples / f"{name}.cpp"
            time, megabytes, memory, text = measure(source, "-DCKPT_COMPILED", rounds=5)
            lines = run([*base, "-DCKPT_COMPILED", "-E", "-P", source])[1].splitlines()
            lines = sum(1 for line in lines if line.strip())
            print(f"{name}, compiled: {time:.2f} times the standard unit, {memory:.2f} times its memory, "
                  f"{text:.1f} KB of text, {lines:,} lines")
            report.check(f"{name}: at most {most_time} times the unit", time <= most_time, f"{time:.2f}")
            report.check(f"{name}: at most {most_memory} times its memory", memory <= most_memory, f"{memory:.2f}")
            report.check(f"{name}: at most {most_text} KB of text", text <= most_text, f"{text:.1f}")
            report.check(f"{name}: at most {MAX_LINES:,} lines", lines <= MAX_LINES, f"{lines:,}")
        if header_only:
            name, most_time, most_megabytes, most_text = HEADER_ONLY
            time, megabytes, _, text = measure(examples / f"{name}.cpp", rounds=3)
            print(f"{name}, header-only: {time:.1f} times the unit, {megabytes:.0f} MB, {text:.0f} KB of text")
            report.check(f"{name}, header-only: at most {most_time} times the unit", time <= most_time, f"{time:.1f}")
            report.check(f"{name}, header-only: at most {most_megabytes} MB", megabytes <= most_megabytes,
                         f"{megabytes:.0f}")
            report.check(f"{name}, header-only: at most {most_text} KB of text", text <= most_text, f"{text:.0f}")
    report.end()


main(*sys.argv[1:])
