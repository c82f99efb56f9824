#!/usr/bin/env python3
"""cuda.py NVCC COMPILER...: code for one default stream of each thread does not link with code for one of the process.

Two translation units that pass ckpt::cuda::device_tensors to each other, compiled with and without
CUDA_API_PER_THREAD_DEFAULT_STREAM: they link where both are alike. nvcc's --default-stream per-thread is the same
setting.
"""
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from harness import INCLUDE, Report, run, run_all, scratch

LINKS = [  # the first object, the second, whether they link
    ("exchanges process", "other process", True),
    ("exchanges thread", "other thread", True),
    ("exchanges process", "other thread", False),
    ("exchanges thread", "other process", False),
    ("exchanges thread", "other nvcc", True),
    ("exchanges process", "other nvcc", False),
]


def main(nvcc, *compiler):
    report = Report()
    status, output = run([nvcc, "--dryrun", "-c", HERE.parent / "gpu/kernels.cu"])
    cuda = output.split('INCLUDES="-I')[1].split('"')[0]
    settings = {
        "process": [*compiler, "-isystem", cuda],
        "thread": [*compiler, "-isystem", cuda, "-DCUDA_API_PER_THREAD_DEFAULT_STREAM"],
        "nvcc": [nvcc, "-x", "cu", "--default-stream", "per-thread"],
    }
    with scratch() as name:
        folder, objects = pathlib.Path(name), {}
        for wanted in sorted({w for link in LINKS for w in link[:2]}):
            source, setting = wanted.split()
            objects[wanted] = [*settings[setting], "-std=c++20", "-I", INCLUDE, "-c", HERE / f"cuda_{source}.cpp", "-o",
                               folder / f"{source}-{setting}.o"]
        for wanted, status, output in run_all(objects):
            report.check(f"{wanted} compiles", status == 0, "\n".join(output.splitlines()[:12]))
        for first, second, links in LINKS:
            title = f"{first} + {second}"
            status, output = run([nvcc, *(folder / (o.replace(" ", "-") + ".o") for o in (first, second)), "-o",
                                  folder / "program"])
            if links:
                report.check(f"{title} links", status == 0, output)
            else:
                report.check(f"{title} does not link",
                             status != 0 and "undefined" in output and "count_uploaded" in output, output)
    report.end()


main(*sys.argv[1:])
