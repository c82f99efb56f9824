#!/usr/bin/env python3
"""check.py [--nvcc] COMPILER...: every public header compiles without a warning, alone, twice, and after hostile macros.

Each header by itself, included twice. And those that no other header includes, which bring all others with them, with what
the macros of system headers and frameworks do to common words, defined after the standard headers (which do not survive
them) and before ours. With --nvcc, the headers that include CUDA's.
"""
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import DEVICE_HEADERS, HEADERS, INCLUDE, STRICT, Report, os_leaf, run_all, scratch, spelled

HOSTILE = """
// what argument-dependent lookup would find in std beside ours
#include <complex>
#include <functional>
#include <iomanip>
#include <memory>
// <windows.h> and the headers below it
#define min(a, b) (((a) < (b)) ? (a) : (b))
#define max(a, b) (((a) > (b)) ? (a) : (b))
#define near
#define far
#define small char
#define interface struct
#define ERROR 0
#define NO_ERROR 0
#define DELETE (0x00010000L)
#define STRICT 1
#define IN
#define OUT
#define OPTIONAL
#define CONST const
#define VOID void
#define TRUE 1
#define FALSE 0
#define IGNORE 0
#define INFINITE 0xFFFFFFFF
#define GetMessage GetMessageA
#define CreateFile CreateFileA
#define GetObject GetObjectA
// <complex.h>, <termios.h>, <sys/sysmacros.h>, <sys/param.h>, compilers
#define I hostile macro I
#define B0 0000000
#define ECHO 0000010
#define major(x) hostile macro major
#define minor(x) hostile macro minor
#define NBBY 8
#define linux 1
#define unix 1
// <X11/Xlib.h>
#define None 0L
#define Bool int
#define Status int
#define Success 0
#define True 1
#define False 0
#define Always 2
// frameworks
#define CHECK(x) hostile macro CHECK
#define LOG(x) hostile macro LOG
#define DEBUG 1
#define NDEBUG 1
"""


def needs_cuda(header):
    return re.search(r"^\s*#\s*include <cuda", header.read_text(), re.M) is not None


def main(compiler):
    with_nvcc = compiler[0] == "--nvcc"
    headers = [h for h in HEADERS + DEVICE_HEADERS if not os_leaf(h, sys.platform)]
    std = sorted({name for header in headers
                  for name in re.findall(r"^\s*#\s*include <([a-z_./0-9]+)>", header.read_text(), re.M)
                  if not name.startswith("ckpt/") and (with_nvcc or not name.startswith("cuda"))})
    prelude = "".join(f"#include <{name}>\n" for name in std)
    inner = {name for header in HEADERS + DEVICE_HEADERS
             for name in re.findall(r"^\s*#\s*include <(ckpt/[^>]+)>", header.read_text(), re.M)}
    if with_nvcc:
        command = [compiler[1], "-std=c++20", "-x", "cu", "-Werror", "all-warnings", "-I", INCLUDE, "-c", "-o", "/dev/null"]
    else:
        command = [*compiler, "-std=c++20", *STRICT, "-I", INCLUDE, "-fsyntax-only"]
    report, jobs = Report(), {}
    with scratch() as folder:
        for header in headers:
            if needs_cuda(header) != with_nvcc:
                continue
            name = spelled(header)
            texts = {f"{name}, alone and twice": f"#include <{name}>\n#include <{name}>\n"}
            if name not in inner:
                texts[f"{name}, after hostile macros"] = f"{prelude}{HOSTILE}#include <{name}>\n"
            for title, text in texts.items():
                source = pathlib.Path(folder) / f"{len(jobs)}.cpp"
                source.write_text(text)
                jobs[title] = [*command, source]
        for title, status, output in run_all(jobs):
            report.check(title, status == 0, "\n".join(output.splitlines()[:12]))
    report.end()


main(sys.argv[1:])
