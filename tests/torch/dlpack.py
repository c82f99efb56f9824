#!/usr/bin/env python3
"""dlpack.py --compiler C++: torch and NumPy take tensors from <ckpt/dlpack.hpp> and see the values that torch saved.

A shared library of ours, built against the DLPack header that torch ships, opens a file of torch.save and hands out
exports; they go through a capsule as any producer's do. Without torch nothing is run, and the exit code is --skip-code.
"""
import argparse
import ctypes
import gc
import pathlib
import sys

try:
    import numpy
    import torch
except ImportError as e:
    numpy, torch, absent = None, None, e

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))  # after torch: a folder there has that name
from harness import INCLUDE, STRICT, Report, run, scratch

# The same program with DLPack's header before ours and behind it; the layouts of their type and ours are compared.
LIBRARY = """
#include <%s>
#include <%s>
#include <cstddef>

using ours = ckpt::dlpack_managed_tensor;
using theirs = DLManagedTensorVersioned;
static_assert(sizeof(ours) == sizeof(theirs) && sizeof(ckpt::dlpack_tensor) == sizeof(DLTensor));
static_assert(offsetof(ours, manager_ctx) == offsetof(theirs, manager_ctx));
static_assert(offsetof(ours, deleter) == offsetof(theirs, deleter));
static_assert(offsetof(ours, flags) == offsetof(theirs, flags));
static_assert(offsetof(ours, dl_tensor) == offsetof(theirs, dl_tensor));
static_assert(offsetof(ckpt::dlpack_tensor, dtype) == offsetof(DLTensor, dtype));
static_assert(offsetof(ckpt::dlpack_tensor, strides) == offsetof(DLTensor, strides));
static_assert(DLPACK_FLAG_BITMASK_READ_ONLY == 1);
static_assert(kDLCPU == ckpt::detail::dlpack_cpu && kDLCUDA == ckpt::detail::dlpack_cuda);

extern "C" {
int open_and_export(const char* path, const char* key, bool their_type, void** out);
void drop(void* exported);
}

// 0, or the number of the error. Everything but the export itself is gone when this returns.
int open_and_export(const char* path, const char* key, bool their_type, void** out) {
    const auto file = ckpt::open(path);
    if (!file) return static_cast<int>(file.error().code);
    const auto weights = file->state_dict();
    if (!weights) return static_cast<int>(weights.error().code);
    const auto tensor = weights->at(key);
    if (!tensor) return static_cast<int>(tensor.error().code);
    const auto give = [out](const auto& exported) {
        if (!exported) return static_cast<int>(exported.error().code);
        *out = *exported;
        return 0;
    };
    if (their_type) return give(ckpt::to_dlpack<DLManagedTensorVersioned>(*tensor, *weights));
    return give(ckpt::to_dlpack(*tensor, *weights));
}

void drop(void* exported) {
    auto* managed = static_cast<DLManagedTensorVersioned*>(exported);
    managed->deleter(managed);
}
"""
CODES = {"lazy_bit": 409, "not_strided": 411, "dtype_mismatch": 405}
NAME = b"dltensor_versioned"


class Producer:
    """What `from_dlpack` asks for: a capsule, once. A capsule that nobody took calls the deleter itself."""

    def __init__(self, library, pointer):
        self.library, self.pointer = library, pointer

    def __dlpack_device__(self):
        return 1, 0

    def __dlpack__(self, **_):
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        pointer, self.pointer = self.pointer, None
        return new(pointer, NAME, None)

    def __del__(self):
        if self.pointer is not None:
            self.library.drop(self.pointer)


