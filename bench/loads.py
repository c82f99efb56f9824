#!/usr/bin/env python3
"""loads.py BENCH_BYTES FOLDER [ROUNDS [MEBIBYTES]]: whole loads beside torch, safetensors and memcpy, by hand.

Needs a Python with torch and safetensors. Writes w.pt and w.safetensors of bfloat16 to FOLDER, unless they are there
(4096 MiB). Each load is a process of its own that touches as much memory and frees it before the clock; they take
turns. Prints the median seconds of each, and the medians of the ratios within a round.
"""
import pathlib
import statistics
import subprocess
import sys

WRITE = """
import sys, torch
from safetensors.torch import save_file
base = torch.randn(4096, 4096, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
weights = {f"layers.{i}.weight": base.clone() for i in range(int(sys.argv[2]) // 32)}
torch.save(weights, sys.argv[1] + "/w.pt")
save_file(weights, sys.argv[1] + "/w.safetensors")
"""
PEER = """
import os, sys, time, mmap, torch
what, path = sys.argv[1:]
size = os.path.getsize(path) * (2 if what.endswith("f32") else 1)
with mmap.mmap(-1, size) as touched:
    touched.madvise(mmap.MADV_HUGEPAGE)
    for at in range(0, size, 4096):
        touched[at] = 1
from safetensors.torch import load_file
begin = time.perf_counter()
weights = load_file(path) if what == "safetensors" else torch.load(path, mmap=True, weights_only=True)
out = {k: v.float() if what.endswith("f32") else v.clone() for k, v in weights.items()}
print(f"{time.perf_counter() - begin:.4f}")
"""
OURS = ["memcpy", "pread", "owned", "owned-1", "host", "host-verify", "loop-f32", "owned-f32", "host-f32"]
PAIRS = [("torch", "owned"), ("torch", "host"), ("safetensors", "owned"), ("safetensors", "host"), ("memcpy", "owned"),
         ("memcpy", "host"), ("pread", "owned"), ("pread", "host"), ("host", "host-verify"), ("torch-f32", "owned-f32"),
         ("torch-f32", "host-f32"), ("loop-f32", "owned-f32"), ("loop-f32", "host-f32")]


def main(program, folder, rounds=5, mebibytes=4096):
    folder = pathlib.Path(folder)
    torch_file, safe_file = folder / "w.pt", folder / "w.safetensors"
    if not torch_file.exists():
        subprocess.run([sys.executable, "-c", WRITE, folder, str(mebibytes)], check=True)
    loads = {what: [program, "load", what, torch_file] for what in OURS}
    loads |= {what: [sys.executable, "-c", PEER, what, safe_file if what == "safetensors" else torch_file]
              for what in ("torch", "safetensors", "torch-f32")}
    seconds = {what: [] for what in loads}
    names = list(loads)
    for turn in range(int(rounds)):
        for what in names[turn % len(names):] + names[:turn % len(names)]:
            seconds[what].append(float(subprocess.run(loads[what], check=True, capture_output=True).stdout))
    for what, all_of in seconds.items():
        print(f"{what:12} {statistics.median(all_of):8.3f} s  ({min(all_of):.3f} to {max(all_of):.3f})")
    for slow, fast in PAIRS:
        ratios = [a / b for a, b in zip(seconds[slow], seconds[fast])]
        print(f"{slow:11} / {fast:12} {statistics.median(ratios):6.2f}  ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main(*sys.argv[1:])
