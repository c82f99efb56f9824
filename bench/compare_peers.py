#!/usr/bin/env python3
"""Opens the same tensors with ckpt and with its peers, in one run, and prints the ratios. By hand, not in CI.

    compare_peers.py PROGRAM [TENSORS ...]

PROGRAM is bench/once.cpp, built with optimisation. Needs torch and safetensors in the Python that runs this. The file
is written by torch.save; that bench/inputs.hpp writes the same pickle, byte for byte, is checked first. Every reader
runs in a process of its own and takes the fastest of several opens; readers take turns for several rounds, and the
fastest round of each counts. Opening ends where a list of keys, shapes and dtypes is there; no reader touches weights.
"""

import datetime
import json
import platform
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROUNDS = 3


def tensors_of(count: int) -> dict:
    import torch

    out = {}
    for i in range(count):
        kind, shape = ("weight", (2, 2)) if i % 2 == 0 else ("bias", (4,))
        out[f"model.layers.{i // 2}.attention.{kind}"] = torch.zeros(shape)
    return out


def fastest(open_once, count: int, seconds: float = 2.0) -> float:
    best, begin = float("inf"), time.perf_counter()
    for _ in range(200):
        started = time.perf_counter()
        found = open_once()
        best = min(best, time.perf_counter() - started)
        if found != count:
            raise SystemExit(f"{found} tensors instead of {count}")
        if time.perf_counter() - begin > seconds:
            break
    return best


def read_with(reader: str, folder: Path, count: int) -> float:
    checkpoint = str(folder / "input.pt")
    if reader == "safetensors":
        from safetensors import safe_open

        def open_once() -> int:
            with safe_open(str(folder / "input.safetensors"), framework="np") as file:
                return len(list(file.keys()))

        return fastest(open_once, count)

    import torch

    if reader == "torch.load":
        return fastest(lambda: len(torch.load(checkpoint, mmap=True, weights_only=True)), count)
    if reader == "directory":

        def index() -> int:
            file = torch._C.PyTorchFileReader(checkpoint)
            return sum(file.get_record_offset(name) > 0 for name in file.get_all_records() if name.startswith("data/"))

        return fastest(index, count)
    raise SystemExit(f"no reader {reader}")


READERS = {
    "torch.load": "torch.load(mmap=True, weights_only=True)",
    "safetensors": "safetensors safe_open and keys()",
    "directory": "torch's C++ archive reader: directory and offsets only, a lower bound for libtorch",
}


def check_generator(program: str, folder: Path, count: int) -> None:
    ours = folder / "ours.pt"
    subprocess.run([program, "write", ours, str(count)], check=True)
    with zipfile.ZipFile(ours) as a, zipfile.ZipFile(folder / "input.pt") as b:
        same = a.read("archive/data.pkl") == b.read("input/data.pkl")
        names = [n.split("/", 1)[1] for n in a.namelist()] == [n.split("/", 1)[1] for n in b.namelist()]
    if not same or not names:
        raise SystemExit("bench/inputs.hpp writes another file than torch.save")
    ours.unlink()


def main() -> None:
    if len(sys.argv) > 2 and sys.argv[1] == "--read":
        print(read_with(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])))
        return
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    program = sys.argv[1]
    counts = [int(n) for n in sys.argv[2:]] or [300, 5_000, 100_000]
    import safetensors
    import safetensors.torch
    import torch

    print(f"torch {torch.__version__}, safetensors {safetensors.__version__}, Python {platform.python_version()}, "
          f"{datetime.date.today()}")
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            tensors = tensors_of(count)
            torch.save(tensors, folder / "input.pt")
            safetensors.torch.save_file(tensors, folder / "input.safetensors")
            check_generator(program, folder, count)
            seconds = {}
            for _ in range(ROUNDS):
                for ours, file in (("ckpt", "input.pt"), ("ckpt, safetensors", "input.safetensors")):
                    run = subprocess.run([program, "time", folder / file, "50"], capture_output=True, text=True,
                                         check=True).stdout.split()
                    if int(run[0]) != count:
                        raise SystemExit("ckpt found other tensors")
                    seconds[ours] = min(float(run[1]), seconds.get(ours, float("inf")))
                for reader in READERS:
                    command = [sys.executable, __file__, "--read", reader, str(folder), str(count)]
                    best = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
                    seconds[reader] = min(best, seconds.get(reader, float("inf")))
            print(f"{count:,} tensors: ckpt {seconds['ckpt'] * 1e3:.3f} ms")
            for reader, title in READERS.items():
                print(f"  {seconds[reader] * 1e3:10.3f} ms  {seconds[reader] / seconds['ckpt']:8.1f}x  {title}")
            same = seconds["ckpt, safetensors"]
            print(f"  {same * 1e3:10.3f} ms  {same / seconds['ckpt']:8.1f}x  ckpt on the safetensors file; safe_open "
                  f"takes {seconds['safetensors'] / same:.1f}x of that")


if __name__ == "__main__":
    main()
