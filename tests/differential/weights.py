#!/usr/bin/env python3
"""Generated pickles, as we read them under ckpt::weights_policy and as PyTorch's weights-only unpickler does.

    weights.py READER [--count N] [--seed N]

READER is tests/differential/reader.cpp. What both read must be the same value. Differences that are right are in
`RIGHT` (torch reads, we refuse) and `ACCEPTED` (we read, torch refuses or reads otherwise), each with its reason and a
pickle: each must still occur. Exits 77 without PyTorch.
"""

import collections
import io
import re
import sys
import warnings

try:
    import torch._weights_only_unpickler as torch_reader
except ImportError:
    print("PyTorch is not installed: no pickle was compared")
    sys.exit(77)

from asked import answers, close, options
from check import Generator, Text

# Our code and detail (their beginnings), why we are right to refuse what torch reads, and a pickle.
RIGHT = [
    ("pickle_target BUILD", "plain values have no state, and that of a mapping is a dictionary",
     b"cbuiltins\ncomplex\nG?\xf0\0\0\0\0\0\0\x85RNb."),
    ("pickle_not_supported a pickle protocol", "torch reads any protocol's number, Python none beyond 5", b"\x80tN."),
    ("pickle_target the arguments", "torch takes any sequence as arguments, the unpickler in C a tuple",
     b"ccollections\nOrderedDict\n]\x81."),
]
# What torch says, or does not say, why we are right to read, and a pickle.
ACCEPTED = [
    (lambda p, we, torch: "Unsupported operand" in torch,
     "opcodes that torch.save does not write mean what they mean in Python", b"I1\n."),
    (lambda p, we, torch: re.search("(bytes|frozenset|collections.defaultdict) was not an allowed global", torch),
     "bytes, frozenset and defaultdict are plain data", b"cbuiltins\nfrozenset\n)R."),
    (lambda p, we, torch: "UnicodeDecodeError" in torch, "a str of Python 2 may have any bytes", b"U\x01\xff."),
    (lambda p, we, torch: "'NoneType' object is not iterable" in torch,
     "Python takes None as a state of an OrderedDict", b"ccollections\nOrderedDict\n)RNb."),
]


READ = b"]}()0bceljkqrstuhXGNJKMBOQR\x80\x81\x85\x86\x87\x88\x89\x8a"  # the opcodes that torch reads


class OfTorch(Generator):
    """Pickles of these, mostly."""

    LEAVES = [leaf for leaf in Generator.LEAVES if leaf[0] in READ]
    CALLS = [call for call in Generator.CALLS if call[:3] != b"cm\n"]
    OPCODES = [opcode for opcode in Generator.OPCODES if opcode in READ]


def torch_says(p):
    try:
        return "ok " + Text().write(torch_reader.Unpickler(io.BytesIO(p), encoding="utf-8").load())
    except (RecursionError, MemoryError):
        return "deep"
    except KeyError as e:  # of a value that Text does not know, or of the memo
        return f"error KeyError: {e}"
    except Exception as e:  # whatever a hostile pickle makes it raise
        return f"error {type(e).__name__}: {str(e)[:100]}"


def judge(p, we, torch):
    """None where the readings agree, the number of the listed reason, or what differs."""
    if ("deep" in torch or "ok big" in (we, torch) or "?" in we or we == torch
        or (we.startswith("error") and torch.startswith("error"))):
        return None
    listed = RIGHT if we.startswith("error") else ACCEPTED
    for i, (known, _, _) in enumerate(listed):
        if we.startswith("error " + known) if listed is RIGHT else known(p, we, torch):
            return i if listed is RIGHT else len(RIGHT) + i
    return "we refuse, torch reads" if listed is RIGHT else "torch refuses or reads otherwise"


def compared(reader, pickles):
    for p, line in zip(pickles, answers(reader, pickles, "weights")):
        we = "ok " + line.split(" ", 2)[2] if line.startswith("ok ") else line
        yield p, we, torch_says(p)


def main():
    wanted = options(__doc__, 20_000).parse_args()
    warnings.simplefilter("ignore")
    generators = Generator(wanted.seed), OfTorch(wanted.seed)
    counts = collections.Counter()
    differences = 0
    listed = RIGHT + ACCEPTED
    for i, (p, we, torch) in enumerate(compared(wanted.reader, [row[2] for row in listed])):
        if judge(p, we, torch) != i:
            differences += 1
            print(f"{p!r} does not differ any more as listed ({listed[i][1]}): {we}, {torch}")
    for begin in range(0, wanted.count, 5_000):
        pickles = [generators[i % 8 > 0].pickle() for i in range(min(5_000, wanted.count - begin))]
        for p, we, torch in compared(wanted.reader, pickles):
            both = we.startswith("ok") and torch.startswith("ok")
            either = we.startswith("ok") or torch.startswith("ok")
            counts["read by both" if both else "read by one of us" if either else "refused by both"] += 1
            found = judge(p, we, torch)
            if isinstance(found, int):
                counts[listed[found][1]] += 1
            elif found:
                differences += 1
                if differences <= wanted.most_shown:
                    print(f"{p!r}: {found}\n  we: {we[:300]}\n  torch: {torch[:300]}")
    return close(wanted, "pickles", counts, differences)


if __name__ == "__main__":
    sys.exit(main())
