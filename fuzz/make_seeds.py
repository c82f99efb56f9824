#!/usr/bin/env python3
"""make_seeds.py [CORPUS]: writes the seeds of the targets pickle, safetensors, open, key_rules, legacy and tar.

Pickles: values of every kind in all six protocols, one use of every opcode, the pickles of small files in tests/data.
Headers for `safetensors`: one byte for the number of bytes of data before them. Files for `open`: one byte of flags
before the bytes (see fuzz/open.cpp); 0: as it is, 1: the rest is a pickle. Standard library only; the same bytes every
time for one version of Python.
"""
import collections
import io
import json
import pathlib
import pickle
import pickletools
import struct
import sys
import tarfile
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
DATA = HERE.parent / "tests" / "data"
LARGEST = 6000

cycle = []
cycle.append(cycle)
ring = {}
ring["self"] = ring
knot = ([],)
knot[0].append(knot)
shared = (1, 2)
VALUES = {
    "constants": [None, True, False, 0, 1, 255, 256, 65535, 65536, -1, 2**31 - 1, -(2**31), 2**63, -(2**63), 2**80, 0.0,
                  -1.5, float("inf")],
    "text": ["", "a", "\u00e9\u20ac\U0001f600", "a\nb\\", "x" * 300, b"", b"\x00\xff", b"y" * 300, bytearray(b"z")],
    "containers": [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [1], {}, {"a": 1, 2: {3: 4}}, {1, 2}, frozenset([1])],
    "dictionaries": [collections.OrderedDict(a=1), collections.Counter("aab"), collections.defaultdict(list, {1: [2]})],
    "numbers": [complex(1, 2), range(3), slice(1, 2, 3), Ellipsis],
    "cycles": [cycle, ring, knot],
    "shared": [shared, shared, [shared]],
    "keys": {1: "a", "b": 2, (1, "c"): 3, None: 4, 2.5: 5, b"d": 6},
}


def text(opcode, argument):
    return opcode + argument + b"\n"


T = (b"ctorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\n"
     b"X\1\0\0\0000X\3\0\0\0cpuK\4tQK\0K\2K\2\x86K\2K\1\x86\x89ccollections\nOrderedDict\n)RtR")
OPCODES = {
    "text": b"(lp0\n" + b"".join(o + b"a" for o in (
        text(b"I", b"01"), text(b"I", b"-7"), text(b"L", b"123456789012345678901234567890L"), text(b"F", b"1.5e3"),
        text(b"S", rb"'a\x41\n'"), text(b"V", rb"\u20ac"), text(b"g", b"0"), b"(dI1\nI2\ns", b"(I1\nt")) + b".",
    "inst_and_obj": b"(ic\nd\n)b(cc\nd\nK\1ob.".replace(b"ic\nd\n)b", b"ic\nd\n0"),
    "persid": text(b"P", b"('storage', <class 'torch.FloatStorage'>, '0', 'cpu', 4)") + b".",
    "python2": b"T\1\0\0\0aU\1b\x86.",
    "tensor": b"\x80\2" + T + b".",
    "state_dict": b"\x80\2}X\6\0\0\0weight" + T + b"s.",
    "pop_mark": b"\x80\2]q\0(h\0K\1\x861h\0.",
    "memo": b"\x80\2]r\0\1\0\0j\0\1\0\0a0N2\x86.",
    "new_objects": b"\x80\4\x8c\1m\x8c\1n\x93)}\x92}b\x8c\1m\x8c\1n\x93)\x81\x86.",
    "extension": b"\x80\2\x82\1.",
    "buffers": b"\x80\5\x97\x98.",
    "large": b"\x8b\2\0\0\0\1\2\x8e" + struct.pack("<Q", 1) + b"a\x96" + struct.pack("<Q", 1) + b"b\x8d" +
             struct.pack("<Q", 1) + b"c\x87.",
    "attack": b"cos\nsystem\n(S'x'\ntR.",
    "numpy": b"\x80\2cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\n"
             b"X\2\0\0\0f8\x89\x88\x87R(K\3X\1\0\0\0<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tbc_codecs\nencode\n"
             b"X\10\0\0\0abcdefghX\6\0\0\0latin1\x86R\x86R.",
}


def pickles():
    for name, value in VALUES.items():
        for protocol in range(6):
            yield f"{name}_{protocol}", pickle.dumps(value, protocol)
    for name, data in OPCODES.items():
        yield f"opcodes_{name}", data
    yield "tensors_2", tensors(False)
    yield "tensors_memoize_2", tensors(True)