def saved_tensors():
    """By dtype and by kind of geometry."""
    generator = torch.Generator().manual_seed(1)
    out = {}
    for name in ("float32 float64 float16 bfloat16 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool complex32 "
                 "complex64 "
                 "complex128 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu "
                 "float4_e2m1fn_x2").split():
        dtype = getattr(torch, name, None)
        if dtype is None:
            continue
        bits = torch.randint(0, 2 if name == "bool" else 256, (6, dtype.itemsize * 4), dtype=torch.uint8,
                             generator=generator)
        out[name] = bits.view(dtype)
    base = torch.arange(60, dtype=torch.float32).reshape(3, 4, 5)
    return out | {"transposed": base.permute(2, 0, 1), "slice": base[1:, ::2, 3], "expanded": base[0, :1].expand(7, 5),
                  "scalar": torch.tensor(5.5), "empty": torch.zeros(0, 3)}


def raw(tensor):
    """The bytes of its values, so that NaNs are compared, too."""
    return (tensor.contiguous().view(torch.uint8).numpy().tobytes() if tensor.dim()
            else tensor.reshape(1).view(torch.uint8).numpy().tobytes())


def main(compiler):
    report = Report()
    with scratch() as folder:
        folder = pathlib.Path(folder)
        headers = "ATen/dlpack.h", "ckpt/dlpack.hpp"
        for title, order in ("before", headers), ("behind", headers[::-1]):
            source, library = folder / f"{title}.cpp", folder / f"{title}.so"
            source.write_text(LIBRARY % order)
            torch_include = pathlib.Path(torch.__file__).parent / "include"
            status, text = run([compiler, "-std=c++20", *STRICT, "-O1", "-fPIC", "-shared", "-I", INCLUDE, "-isystem",
                                torch_include, source, "-o", library])
            if not report.check(f"DLPack's header {title} ours", status == 0, text):
                report.end()
        library = ctypes.CDLL(str(library))
        library.drop.argtypes = [ctypes.c_void_p]
        library.open_and_export.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_bool,
                                            ctypes.POINTER(ctypes.c_void_p)]

        def export(path, key, their_type=False):
            pointer = ctypes.c_void_p()
            code = library.open_and_export(str(path).encode(), key.encode(), their_type, ctypes.byref(pointer))
            return code if code else Producer(library, pointer.value)

        tensors = saved_tensors()
        path = folder / "tensors.pt"
        torch.save(tensors, path)
        for key, expected in tensors.items():
            for their_type in False, True:
                exported = export(path, key, their_type)
                if not report.check(f"{key}: exported", isinstance(exported, Producer), str(exported)):
                    continue
                seen = torch.from_dlpack(exported)
                gc.collect()
                report.check(f"{key}: torch",
                             (seen.dtype, seen.shape) == (expected.dtype, expected.shape)
                             and raw(seen) == raw(expected),
                             f"{seen}\n{expected}")
                report.check(f"{key}: strides", expected.numel() == 0 or seen.stride() == expected.stride(),
                             str(seen.stride()))
            if key not in ("bfloat16", "complex32") and not key.startswith("float8") and not key.startswith("float4"):
                seen = numpy.from_dlpack(export(path, key))
                report.check(f"{key}: NumPy", seen.tobytes() == raw(expected) and seen.shape == tuple(expected.shape),
                             f"{seen}")
                report.check(f"{key}: read-only", seen.size == 0 or not seen.flags.writeable)

        # The file may go: the mapping stays as long as an array does.
        kept = numpy.from_dlpack(export(path, "transposed"))
        path.unlink()
        gc.collect()
        report.check("an array outlives the file's name", kept.tobytes() == raw(tensors["transposed"]))

        refused = folder / "refused.pt"
        torch.save({"conj": tensors["complex64"].conj(), "sparse": torch.eye(3).to_sparse(),
                    "quantised": torch.quantize_per_tensor(torch.ones(3), 0.5, 0, torch.qint8)}, refused)
        for key, why in {"conj": "lazy_bit", "sparse": "not_strided", "quantised": "dtype_mismatch"}.items():
            code = export(refused, key)
            report.check(f"{key}: {why}", code == CODES[why], str(code))
    report.end()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--compiler", default="c++")
    parser.add_argument("--skip-code", type=int, default=0)
    options = parser.parse_args()
    if torch is None:
        print(f"skipped: {absent}\n0 passed, 0 failed")
        sys.exit(options.skip_code)
    main(options.compiler)
