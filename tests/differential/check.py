#!/usr/bin/env python3
"""Generated pickles, as we read them and as Python's unpicklers do: the one in C from memory and from files of two
kinds, the one in Python; pickletools must find opcodes where we do.

    check.py READER [--count N] [--seed N]

READER is tests/differential/reader.cpp. What we read, all of them must read alike; what one of them reads, we must read
too. Differences that are right are in `RIGHT`, each with its reason and a pickle: each must still occur.
"""

import collections
import io
import pickle
import pickletools
import random
import resource
import struct
import sys
import types
import warnings

from asked import FORMER, answers, close, options

MOST_VISITS = 2000  # as in reader.cpp

class Inert:
    """An object of a name that no reader knows: what it was made from."""

    def __new__(cls, *args, **kwargs):
        self = object.__new__(cls)
        self.made = (cls, args, kwargs)
        self.state, self.items = None, []
        return self

    def __init__(self, *args, **kwargs):
        pass

    def __call__(self, *args, **kwargs):
        made = Inert()
        made.made = (self, args, kwargs)
        return made

    def __setstate__(self, state):
        self.state = (state,)

    def append(self, element):
        self.items.append(element)

    def extend(self, elements):
        self.items.extend(elements)

    def __setitem__(self, key, value):
        self.items.extend((key, value))


def kept(module, name):
    return type(name, (Inert,), {"called": module + "." + name})


KNOWN = {("builtins", n): getattr(__import__("builtins"), n)
         for n in ("set", "frozenset", "bytearray", "bytes", "complex")}
KNOWN |= {("collections", n): getattr(collections, n) for n in ("OrderedDict", "Counter", "defaultdict")}
KNOWN |= {("_codecs", "encode"): __import__("_codecs").encode}
OTHERS = {("m", n): kept("m", n) for n in ("A", "B")}
NAMES = {value: key for key, value in (KNOWN | OTHERS).items()}


class Persistent:
    pass


UNLISTED = "a name that is not listed"
seen = set()  # the names that the reader has looked up


def only_known(event, arguments):
    if event == "pickle.find_class":
        seen.add(".".join(arguments))
        if arguments not in KNOWN | OTHERS:
            raise pickle.UnpicklingError(UNLISTED)


def reader_of(base):
    class Reader(base):
        def find_class(self, module, name):
            only_known("pickle.find_class", (module, name))
            return (KNOWN | OTHERS)[module, name]

        def persistent_load(self, key):
            return Persistent()

    return Reader


C, PURE = reader_of(pickle.Unpickler), reader_of(pickle._Unpickler)


class Unbuffered:
    """A file without `peek`, so that nothing is read ahead."""

    def __init__(self, data):
        self.file = io.BytesIO(data)
        self.read, self.readline = self.file.read, self.file.readline


# Only pickle.loads reads from memory, and it imports what a pickle names: the hook lets it find the listed names only.
sys.addaudithook(only_known)
sys.modules["m"] = types.SimpleNamespace(**{name: kind for (_, name), kind in OTHERS.items()})
# The one of bytearray is only printed.
sys.excepthook = lambda kind, e, trace: None if kind is SystemError else sys.__excepthook__(kind, e, trace)
READERS = {
    "C, memory": lambda p: pickle.loads(p, encoding="utf-8"),
    "C, buffered file": lambda p: C(io.BufferedReader(io.BytesIO(p), 8), encoding="utf-8").load(),
    "C, file": lambda p: C(Unbuffered(p), encoding="utf-8").load(),
    "Python": lambda p: PURE(io.BytesIO(p), encoding="utf-8").load(),
}