def tensors(memoize):
    """Tensors as torch.save writes them, which are made while the pickle is read: of ranks 0 to 5, and a tied one. The
    last bytes of a pickle are read opcode by opcode, so that others follow."""
    out, entries = b"\x80\2}", 0

    def put(value):
        nonlocal out, entries
        out += value + (b"\x94" if memoize else b"q" + bytes([entries]))
        entries += 1
        return b"h" + bytes([entries - 1])

    def text(t):
        return b"X" + struct.pack("<I", len(t)) + t.encode()

    def numbers(of):
        nonlocal out
        if not of:
            out += b")"
            return
        body = b"".join(b"K" + bytes([n]) for n in of)
        put(body + bytes([0x84 + len(of)]) if len(of) < 4 else b"(" + body + b"t")

    put(b"")
    out += b"(" + text("forms") + b"("
    rebuild, tag, kind, place, empty = [put(value) for value in (
        b"ctorch._utils\n_rebuild_tensor_v2\n", text("storage"), b"ctorch\nFloatStorage\n", text("cpu"),
        b"ccollections\nOrderedDict\n")]
    out += b"t"
    known = {}
    for i, (key, count, sizes, steps) in enumerate([
            ("0", 4, [4], [1]), ("1", 8, [2, 4], [4, 1]), ("0", 4, [2], [2]), ("2", 16, [], []),
            ("2", 16, [2, 2, 2], [4, 2, 1]), ("3", 32, [2, 2, 2, 2], [8, 4, 2, 1]), ("3", 32, [1] * 5, [1] * 5)]):
        put(text(f"key.{i}"))
        out += rebuild + b"((" + tag + kind
        if key in known:
            out += known[key]
        else:
            known[key] = put(text(key))
        put(place + b"K" + bytes([count]) + b"t")
        out += b"QK\0"
        numbers(sizes)
        numbers(steps)
        put(b"\x89" + empty + b")R")
        put(b"t")
        put(b"R")
    return out + text("end") + text("." * 150) + b"u."


def files():
    """Small zip checkpoints of tests/data."""
    for path in sorted(DATA.rglob("*.pt")):
        if (path.stat().st_size <= LARGEST and path.parent.name in ("torch-2.13", "rezipped")
            and zipfile.is_zipfile(path)):
            yield f"{path.parent.name}_{path.stem}", path


def streams():
    """Files of torch that are no archives, plain pickles, and two checkpoints in one file."""
    for path in sorted([*DATA.rglob("*.pt"), *DATA.rglob("*.pkl")]):
        if (path.parent.name in ("torch-2.13", "torch-old") and path.stat().st_size <= LARGEST
            and (path.stem.startswith("legacy") or path.stem.startswith("plain"))):
            yield f"{path.parent.name}_{path.stem}", path.read_bytes()


