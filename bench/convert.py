#!/usr/bin/env python3
"""Converts a large checkpoint with ckpt, copies it with cp, and converts it with Python, in one run. Not for CI.

    convert.py CKPT [--gib N] [--rounds N] [--folder FOLDER] [--cold] [--more]

CKPT is the program, built with optimisation. Needs torch and safetensors in the Python that runs this. The input is a
bfloat16 model of N GiB (4 unless told), and the same in float32, written by torch.save to FOLDER (a temporary one
unless told; the largest free space is three times the float32 file). Everybody's output is synced inside the time, so
that all of it is on the disk at the end; they take turns, and the fastest round counts. --cold drops the page cache
before each (as root). --more adds a file of 16 GiB that is mostly holes, and a folder of 64 files of
torch.distributed.checkpoint. Memory is the largest resident set of the process.
"""

import argparse
import datetime
import importlib.metadata
import json
import multiprocessing
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PYTHON = {
    "torch.load, save_file": "import sys, torch, safetensors.torch as s;"
                             "s.save_file(torch.load(sys.argv[1], mmap=True, weights_only=True), sys.argv[2])",
    "torch.load, torch.save": "import sys, torch;"
                              "torch.save(torch.load(sys.argv[1], mmap=True, weights_only=True), sys.argv[2])",
    "to float32": "import sys, torch, safetensors.torch as s;"
                  "w = torch.load(sys.argv[1], mmap=True, weights_only=True);"
                  "s.save_file({k: t.float() for k, t in w.items()}, sys.argv[2])",
    "to bfloat16": "import sys, torch, safetensors.torch as s;"
                   "w = torch.load(sys.argv[1], mmap=True, weights_only=True);"
                   "s.save_file({k: t.bfloat16() for k, t in w.items()}, sys.argv[2])",
}


def write_models(halves: Path, wide: Path, gib: float) -> None:
    """A decoder's shapes: matrices of 4096 by 4096 and 4096 by 11008, and their norms."""
    import torch

    weights, total, layer = {}, 0, 0
    while total < gib * (1 << 30):
        for name, shape in (("q", (4096, 4096)), ("up", (11008, 4096)), ("down", (4096, 11008)), ("norm", (4096,))):
            t = torch.empty(shape, dtype=torch.bfloat16).uniform_(-1, 1)
            weights[f"model.layers.{layer}.{name}.weight"] = t
            total += t.nbytes
        layer += 1
    torch.save(weights, halves)
    torch.save({k: t.float() for k, t in weights.items()}, wide)


def write_holes(path: Path) -> None:
    side, count = 1 << 15, 4  # each 4 GiB of float32
    size = side * side * 4
    header = json.dumps({f"w{i}": {"dtype": "F32", "shape": [side, side], "data_offsets": [i * size, (i + 1) * size]}
                         for i in range(count)}).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as f:
        f.write(len(header).to_bytes(8, "little") + header)
        f.truncate(f.tell() + count * size)


def write_distributed(path: Path, halves: Path) -> None:
    import torch
    import torch.distributed.checkpoint as dcp

    weights = torch.load(halves, mmap=True, weights_only=True)
    parts = min(64, len(weights))
    writer = dcp.FileSystemWriter(path, single_file_per_rank=False, thread_count=parts)
    dcp.save(weights, storage_writer=writer, no_dist=True)


def in_child(function, *words) -> None:
    """Calls a function in a process of its own: its memory would count as that of later children of this one."""
    child = multiprocessing.get_context("fork").Process(target=function, args=words)
    child.start()
    child.join()
    if child.exitcode != 0:
        raise SystemExit(f"{function.__name__} ended with {child.exitcode}")


def drop_cache() -> None:
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


def measured(command: list, cold: bool) -> tuple[float, float]:
    """Seconds until the output, the last path of the command, is on the disk, and MiB of memory."""
    out = [word for word in command if isinstance(word, Path)][-1]
    os.sync()
    if cold:
        drop_cache()
    started = time.perf_counter()
    child = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(f"{command} ended with {child.returncode}")
    descriptor = os.open(out, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)
    seconds = time.perf_counter() - started
    out.unlink()
    return seconds, used.ru_maxrss / 1024


def compare(title: str, contenders: dict, rounds: int, cold: bool) -> None:
    """Prints the times of all, divided by the first's."""
    best: dict = {}
    for _ in range(rounds):
        for name, command in contenders.items():
            seconds, memory = measured(command, cold)
            best[name] = min(best.get(name, (float("inf"), 0)), (seconds, memory))
    first = next(iter(best.values()))[0]
    print(f"{title}, {'cold' if cold else 'warm'}")
    for name, (seconds, memory) in best.items():
        print(f"  {name:30} {seconds / first:5.2f} x  {seconds:6.2f} s  {memory:7.0f} MiB", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ckpt", type=Path)
    parser.add_argument("--gib", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--more", action="store_true")
    wanted = parser.parse_args()
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("torch", "safetensors"))
    print(f"{datetime.date.today()}, {platform.machine()}, {os.cpu_count()} cores, {versions}")
    with tempfile.TemporaryDirectory(dir=wanted.folder) as name:
        folder = Path(name)
        out, convert, python = folder / "out.safetensors", [wanted.ckpt, "convert"], [sys.executable, "-c"]
        halves, wide = folder / "bfloat16.pt", folder / "float32.pt"
        in_child(write_models, halves, wide, wanted.gib)
        for cold in (False, True)[: 1 + wanted.cold]:
            run = lambda title, contenders: compare(title, contenders, wanted.rounds, cold)  # noqa: E731
            run(f"{halves.stat().st_size / 2**30:.1f} GiB of bfloat16 as they are", {
                "cp": ["cp", halves, out],
                "ckpt convert": [*convert, halves, out],
                "ckpt convert to .pt": [*convert, halves, folder / "out.pt"],
                **{f"Python: {k}": [*python, PYTHON[k], halves, out] for k in list(PYTHON)[:2]},
            })
            run("bfloat16 to float32", {
                "cp of the float32 file": ["cp", wide, out],
                "ckpt convert": [*convert, halves, out, "--dtype", "**=float32"],
                "Python": [*python, PYTHON["to float32"], halves, out],
            })
            run("float32 to bfloat16", {
                "cp of the float32 file": ["cp", wide, out],
                "ckpt convert": [*convert, wide, out, "--dtype", "**=bfloat16"],
                "Python": [*python, PYTHON["to bfloat16"], wide, out],
            })
            if wanted.more:
                holes, parts = folder / "holes.safetensors", folder / "distributed"
                write_holes(holes)
                run("16 GiB of holes", {
                    "cp --sparse=never": ["cp", "--sparse=never", holes, out],
                    "ckpt convert": [*convert, holes, out],
                })
                holes.unlink()
                in_child(write_distributed, parts, halves)
                run(f"a folder of {sum(1 for _ in parts.glob('*.distcp'))} files, bfloat16", {
                    "cp of the one file": ["cp", halves, out],
                    "ckpt convert": [*convert, parts, out],
                })
                shutil.rmtree(parts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
