#!/usr/bin/env python3
"""Checks the table of README.md that compares ckpt with other programs: runs each on the files of the table.

    python tests/readme/peers.py --ckpt PROGRAM [--python PYTHON] [--install FOLDER]

PYTHON (this one, unless given) may have torch, safetensors, picklescan, modelscan and netron, for which node is needed,
too; cells of what it has not are skipped and counted. --install makes a virtual environment in FOLDER, or uses the one
that is there, and installs all but torch. A row names a file or a folder in tests/data; the one without is a file that
calls os.system, and is written here. The last line is `N passed, N failed, N skipped`.
"""
import argparse
import os
import pathlib
import pickle
import re
import shutil
import sys
import tempfile
import zipfile

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from harness import ROOT, run

HERE = pathlib.Path(__file__).resolve().parent
HEAD = re.compile(r"^\| File \|.*\n\|[-|]+\n((?:\|.*\n)+)", re.MULTILINE)
PACKAGES = ("picklescan==1.0.5", "modelscan==0.8.8", "safetensors==0.8.0", "netron==9.3.3")
SAFE_LOAD = "import sys, torch; torch.load(sys.argv[1], weights_only=True, map_location='cpu')"
SAFETENSORS = "import sys, safetensors; safetensors.safe_open(sys.argv[1], 'numpy').keys()"


class Command:
    def __reduce__(self):
        return os.system, ("true",)


def write_attack(folder):
    path = folder / "attack.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("attack/data.pkl", pickle.dumps({"weights": {}, "more": Command()}, 2))
        archive.writestr("attack/version", "3\n")
    return path


class Peers:
    """What each column of the table answers for a file; None where it cannot be asked here."""

    def __init__(self, ckpt, python):
        self.ckpt, self.python = ckpt, python
        status, folder = run([python, "-c", "import netron, os; print(os.path.dirname(netron.__file__))"])
        self.netron_folder = folder.strip() if status == 0 and shutil.which("node") else ""
        self.has = {name: run([python, "-c", f"import {name}"])[0] == 0
                    for name in ("torch", "safetensors", "picklescan", "modelscan")}

    def reads(self, *command):
        return "reads" if run(command)[0] == 0 else "refuses"

    def scanner(self, module, path):
        if not self.has[module]:
            return None
        main = f"import sys; from {module}.cli import main; sys.exit(main())"
        status = run([self.python, "-c", main, "-p", path])[0]
        return {0: "clean", 1: "alarm", 3: "clean"}.get(status, f"exit {status}")  # 3: there was nothing to scan

    def ask(self, column, path):
        if column == "ckpt":
            return self.reads(self.ckpt, "ls", path)
        if column == "torch.load":
            return self.reads(self.python, "-c", SAFE_LOAD, path) if self.has["torch"] else None
        if column == "safetensors":
            return self.reads(self.python, "-c", SAFETENSORS, path) if self.has["safetensors"] else None
        if column == "netron":
            return run(["node", HERE / "netron.mjs", self.netron_folder, path])[1].split()[0] \
                if self.netron_folder else None
        return self.scanner(column, path)


def installed(folder):
    """The Python of a virtual environment with the packages; this one where they cannot be installed."""
    python = folder / "bin" / "python"
    if not python.exists() and run([sys.executable, "-m", "venv", folder])[0] != 0:
        return sys.executable
    command = [python, "-m", "pip", "install", "--quiet", "--retries", "1", "--timeout", "15", "numpy", *PACKAGES]
    status, said = run(command)
    if status != 0:
        print(said[-1000:])
    return str(python)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ckpt", required=True, metavar="PROGRAM")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--install", type=pathlib.Path, metavar="FOLDER")
    options = parser.parse_args()
    peers = Peers(os.path.abspath(options.ckpt), installed(options.install) if options.install else options.python)
    table = HEAD.search((ROOT / "README.md").read_text(encoding="utf-8"))
    head, rows = table[0].split("\n", 1)[0], table[1].splitlines()
    columns = [re.sub("`", "", c.strip()) for c in head.strip("|").split("|")[1:]]
    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory() as folder:
        attack = write_attack(pathlib.Path(folder))
        for row in rows:
            what, *cells = [c.strip() for c in row.strip("|").split("|")]
            named = re.search(r"\]\((tests/data/[^)]*)\)", what)
            path = ROOT / named[1] if named else attack
            for column, cell in zip(columns, cells, strict=True):
                actual = peers.ask(column, path)
                passed, failed, skipped = (passed + (actual == cell), failed + (actual not in (cell, None)),
                                           skipped + (actual is None))
                if actual not in (cell, None):
                    print(f"FAILED: {column} {actual} {path.name}; README.md says {cell}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