def tars():
    """Checkpoints of torch 0.1, and archives in every form that Python's tarfile writes."""
    for path in sorted((DATA / "torch-old").glob("tar_*.pt")):
        yield path.stem, path.read_bytes()
    for name, form in ("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as archive:
            for member in ("a", "folder/" + 60 * "n",
                           130 * "m" if form != tarfile.USTAR_FORMAT else "p" * 80 + "/" + "q" * 60):
                info = tarfile.TarInfo(member)
                info.size = 3
                archive.addfile(info, io.BytesIO(b"abc"))
            link = tarfile.TarInfo("link")
            link.type, link.linkname = tarfile.SYMTYPE, "a"
            archive.addfile(link)
        yield name, out.getvalue()[:5120]


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


HEADERS = {  # bytes of data, header
    "empty": (0, {}),
    "metadata": (4, {"__metadata__": {"format": "pt", "note": "\u00e9\n"}, "w": entry("F32", [1], 0, 4)}),
    "several": (44, {"b": entry("F32", [2, 3], 4, 28), "a": entry("I16", [2], 0, 4), "s": entry("F64", [], 28, 36),
                     "e": entry("BF16", [0, 5], 36, 36), "c": entry("C64", [1], 36, 44)}),
    "odd_types": (9, {"f4": entry("F4", [2, 6], 0, 6), "f6": entry("F6_E2M3", [4], 6, 9)}),
    "bytes": (3, {"bool": entry("BOOL", [1], 0, 1), "f8": entry("F8_E4M3", [1], 1, 2), "i8": entry("I8", [1], 2, 3)}),
    "hole": (9, {"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 5, 9)}),
    "overflow": (0, {"a": entry("F64", [1 << 61], 0, 0)}),
    "more": (1, {"a": {**entry("U8", [1], 0, 1), "more": [None, True, -1.5e3, {"x": "y"}]}}),
}

RULES = {  # rules, more keys
    "names": ("strip module.\nadd m.\n?strip wrappers\nrename m.{a}.{i:int} -> {a}.{i+1}.{2*i%3}\n",
              ("module.x.0", "module._orig_mod.y.1")),
    "swap": ("first {\nrename a -> b\nrename b -> a\ndrop c.**\n}\n", ("a", "b", "c.d")),
    "keep": ("keep **.w, {k} where ndim >= 1 and not has(x.{k}) or numel == 2 # comment\n", ("a.w", "b")),
    "copies": ("copy {p:**}.w -> {p}.v\ntie head.w = emb.w\nfill 1.5 float16 (2, 3) new.key\n", ("emb.w",)),
    "split": ("split 0 [1, 2] a -> b, c where shape[0] == 3\nsplit -1 d -> e, f\nmerge 1 f, e -> d\n", ("a", "d")),
    "qkv": ("split 0 qkv(heads=4, kv_heads=2, layout=grouped) {p:**}.qkv -> {p}.q, {p}.k, {p}.v\n"
            "merge 0 qkv(layout=concat, heads=4, kv_heads=2) {p:**}.q, {p:**}.k, {p:**}.v -> {p}.w\n",
            ("l.0.qkv",)),
    "stack": ("stack 0 e.{e:int}.{l:w|b} -> e.{l} by {e}\nunstack 1 e.w -> x.{n} by {n}\n",
              ("e.0.w", "e.1.w", "e.2.w")),
    "views": ("transpose 0 -1 a\npermute (1, 0) b\nreshape (2, -1) a\nunsqueeze 0 a\nsqueeze a\n"
              "squeeze 0 b where shape[0] == 1\nnarrow 0 0 1 b\npad -1 1 2 with -1 a\n",
              ("a", "b")),
    "casts": ("cast float64 ** where dtype == float32\ncast int8 {x} where dtype == bool\ncast float8_e4m3fn \"a b\"\n",
              ("x", "y", "a b")),
    "quotes": ('rename "a, \\"b\\"" -> "\\\\{c\\\\}"\r\n\r\n drop \\*\n', ('a, "b"', "*")),
    "repeats": ("rename {a}.{a} -> {a}\nrename {p:**}.x.{p:**} -> {p}\n", ("s.s", "t.x.t")),
    "fault": ("\n  rename a.{i:int}.b -> c.{j}.b # x\n", ()),
}


def main(corpus):
    for folder in ("pickle", "safetensors", "open", "key_rules", "legacy", "tar"):
        (corpus / folder).mkdir(parents=True, exist_ok=True)
    written = 0
    for name, (size, header) in HEADERS.items():
        text = json.dumps(header).encode()
        (corpus / "safetensors" / name).write_bytes(bytes([size]) + text)
        whole = struct.pack("<Q", len(text)) + text + bytes(range(size))
        (corpus / "open" / f"safetensors_{name}").write_bytes(b"\0" + whole)
        written += 1
    for name, (text, keys) in RULES.items():
        (corpus / "key_rules" / name).write_bytes(text.encode() + b"\0" + "\n".join(keys).encode())
        written += 1
    for folder, seeds in ("legacy", streams()), ("tar", tars()):
        for name, data in seeds:
            (corpus / folder / name).write_bytes(data)
            written += 1
    for name, data in pickles():
        (corpus / "pickle" / f"{name}.pkl").write_bytes(data)
        if name.endswith("_2") or name.startswith("opcodes"):
            (corpus / "open" / f"wrapped_{name}").write_bytes(b"\1" + data)
        written += 1
    for name, path in files():
        try:
            with zipfile.ZipFile(path) as archive:
                data = next((archive.read(n) for n in archive.namelist() if n.endswith("data.pkl")), None)
        except (zipfile.BadZipFile, NotImplementedError):
            data = None
        if data is not None and len(data) <= 2000:
            (corpus / "pickle" / f"{name}.pkl").write_bytes(data)
        (corpus / "open" / name).write_bytes(b"\0" + path.read_bytes())
        written += 1
    seen = {op.name for _, data in pickles() for op, _, _ in ops(data)}
    missing = {op.name for op in pickletools.opcodes} - seen - UNREACHED
    assert not missing, missing
    print(written, "seeds")


UNREACHED = {"EXT2", "EXT4"}


def ops(data):
    try:
        yield from pickletools.genops(data)
    except ValueError:
        return


main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "corpus")
