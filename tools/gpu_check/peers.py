#!/usr/bin/env python3
"""peers.py clone|map_location|mmap_map_location|safetensors warm|cold: how fast others bring f32.pt or f32.safetensors
of the working directory to a GPU. One JSON object on one line, as gpu_check bench prints them.

The context is made before the clock starts, which stops when everything is on the device. `warm` takes the median of
three, `cold` forgets the file's pages and loads it once.
"""
import json
import os
import resource
import sys
import time

import torch

HOW, COLD = sys.argv[1], sys.argv[2] == "cold"
FILE = "f32.safetensors" if HOW == "safetensors" else "f32.pt"
TITLE = {
    "clone": "torch.load(mmap=True), .cuda()",
    "map_location": "torch.load(map_location='cuda')",
    "mmap_map_location": "torch.load(mmap=True, map_location='cuda')",
    "safetensors": "safetensors load_file(device='cuda')",
}[HOW]


def load():
    if HOW == "safetensors":
        from safetensors.torch import load_file
        return load_file(FILE, device="cuda")
    if HOW == "clone":
        return {k: v.cuda() for k, v in torch.load(FILE, mmap=True, weights_only=True).items()}
    return torch.load(FILE, map_location="cuda", mmap=HOW == "mmap_map_location", weights_only=True)


def forget():
    file = os.open(FILE, os.O_RDONLY)
    os.fsync(file)
    os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(file)


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def timed():
    if COLD:
        forget()
    used, begin = cpu(), time.perf_counter()
    weights = load()
    torch.cuda.synchronize()
    taken = time.perf_counter() - begin, cpu() - used
    if not all(tensor.is_cuda for tensor in weights.values()):
        sys.exit("not everything is on the device")
    del weights
    torch.cuda.empty_cache()
    return taken


torch.zeros(1).cuda()
torch.cuda.synchronize()
runs = sorted(timed() for _ in range(1 if COLD else 3))
size, (median, used) = os.path.getsize(FILE) / 1e9, runs[len(runs) // 2]
print(json.dumps({
    "name": f"{sys.argv[2]} {TITLE}",
    "gbs": round(size / median, 2),
    "best": round(size / runs[0][0], 2),
    "seconds": round(median, 4),
    "cpu": round(used, 2),
    "note": f"torch {torch.__version__}",
}))