class Text:
    """A value as text: reader.cpp writes the same."""

    def __init__(self):
        self.visits, self.path = 0, []

    def write(self, v):
        out = self.text(v)
        return "big" if self.visits > MOST_VISITS else out

    def text(self, v):
        self.visits += 1
        if self.visits > MOST_VISITS:
            return ""
        if any(v is p for p in self.path):
            return "..."
        self.path.append(v)
        out = self.of_kind(v)
        self.path.pop()
        return out

    def all(self, values):
        return ",".join([self.text(v) for v in values])

    def entries(self, d):
        return "{" + ",".join([self.text(k) + ":" + self.text(v) for k, v in d.items()]) + "}"

    @staticmethod
    def real(v):
        return "f" + struct.pack(">d", v).hex()

    def of_kind(self, v):
        kind = type(v)
        if v is None:
            return "N"
        if kind is bool:
            return "FT"[v]
        if kind is int:
            if -(2**63) <= v < 2**63:
                return f"i{v}"
            return "l" + v.to_bytes((v + (v < 0)).bit_length() // 8 + 1, "little", signed=True).hex()
        if kind is float:
            return self.real(v)
        if kind is complex:
            return "c" + self.real(v.real) + self.real(v.imag)
        if kind is str:
            return "s" + v.encode("utf-8", "surrogatepass").hex()
        if kind in (bytes, bytearray):
            return ("y" if kind is bytearray else "b") + v.hex()
        if kind is tuple:
            return "(" + self.all(v) + ")"
        if kind is list:
            return "[" + self.all(v) + "]"
        if kind in (set, frozenset):
            return ("z<" if kind is frozenset else "<") + ",".join(sorted([self.text(e) for e in v])) + ">"
        if kind is dict:
            return self.entries(v)
        if kind in (collections.OrderedDict, collections.Counter, collections.defaultdict):
            return "gcollections." + kind.__name__ + self.entries(v)
        if isinstance(v, Persistent):
            return "?"
        if isinstance(v, Inert):
            cls, args, kwargs = v.made
            out = "o" + self.text(cls) + self.text(args)
            out += self.entries(kwargs) if kwargs else ""
            out += "!" + self.text(v.state[0]) if v.state is not None else ""
            return out + "+" + self.all(v.items)
        return "g" + ".".join(NAMES[v])


def python_says(p, names=None):
    """What each reader says of a pickle; where one looks up a name that is not among `names`, that."""
    out = {}
    for name, read in READERS.items():
        seen.clear()
        try:
            out[name] = "ok " + Text().write(read(p))
        except (RecursionError, MemoryError):
            out[name] = "deep"
        except pickle.UnpicklingError as e:
            # Only a reader with a method for them reads persistent ids.
            out[name] = "unknown ?" if "no persistent_load" in str(e) else f"error {e}"
        except Exception as e:  # whatever a hostile pickle makes Python raise
            out[name] = "error " + type(e).__name__ + ": " + str(e)[:100]
        if names is not None and not seen <= names:
            out[name] = f"hidden {seen - names}"
    try:
        collections.deque(pickletools.genops(p), 0)
        out["pickletools"] = "parsed ?"  # it makes no values
    except Exception as e:
        out["pickletools"] = "error " + type(e).__name__ + ": " + str(e)[:100]
    return out


# Our code and detail (their beginnings), why we are right to refuse what a reader of Python reads, and a pickle.
RIGHT = [
    ("pickle_opcode a frame", "Python's readers see other opcodes where frames lie", b"\x95\x01\0\0\0\0\0\0\0K\x01."),
    ("pickle_opcode STOP before", "the same", b"\x95\x03\0\0\0\0\0\0\0N.N"),
    ("pickle_target BUILD", "no state of a file's goes to plain values; objects have one state", b"}Nb."),
    ("pickle_target items set", "a list by position, or nothing at all, is no dictionary", b"]K\x00aK\x00K\x01s."),
    ("pickle_target an element", "nothing appended to no list; elements of a called set", b"N(e."),
    ("pickle_target the arguments", "the reader in Python takes any sequence, the one in C a tuple", b"cm\nA\n]R."),
    ("pickle_target the keyword", "the reader in Python takes any mapping",
     b"cm\nA\n)ccollections\nOrderedDict\n)R\x92."),
    ("pickle_text", "a number with spaces, underscores, leading zeros or another base; readers differ", b"I007\n."),
    ("unhashable_key", "no dictionary takes such a key; an object of an unknown class might", b"cm\nA\n)R]Ns."),
    ("pickle_truncated", "the reader in Python takes a frame that is longer than the pickle",
     b"\x95\x03\0\0\0\0\0\0\0N."),
]
# Of values that we read: why Python's readers refuse them.
ACCEPTED = [
    (lambda p, says: "UnicodeDecodeError" in says, "a str of Python 2 may have any bytes", b"U\x01\xff."),
    (lambda p, says: "string argument without an encoding" in says, "bytes of a str of Python 2",
     b"(cbuiltins\nbytes\nU\x01ao."),
    (lambda p, says: "must be a type" in says or "not a type" in says,
     "a call may make a class: of an unknown name nobody knows", b"cm\nA\n)R)\x81."),
]


def number(n, size):
    return n.to_bytes(size, "little")


def text(s):
    return b"X" + number(len(s), 4) + s


class Generator:
    """Pickles of a stack machine that mostly knows what lies on its stack, and sometimes does not care."""

    LEAVES = [
        b"N", b"\x88", b"\x89", b"I00\n", b"I01\n", b"K\x00", b"K\x01", b"K\x02", b"M\x00\x01", b"J\xff\xff\xff\xff",
        b"I1\n", b"I-1\n", b"I+1\n", b"I-0\n", b"I007\n", b"I 1\n", b"L1L\n", b"L+1L\n", b"L18446744073709551616L\n",
        b"\x8a\x00", b"\x8a\x01\xff", b"\x8a\x09\0\0\0\0\0\0\0\0\x01", b"G\x3f\xf0\0\0\0\0\0\0",
        b"G\x43\xf0\0\0\0\0\0\0", b"G\0\0\0\0\0\0\0\0", b"G\x80\0\0\0\0\0\0\0", b"F1.0\n", b"F1e3\n", b"Va\n",
        b"V\\u00e9\n", b"V\\ud800\n", b"X\x01\0\0\0a", b"\x8c\x01b", b"X\x03\0\0\0\xed\xa0\x80", b"U\x01a", b"S'a'\n",
        b"S'\\x41'\n", b"U\x01\xff", b"T\x02\0\0\0ab", b"C\x01a", b"B\x02\0\0\0ab", b"\x96\x01\0\0\0\0\0\0\0a", b")",
        b"]", b"}", b"\x8f", b"(\x91", b"P1\n", b"P\xc3\xa9\n",
    ]  # fmt: skip
    CALLS = [
        b"cbuiltins\nset\n", b"cbuiltins\nfrozenset\n", b"cbuiltins\nbytearray\n", b"cbuiltins\nbytes\n",
        b"cbuiltins\ncomplex\n", b"ccollections\nOrderedDict\n", b"ccollections\nCounter\n",
        b"ccollections\ndefaultdict\n", b"c_codecs\nencode\n", b"cm\nA\n", b"cm\nB\n", b"\x8c\x01m\x8c\x01A\x93",
    ]  # fmt: skip
    OPCODES = [bytes([b]) for b in b"(0122abdelostu\x81\x85\x86\x87\x90\x91\x92R\x94."]

    def __init__(self, seed):
        self.random = random.Random(seed)

    def value(self, depth):
        r = self.random.random()
        if depth == 0 or r < 0.45:
            return self.random.choice(self.LEAVES)
        some = lambda n: b"".join([self.value(depth - 1) for _ in range(self.random.randrange(n))])
        key = lambda: self.value(1)
        if r < 0.50:
            return b"h" + bytes([self.random.randrange(4)])
        if r < 0.54:
            return self.value(depth - 1) + b"q" + bytes([self.random.randrange(4)])
        if r < 0.58:
            return b"(" + some(4) + b"t"
        if r < 0.62:
            return self.random.choice([b"](" + some(4) + b"e", b"(" + some(4) + b"l"])
        if r < 0.70:
            pairs = b"".join([key() + self.value(depth - 1) for _ in range(self.random.randrange(4))])
            return self.random.choice([b"}(" + pairs + b"u", b"(" + pairs + b"d",
                                       b"}" + key() + self.value(depth - 1) + b"s"])
        if r < 0.76:
            elements = b"".join([key() for _ in range(self.random.randrange(4))])
            return self.random.choice([b"\x8f(" + elements + b"\x90", b"(" + elements + b"\x91"])
        if r < 0.80:
            return self.value(depth - 1) + self.random.choice([b"\x85", self.value(depth - 1) + b"\x86"])
        if r < 0.92:
            made = (self.random.choice(self.CALLS) +
                    self.random.choice([b")", self.value(depth - 1) + b"\x85", b"(" + some(3) + b"t"]))
            made += self.random.choice([b"R", b"R", b"\x81", b"}\x92", b"}" + text(b"k") + b"N" + b"s\x92", b"R)R"])
            r = self.random.random()
            if r < 0.2:
                made += self.value(1) + b"b"
            elif r < 0.4:
                made += key() + self.value(1) + b"s"
            elif r < 0.5:
                made += self.value(1) + b"a"
            return made
        if r < 0.95:
            return self.random.choice([b"(" + self.random.choice(self.CALLS) + some(3) + b"o",
                                       b"(" + some(3) + b"im\nA\n", b"(" + some(2) + b"ibuiltins\nset\n"])
        if r < 0.98:
            # A list that is read by a call and grows
            return b"]q\x09K\x01a" + self.random.choice(self.CALLS[:7]) + b"h\x09\x85R0h\x09K\x02a"
        body = self.value(depth - 1)
        length = len(body) + (self.random.randrange(-2, 3) if self.random.random() < 0.3 else 0)
        return b"\x95" + number(max(0, length), 8) + body

    def pickle(self):
        out = self.value(4) + b"."
        if self.random.random() < 0.3:  # opcodes anywhere
            for _ in range(self.random.randrange(1, 4)):
                at = self.random.randrange(len(out) + 1)
                kind = self.random.random()
                if kind < 0.5:
                    out = out[:at] + self.random.choice(self.OPCODES) + out[at:]
                elif kind < 0.7:
                    out = out[:at] + out[at + 1 :]
                else:
                    out = out[:at] + self.random.choice(self.LEAVES) + out[at:]
        if self.random.random() < 0.2:
            out = b"\x80" + bytes([self.random.randrange(6)]) + out
        if self.random.random() < 0.1:
            out = b"\x95" + number(len(out), 8) + out
        return out


def ours(reader, pickles):
    for p, line in zip(pickles, answers(reader, pickles)):
        names = None
        if line.startswith("ok "):
            _, names, value = line.split(" ", 2)
            names = {bytes.fromhex(n).decode() for n in names.split(",")[1:]}
            line = "ok " + value
        yield p, line, python_says(p, names)


def judge(p, we, python):
    """None where the readings agree, the number of the listed reason, or what differs."""
    if "deep" in python.values() or "ok big" in (we, *python.values()):
        return None
    read = {name: says for name, says in python.items() if says.startswith("ok ")}
    if we.startswith("error "):
        if not read:
            return None
        for i, (detail, _, _) in enumerate(RIGHT):
            if we.startswith("error " + detail):
                return i
        return f"we refuse, {', '.join(read)} read"
    if "?" in we:  # a value refused at its place
        return None
    for name, says in python.items():
        if says == we or UNLISTED in says or (not says.startswith("error ") and "?" in says):
            continue
        for i, (known, _, _) in enumerate(ACCEPTED):
            if says.startswith("error ") and known(p, says):
                return len(RIGHT) + i
        return f"{name} differs"
    return None


def main():
    wanted = options(__doc__, 20_000).parse_args()
    warnings.simplefilter("ignore")
    # A memo index of four billion makes the unpickler in C take as many pointers: it fails here instead.
    resource.setrlimit(resource.RLIMIT_AS, (640 << 20, FORMER[1]))
    generator = Generator(wanted.seed)
    counts = collections.Counter()
    differences = 0
    listed = RIGHT + ACCEPTED
    samples = [(i, row[2]) for i, row in enumerate(listed) if row[2]]
    for (i, _), (p, we, python) in zip(samples, ours(wanted.reader, [p for _, p in samples])):
        found = judge(p, we, python)
        if found != i:
            differences += 1
            print(f"{p!r} does not differ any more as listed ({listed[i][1]}): {we}, {found}")
    for begin in range(0, wanted.count, 5_000):
        pickles = [generator.pickle() for _ in range(min(5_000, wanted.count - begin))]
        for p, we, python in ours(wanted.reader, pickles):
            counts["read by us" if we.startswith("ok ") else "refused by us"] += 1
            found = judge(p, we, python)
            if isinstance(found, int):
                counts[listed[found][1]] += 1
            elif found:
                differences += 1
                if differences <= wanted.most_shown:
                    print(f"{p!r}: {found}\n  we: {we[:300]}")
                    for name, says in python.items():
                        print(f"  {name}: {says[:300]}")
    return close(wanted, "pickles", counts, differences)


if __name__ == "__main__":
    sys.exit(main())
