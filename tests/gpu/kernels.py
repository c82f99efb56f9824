#!/usr/bin/env python3
"""kernels.py NVCC SOURCE [ARCHITECTURE...]: cuda_kernels.cuh compiles without a warning for these architectures (or
every one), and the program runs.

Each architecture gives a cubin, the last one PTX as well; sizes and times are printed, the sizes bounded. The program
is also linked from two sources that both include the header.
"""
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import INCLUDE, Report, run, scratch

ARCHITECTURES = "75 80 86 89 90 100 103 110 120 121".split()
MOST_BYTES = 100_000  # of one cubin

OTHER = """
#include <ckpt/cuda_kernels.cuh>
const void* other_kernels() { return ckpt::cuda::kernels(); }
"""


def main(nvcc, source, *architectures):
    report = Report()
    architectures = architectures or ARCHITECTURES
    base = [nvcc, "-std=c++20", "-Werror", "all-warnings", "-I", INCLUDE]
    with scratch() as folder:
        folder = pathlib.Path(folder)
        targets = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in architectures]
        targets.append(f"-gencode=arch=compute_{architectures[-1]},code=compute_{architectures[-1]}")
        start = time.monotonic()
        status, text = run([*base, *targets, "--keep", "--keep-dir", folder, "-c", source, "-o", folder / "all.o"])
        seconds = time.monotonic() - start
        if report.check("the architectures", status == 0, text):
            sizes = {}
            for a in architectures:
                found = [f for f in folder.glob("*.cubin") if f.stem.endswith(f"_{a}")]
                if report.check(f"sm_{a}: one cubin", len(found) == 1, str(found)):
                    sizes[a] = found[0].stat().st_size
                    report.check(f"sm_{a}: at most {MOST_BYTES:,} bytes", sizes[a] <= MOST_BYTES, f"{sizes[a]:,}")
            print(f"{len(sizes)} cubins and PTX in {seconds:.1f} s: " +
                  ", ".join(f"sm_{a} {s:,}" for a, s in sizes.items()) +
                  f" bytes; the object {(folder / 'all.o').stat().st_size:,}")
        other = folder / "other.cu"
        other.write_text(OTHER)
        program = folder / "program"
        status, text = run([*base, "-arch=sm_75", source, other, "-o", program])
        if report.check("two sources link", status == 0, text):
            status, text = run([program])
            print(text, end="")
            report.check("the program", status == 0, text)
    report.end()


main(*sys.argv[1:])
