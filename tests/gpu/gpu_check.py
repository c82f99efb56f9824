#!/usr/bin/env python3
"""gpu_check.py PROGRAM CHECKPOINT...: the check for machines with a GPU, over the double of the runtime: it writes its
files, verifies them and the checkpoints, and its probes find nothing."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import Report, run, scratch


def main(program, *checkpoints):
    report = Report()
    with scratch() as folder:
        folder = pathlib.Path(folder)
        status, output = run([program, "files", folder, "0.05"])[:2]
        report.check("writes its files", status == 0, output)
        small = [folder / name for name in ("few0.safetensors", "few8.safetensors")]
        status, output = run([program, "verify", *checkpoints, *small])[:2]
        report.check("verifies them", status == 0 and output.rstrip().endswith(" 0 failed"), output)
        for file in small:
            status, output = run([program, "probe", file])[:2]
            report.check(f"finds nothing with {file.name}", status == 0, output)
    report.end()


main(*sys.argv[1:])
