#!/usr/bin/env python3
"""What compare.py starts for readers in Python: one task, in a process of its own.

    compare_readers.py READER TASK FILE [KEY]

READER is torch-mmap, torch or safetensors; TASK is open, tensor, load or cast. Prints `SECONDS TENSORS DIGEST`, which
compare.py describes. `compare_readers.py torch same FILE TENSORS` ends with 1 unless FILE is what torch.save writes of
the tensors of bench/inputs.hpp.
"""

import mmap
import os
import sys
import tempfile
import time
import zipfile

MASK = (1 << 64) - 1


def fastest(run):
    """The seconds of the fastest of as many as fit into 0.3 s, but of three unless these take a second; and the last
    result."""
    best, runs, begin = float("inf"), 0, time.perf_counter()
    while (spent := time.perf_counter() - begin) < 0.3 or runs == 0 or (runs < 3 and spent < 1):
        started = time.perf_counter()
        out = run()
        best, runs = min(best, time.perf_counter() - started), runs + 1
    return best, out


def touch(size: int) -> None:
    """So that a virtual machine has the memory that the clock will see: it is touched, and given back."""
    with mmap.mmap(-1, size) as memory:
        if hasattr(mmap, "MADV_HUGEPAGE"):
            memory.madvise(mmap.MADV_HUGEPAGE)
        memory[0:size:4096] = bytes(len(range(0, size, 4096)))


def digest(tensors) -> int:
    """The sums of the words of eight bytes of each tensor, each times its position, from 1 on."""
    import torch

    return sum(i * int(t.reshape(-1).view(torch.int64).sum()) for i, t in enumerate(tensors, 1)) & MASK


def check_generator(path: str, count: int) -> None:
    import torch

    tensors = {}
    for i in range(count):
        kind, shape = ("bias", (4,)) if i % 2 else ("weight", (2, 2))
        tensors[f"model.layers.{i // 2}.attention.{kind}"] = torch.zeros(shape)
    with tempfile.NamedTemporaryFile(suffix=".pt") as other:
        torch.save(tensors, other.name)
        with zipfile.ZipFile(path) as a, zipfile.ZipFile(other.name) as b:
            [folder] = {name.split("/", 1)[0] for name in b.namelist()}
            same = a.read("archive/data.pkl") == b.read(f"{folder}/data.pkl")
            names = [n.split("/", 1)[1] for n in a.namelist()] == [n.split("/", 1)[1] for n in b.namelist()]
    if not same or not names:
        raise SystemExit("bench/inputs.hpp writes another file than torch.save")


def with_torch(path: str, task: str, key: str, mapped: bool):
    import torch

    def read():
        return torch.load(path, mmap=mapped, weights_only=True)

    if task == "open":
        seconds, weights = fastest(lambda: (w := read(), sum(t.numel() for t in w.values()))[0])
        return seconds, len(weights), sum(t.numel() for t in weights.values())
    if task == "tensor":
        seconds, one = fastest(lambda: read()[key].clone())
        return seconds, 1, digest([one])
    touch(os.path.getsize(path) * (2 if task == "cast" else 1))
    begin = time.perf_counter()
    weights = read()
    if task == "cast":
        weights = {k: t.float() for k, t in weights.items()}
    elif mapped:
        weights = {k: t.clone() for k, t in weights.items()}
    return time.perf_counter() - begin, len(weights), digest(weights.values())


def with_safetensors(path: str, task: str, key: str):
    from safetensors import safe_open

    if task == "open":

        def keys():
            with safe_open(path, framework="np") as file:
                return list(file.keys())

        seconds, names = fastest(keys)
        return seconds, len(names), "-"

    import torch  # what tensors are

    def one():
        with safe_open(path, framework="pt") as file:
            return file.get_tensor(key).clone()

    if task == "tensor":
        seconds, tensor = fastest(one)
        return seconds, 1, digest([tensor])
    touch(os.path.getsize(path) * (2 if task == "cast" else 1))
    begin = time.perf_counter()
    with safe_open(path, framework="pt") as file:
        weights = {k: file.get_tensor(k).to(torch.float32) if task == "cast" else file.get_tensor(k).clone()
                   for k in file.offset_keys()}  # in the order of the file
    return time.perf_counter() - begin, len(weights), digest(weights.values())


def main() -> None:
    if len(sys.argv) < 4:
        raise SystemExit(__doc__)
    reader, task, path = sys.argv[1:4]
    key = sys.argv[4] if len(sys.argv) > 4 else ""
    if task == "same":
        return check_generator(path, int(key))
    result = with_safetensors(path, task, key) if reader == "safetensors" else with_torch(path, task, key,
                                                                                          reader == "torch-mmap")
    print("%.9f %s %s" % result)


if __name__ == "__main__":
    main()
