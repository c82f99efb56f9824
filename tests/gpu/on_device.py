#!/usr/bin/env python3
"""on_device.py PROGRAM ARG...: the program does its work on a device, or ends with the error that there is none.

On a machine whose driver lists a GPU it must work.
"""
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import Report, run


def main(*command):
    report = Report()
    has_device = shutil.which("nvidia-smi") is not None and "GPU 0" in run(["nvidia-smi", "-L"])[1]
    status, text = run(command)
    print(text, end="")
    if has_device:
        report.check("it works", status == 0, text)
    else:
        report.check("it fails", status != 0, text)
        report.check("there is no device", "no_device (604)" in text, text)
    report.end()


main(*sys.argv[1:])
