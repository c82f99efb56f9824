"""What the comparisons share: their options, the readings of the program reader.cpp, and the sums at the end."""

import argparse
import resource
import subprocess

FORMER = resource.getrlimit(resource.RLIMIT_AS)


def options(doc, count):
    """A parser of what all comparisons take; `count` is the number of inputs unless told."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reader")
    parser.add_argument("--count", type=int, default=count)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most-shown", type=int, default=10)
    return parser


def close(wanted, kind, counts, differences):
    """Prints the sums; the exit status."""
    for what, n in sorted(counts.items()):
        print(f"{n:9,} {what}")
    print(f"{wanted.count:,} {kind}, seed {wanted.seed}: {differences} differences that are not listed")
    return 1 if differences else 0


def answers(reader, inputs, kind="pickles"):
    """A line for each input."""
    data = b"".join([len(p).to_bytes(4, "little") + p for p in inputs])
    # A sanitizer takes terabytes of addresses.
    run = subprocess.run([reader, kind], input=data, capture_output=True, check=True,
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, FORMER))
    lines = run.stdout.decode("utf-8", "replace").split("\n")[:-1]
    if len(lines) != len(inputs):
        raise SystemExit(f"{len(inputs)} {kind}, {len(lines)} answers")
    return lines
