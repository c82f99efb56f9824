#!/usr/bin/env python3
"""check.py MPIRUN MODEL SLICES: four ranks of MPI load their slices of a checkpoint, which rank 0 joins and compares.

MODEL writes the checkpoint, SLICES is examples/mpi_slices.cpp. Ranks must not have read it all.
"""
import os
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import Report, run, scratch

RANKS = 4
MOST = 0.3  # of the bytes: norms and some biases are whole


def main(mpirun, model, slices):
    report = Report()
    # Open MPI asks root twice whether it means it.
    environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    with scratch() as folder:
        path = pathlib.Path(folder) / "model.pt"
        status, text = run([model, path])
        report.check("the checkpoint", status == 0, text)
        status, text = run([mpirun, "--oversubscribe", "-n", RANKS, slices, path], env=environment)
        print(text, end="")
        report.check("the ranks", status == 0, text)
        fractions = [float(f) for f in re.findall(r"^rank \d+: .* ([\d.]+)$", text, re.M)]
        report.check("all ranks report", len(fractions) == RANKS, text)
        for rank, fraction in enumerate(fractions):
            report.check(f"rank {rank} reads its part", 1 / RANKS <= fraction < MOST, str(fraction))
        report.check("all tensors are equal", " 21 of them cut, 0 differ from the file" in text, text)
    report.end()


main(*sys.argv[1:])
