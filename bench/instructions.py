#!/usr/bin/env python3
"""Instructions and peak heap of opening a checkpoint and of planning a map of 20 rules over its keys, instructions of
planning its upload and its conversion, per tensor, and of a digest, per byte: what noise cannot disturb, so that it can
gate.

    instructions.py PROGRAM [--most-instructions N] [--most-weights-instructions N] [--most-heap BYTES]
                    [--most-plan-instructions N] [--most-upload-instructions N] [--most-convert-instructions N]
                    [--most-plan-heap BYTES] [--most-digest-instructions N]

PROGRAM is bench/once.cpp, built with optimisation. One open with a reused scratch is the difference between runs that
open a file three times and twice under callgrind; the cost per tensor is the difference between two sizes, so that
what is paid once does not count. Exits with 1 past a limit, with 77 where valgrind is missing.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SMALL, LARGE = 1_000, 5_000
HEAP_OF = 100_000  # tensors: of fewer, most of the heap is what a file may take at any size
SHORT, LONG = 1 << 22, 3 << 22  # bytes of a digest
MORE = {"upload": "of planning its upload", "convert": "of planning its conversion to safetensors"}  # per tensor
FIXED_HEAP = 4 << 20


def instructions(program: str, action: str, file: Path | str, times: int) -> int:
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, action, str(file), str(times)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(re.search(r"Collected : (\d+)", run.stderr)[1])


def peak_heap(program: str, action: str, file: Path) -> tuple[int, int]:
    """How many tensors the action found, and the most bytes that it had at once."""
    run = subprocess.run([program, action, str(file)], capture_output=True, text=True, check=True)
    found, peak = run.stdout.split()
    return int(found), int(peak)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--most-instructions", type=float, default=float("inf"), metavar="N", help="per tensor")
    parser.add_argument("--most-weights-instructions", type=float, default=float("inf"), metavar="N",
                        help="of an open, its state_dict and a walk over it, per tensor")
    parser.add_argument("--most-heap", type=float, default=float("inf"), metavar="BYTES",
                        help=f"per tensor, beside {FIXED_HEAP:,}")
    parser.add_argument("--most-plan-instructions", type=float, default=float("inf"), metavar="N", help="per key")
    parser.add_argument("--most-plan-heap", type=float, default=float("inf"), metavar="BYTES", help="per key")
    for name, title in MORE.items():
        parser.add_argument(f"--most-{name}-instructions", type=float, default=float("inf"), metavar="N",
                            help=f"{title}, per tensor")
    parser.add_argument("--most-digest-instructions", type=float, default=float("inf"), metavar="N", help="per byte")
    wanted = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("valgrind is not installed")
        return 77
    good = True
    with tempfile.TemporaryDirectory() as folder:
        one_open = {}
        one_walk = {}
        one_plan = {}
        one_more = {name: {} for name in MORE}
        for tensors in (SMALL, LARGE):
            file = Path(folder) / f"{tensors}.pt"
            subprocess.run([wanted.program, "write", file, str(tensors)], check=True)
            one_open[tensors] = (instructions(wanted.program, "open", file, 3) -
                                 instructions(wanted.program, "open", file, 2))
            one_walk[tensors] = (instructions(wanted.program, "weights", file, 3) -
                                 instructions(wanted.program, "weights", file, 2))
            one_plan[tensors] = (instructions(wanted.program, "plan", file, 2) -
                                 instructions(wanted.program, "plan", file, 1))
            for name, one in one_more.items():
                one[tensors] = (instructions(wanted.program, f"{name}-plan", file, 2) -
                                instructions(wanted.program, f"{name}-plan", file, 1))
            print(f"{tensors:,} tensors: one open with a reused scratch {one_open[tensors]:,} instructions")
        file = Path(folder) / "heap.pt"
        subprocess.run([wanted.program, "write", file, str(HEAP_OF)], check=True)
        found, peak = peak_heap(wanted.program, "heap", file)
        heap = (peak - FIXED_HEAP) / found
        print(f"{found:,} tensors: peak heap {peak:,} bytes, {heap:,.0f} for each beside {FIXED_HEAP:,}")
        good = good and found == HEAP_OF and heap <= wanted.most_heap
        found, peak = peak_heap(wanted.program, "plan-heap", file)
        print(f"{found:,} keys: peak heap of planning 20 rules {peak / found:,.0f} bytes for each")
        good = good and found == HEAP_OF and peak / found <= wanted.most_plan_heap
        each = (one_open[LARGE] - one_open[SMALL]) / (LARGE - SMALL)
        print(f"{each:,.0f} instructions per tensor, and {one_open[LARGE] - each * LARGE:,.0f} once")
        good = good and each <= wanted.most_instructions
        each = (one_walk[LARGE] - one_walk[SMALL]) / (LARGE - SMALL)
        print(f"{each:,.0f} instructions per tensor with the state_dict and a walk over it, and "
              f"{one_walk[LARGE] - each * LARGE:,.0f} once")
        good = good and each <= wanted.most_weights_instructions
        each = (one_plan[LARGE] - one_plan[SMALL]) / (LARGE - SMALL)
        print(f"{each:,.0f} instructions per key for planning 20 rules, and {one_plan[LARGE] - each * LARGE:,.0f} once")
        good = good and each <= wanted.most_plan_instructions
        for name, one in one_more.items():
            each = (one[LARGE] - one[SMALL]) / (LARGE - SMALL)
            print(f"{each:,.0f} instructions per tensor {MORE[name]}, and {one[LARGE] - each * LARGE:,.0f} once")
            good = good and each <= getattr(wanted, f"most_{name}_instructions")
        short, long = (instructions(wanted.program, "digest", str(size), 2) -
                       instructions(wanted.program, "digest", str(size), 1) for size in (SHORT, LONG))
        each = (long - short) / (LONG - SHORT)
        print(f"{each:.3f} instructions per byte of a digest, and {short - each * SHORT:,.0f} once")
        good = good and each <= wanted.most_digest_instructions
    print("within the limits" if good else "PAST A LIMIT")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
