#!/usr/bin/env python3
"""check.py [MODE] COMPILER...: every header compiles without a warning, alone, twice, and after macros.

Each header that programs include, by itself, included twice, over the compiled library; the library's own over it
(--internal); every one with all definitions (--header-only); those that include CUDA's, by nvcc (--nvcc). And all
headers at once, with all definitions, without exceptions over the compiled library, and with what the macros of system
headers and frameworks do to common words, defined after the standard headers (which do not survive them) and before
ours.
"""
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import CONSUMER, DEVICE_HEADERS, HEADERS, INCLUDE, STRICT, Report, os_leaf, run_all, scratch, spelled

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
    return re.search(r"^\s*#\s*include <(?:cuda|ckpt/gpu/cuda_api)", header.read_text(), re.M) is not None


def included_by(headers):
    """What the headers and their definitions include."""
    for header in headers:
        for file in (header, header.parent / "impl" / (header.stem + ".ipp")):
            if file.is_file():
                yield from re.findall(r"^\s*#\s*include <([a-z_./0-9]+)>", file.read_text(), re.M)


def main(*arguments):
    mode, compiler = (arguments[0], arguments[1:]) if arguments[0].startswith("--") else ("", arguments)
    here = [h for h in HEADERS + DEVICE_HEADERS if not os_leaf(h, sys.platform)]
    headers = [h for h in here if needs_cuda(h) == (mode == "--nvcc")]
    alone = headers
    if mode in ("", "--internal"):
        alone = [h for h in headers
                 if (spelled(h.with_suffix("")).removeprefix("ckpt/") in CONSUMER) == (mode != "--internal")]
    compiled = "-DCKPT_COMPILED"
    if mode == "--nvcc":
        base = [*compiler, "-std=c++20", "-x", "cu", "-Werror", "all-warnings", "-I", INCLUDE, "-c", "-o", "/dev/null"]
    else:
        base = [*compiler, "-std=c++20", *STRICT, "-I", INCLUDE, "-fsyntax-only"]
    jobs = {}
    for name in map(spelled, alone):
        options = [] if mode == "--header-only" else [compiled]
        jobs[f"{name}, alone and twice"] = (f"#include <{name}>\n#include <{name}>\n", options)
    everything = "".join(f"#include <{spelled(h)}>\n" for h in headers)
    if mode in ("", "--nvcc"):
        std = sorted(name for name in set(included_by(here)) if not name.startswith("ckpt/")
                     and (mode == "--nvcc" or not name.startswith("cuda")))
        prelude = "".join(f"#include <{name}>\n" for name in std)
        jobs["all headers, after hostile macros"] = (prelude + HOSTILE + everything, [])
    if not mode:
        jobs["all headers, without exceptions"] = (everything, [compiled, "-fno-exceptions", "-fno-rtti"])
    report = Report()
    with scratch() as folder:
        commands = {}
        for title, (text, options) in jobs.items():
            source = pathlib.Path(folder) / f"{len(commands)}.cpp"
            source.write_text(text)
            commands[title] = [*base, *options, source]
        for title, status, output in run_all(commands):
            report.check(title, status == 0, "\n".join(output.splitlines()[:12]))
    report.end()


main(*sys.argv[1:])
