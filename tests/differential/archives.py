#!/usr/bin/env python3
"""Generated archives, as we read them and as Python's zipfile and tarfile do.

    archives.py READER {zips,tars} [--count N] [--seed N]

READER is tests/differential/reader.cpp. What we read, Python must read alike: the same names in the same order, the
same bytes. What Python reads, we read, too, or refuse for a reason of `REFUSED`; each of these must still occur.
"""

import collections
import io
import random
import struct
import sys
import tarfile
import warnings
import zipfile
import zlib

from asked import answers, close, options

ENOUGH = 6_000  # archives among which each reason must occur
# Differences that some versions of Python do not show: 3.11.2 of Debian 12 finds what 3.11.7 does not.
VARIES = " (in some versions of Python)"


# --- zips -------------------------------------------------------------------------------------------------------------

class Unseekable(io.BytesIO):
    """zipfile writes a data descriptor behind each record of such a file."""

    def seekable(self):
        return False

    def tell(self):
        raise OSError

    def seek(self, *_):
        raise OSError


class Zips:
    def __init__(self, seed):
        self.random = random.Random(seed)

    @staticmethod
    def samples():
        return []

    def name(self):
        return self.random.choice(["a", "b", "c", "d", "a/b", "a/", "A", "archive/data.pkl", "archive/data/0",
                                   "archive/version", "é", "日", "a" * 40]
                                  if self.random.random() < 0.95 else ["a\\b", "../a", "/a"])

    def plain(self):
        r = self.random
        to = Unseekable() if r.random() < 0.3 else io.BytesIO()
        with zipfile.ZipFile(to, "w", r.choice([zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as z:
            if r.random() < 0.1:
                z.comment = r.choice([b"x", b"PK\5\6", bytes(30), b"PK\5\6" + bytes(18)])
            for _ in range(r.choice([0, 1, 1, 1, 2, 2, 3, 3, 4])):
                info = zipfile.ZipInfo(self.name())
                info.compress_type = r.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
                if r.random() < 0.2:
                    info.extra = r.choice([b"FB\4\0ZZZZ", b"\1\0\0\0", b"xy\1\0a", b"x", b"\1\0\x08\0" + bytes(8)])
                content = r.choice([b"", b"a", b"\x80\2}.", bytes(20), b"PK\3\4", b"PK\1\2" + bytes(42),
                                    b"PK\5\6" + bytes(18)])
                with z.open(info, "w", force_zip64=r.random() < 0.2) as f:
                    f.write(content if not info.filename.endswith("/") or r.random() < 0.1 else b"")
        return to.getvalue()

    def with_zip64_end(self, out):
        """The end records that torch.save writes, whatever the size."""
        end = len(out) - 22
        if not out.startswith(b"PK\5\6", end):
            return out  # a comment
        count, size, at = struct.unpack_from("<10xHII", out, end)
        record = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, count, count, size, at)
        full = self.random.random() < 0.5
        tail = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xFFFF if full else count, 0xFFFF if full else count,
                           0xFFFFFFFF if full else size, 0xFFFFFFFF if full else at, 0)
        return out[:end] + record + struct.pack("<IIQI", 0x07064B50, 0, end, 1) + tail

    def archive(self):
        r = self.random
        out = self.plain()
        if r.random() < 0.2:
            out = self.with_zip64_end(out)
        if r.random() < 0.35:
            return out
        kind = r.random()
        if kind < 0.6:  # one field of a header, or several
            out = bytearray(out)
            for _ in range(r.choice([1, 1, 1, 2])):
                marks = [i for mark in (b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7", b"PK\7\x08")
                         for i in positions(out, mark)]
                if not marks:
                    return bytes(out)
                at = r.choice(marks) + r.randrange(56)
                if at < len(out):
                    out[at] = r.choice([0, 1, 8, 0xFF, r.randrange(256), out[at] ^ 1 << r.randrange(8),
                                        (out[at] + 1) % 256])
            return bytes(out)
        if kind < 0.7:
            return out[: r.randrange(len(out))]
        if kind < 0.8:
            return out + r.choice([b"x", out, bytes(30), b"PK\5\6" + bytes(18), out[-22:]])
        if kind < 0.88:
            return r.choice([b"x", b"PK", bytes(64), out]) + out
        a, b = r.randrange(len(out)), r.randrange(len(out))
        return out[: min(a, b)] + r.choice([b"", b"x", out[min(a, b) : max(a, b)] * 2]) + out[max(a, b) :]

    @staticmethod
    def python(data):
        with zipfile.ZipFile(io.BytesIO(data)) as z:
            out = "ok"
            for info in z.infolist():
                name = info.orig_filename
                raw = name.encode("utf-8" if info.flag_bits & 0x800 else "cp437")
                out += " " + raw.hex()
                if raw.endswith(b"/"):
                    out += Zips.of_folder(z, info)
                else:
                    out += "=" + z.read(info).hex()
            return out

    @staticmethod
    def of_folder(z, info):
        try:
            return "=full" if z.read(info) else ""
        except Exception:
            return "=broken"

    # Our code and detail (their beginnings), and why we are right to refuse what zipfile reads.
    REFUSED = [
        ("zip_prefix", "Z11: bytes before the archive; zipfile shifts all offsets by them"),
        ("zip_header_mismatch", "Z2: a local header that disagrees with the directory; zipfile compares the name only"),
        ("zip_overlap", "Z4: records that overlap; zipfile looks at some only" + VARIES),
        ("zip_duplicate_name", "Z3: two records of one name"),
        ("zip_bounds", "Z1: a place outside the file, of something that zipfile does not need"),
        ("zip_count_mismatch", "Z6: the directory is not what the end record says"),
        ("zip_ambiguous_end", "Z12: two end records that may be meant, or what disagrees in them"),
        ("zip_truncated", "Z12: bytes behind the end record, or none"),
        ("zip64_invalid", "Z7: ZIP64 fields that are short, absent, doubled or disagree"),
        ("zip_encrypted", "Z5: encrypted, by a flag that zipfile does not look at"),
        ("zip_multi_disk", "Z5: patched or on several disks, by fields that zipfile does not look at"),
        ("zip_name_invalid",
         "Z9: a name that is empty or absolute, leaves the archive, has a NUL or a backslash, or is not UTF-8"),
        ("checksum_mismatch", "Z10"),
        ("limit",
         "R1: a deflated record that declares more bytes than its data can become; zipfile does not look at them"),
    ]
    # Of archives that we read: why Python refuses them, or reads them otherwise.
    ACCEPTED = [
        (lambda data, we, python: python.startswith("ok") and we == python.replace("=full", "").replace("=broken", ""),
         "an entry for a folder is not read, whatever is said of it"),
        (lambda data, we, python: "not a zip file" in python and data.count(b"PK\5\6") > 1,
         "zipfile takes the last signature for the end record, in a comment, too"),
        (lambda data, we, python: "zip file version" in python,
         "zipfile asks for the version that a record needs; methods and flags tell it"),
    ]


def positions(data, mark):
    at = data.find(mark)
    while at >= 0:
        yield at
        at = data.find(mark, at + 1)


# --- tars -------------------------------------------------------------------------------------------------------------

# Modes, owners, times and devices.
UNNEEDED_FIELDS = ((100, 108), (108, 116), (116, 124), (136, 148), (329, 337), (337, 345))


class Tars:
    def __init__(self, seed):
        self.random = random.Random(seed)

    @staticmethod
    def samples():
        """What is rarely generated: a global header with a name, and a folder of the old type whose content is not
        there."""
        out = []
        for headers, name, size in (({"path": "x"}, "a", 0), ({}, "a/", 513)):
            to = io.BytesIO()
            with tarfile.open(fileobj=to, mode="w", format=tarfile.PAX_FORMAT, pax_headers=headers) as t:
                info = tarfile.TarInfo(name)
                info.type, info.size = tarfile.AREGTYPE, size
                t.addfile(info, io.BytesIO(bytes(size)))
            out.append(to.getvalue()[: None if not size else 512])
        return out

    def name(self):
        return self.random.choice(["a", "b", "a/b", "a/", "pickle", "storages", "./a", "é", "x" * 99, "x" * 100,
                                   "y" * 101, "d/" * 60 + "e", "../a", "/a"])

    def archive(self):
        r = self.random
        to = io.BytesIO()
        form = r.choice([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
        with tarfile.open(fileobj=to, mode="w", format=form) as t:
            for _ in range(r.randrange(1, 4)):
                info = tarfile.TarInfo(self.name())
                info.type = r.choice([tarfile.REGTYPE] * 6 + [tarfile.AREGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE,
                                                              tarfile.LNKTYPE, tarfile.CONTTYPE, tarfile.FIFOTYPE])
                content = r.choice([b"", b"a", b"\x80\2}.", bytes(512), b"x" * 513, b"ustar"])
                info.size = len(content) if info.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE) else 0
                if info.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                    info.linkname = "a"
                if form == tarfile.PAX_FORMAT and r.random() < 0.3:
                    info.pax_headers = r.choice([{"path": "p"}, {"size": "1"}, {"size": str(info.size)},
                                                 {"comment": "c"}, {"path": "é"}, {"GNU.sparse.major": "1"},
                                                 {"hdrcharset": "BINARY"}, {"size": "-1"}, {"size": "x"}, {"path": ""},
                                                 {"path": "a/"}])
                try:
                    t.addfile(info, io.BytesIO(content))
                except ValueError:  # a name too long for this form
                    pass
        out = to.getvalue()
        if r.random() < 0.3:
            return out[: len(out) // 512 * 512 - 512 * r.randrange(18)] if r.random() < 0.5 else out
        return self.changed(bytearray(out))

    def changed(self, out):
        r = self.random
        kind = r.random()
        if kind < 0.8:  # a field of a header, whose checksum is mended
            blocks = [i for i in range(0, len(out) - 511, 512) if out[i + 257 : i + 262] == b"ustar"]
            if not blocks:
                return bytes(out)
            at = r.choice(blocks)
            offset, size = r.choice([(0, 100), (100, 8), (124, 12), (124, 12), (156, 1), (156, 1), (157, 100), (257, 8),
                                     (345, 155)])
            value = r.choice([bytes(size), b"1" * (size - 1) + b"\0", b"0" * (size - 1) + b" ",
                              b" " * (size - 2) + b"1\0", b"\x80" + bytes(max(0, size - 2)) + b"\1", b"\xff" * size,
                              b"00000077777\0", b"00000000017\0", b"a/b", b"a\0b", b"-1", b"8\0", b"0x1\0", b"1 1\0",
                              b"\x80", b"L", b"K", b"x", b"g", b"S", b"5", b"0", b"7", b"\0", b"D", b"1", b"Z",
                              b"ustar  \0", b"/", r.randbytes(1)])[:size]
            out[at + offset : at + offset + len(value)] = value
            if r.random() < 0.95:
                out[at + 148 : at + 156] = b" " * 8
                out[at + 148 : at + 156] = b"%06o\0 " % sum(out[at : at + 512])
            return bytes(out)
        if kind < 0.9:
            return bytes(out[: r.randrange(len(out))])
        return bytes(out) + r.choice([b"x", bytes(512), bytes(out), bytes(100)])

    @staticmethod
    def python(data):
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:", encoding="utf-8") as t:
            out = "ok"
            for number, member in enumerate(t):
                if number * 512 > len(data):  # a negative size leads back
                    raise RecursionError("more members than the archive has blocks")
                out += " " + member.name.encode("utf-8", "surrogateescape").hex()
                if member.isreg():
                    if member.size > 1 << 26:  # a sparse one is made of nothing, in memory
                        raise MemoryError("a member that is larger than any archive here")
                    content = t.extractfile(member).read()
                    out += "=" + content.hex()
            return out

    REFUSED = [
        ("tar_invalid an extended header that", "T1: an extended header that is malformed, or of a sparse file"),
        ("tar_invalid two extended headers",
         "T1: two names or sizes for one member; programs take the first or the last"),
        ("tar_invalid a global extended header",
         "T1: names and sizes for all members, which programs take differently"),
        ("tar_invalid the archive ends without", "T1: cut between members; tarfile reads those before"),
        ("tar_invalid a size that", "T1: a size that is no number; tarfile ends there, or takes 0"),
        ("tar_invalid a header whose checksum", "T1: tarfile ends at a damaged header"),
        ("tar_invalid a folder with", "T1: a folder with content"),
        ("tar_invalid two members", "T1: two members of one name"),
        ("tar_invalid a member without a name", "T1: a member without a name, or with a NUL in it"),
        ("tar_invalid a member of the type", "T1: a type that no plain archive has; tarfile takes it for a file"),
        ("tar_invalid a member of", "T1: a member behind the end of the file"),
        ("tar_invalid bytes behind", "T1: bytes behind the end, which tarfile ignores"),
    ]
    # tarfile ends at a header with a wrong field that we do not need, and shows the members before it.
    ACCEPTED = [
        (lambda data, we, python: any(not is_number(h[a:b]) for h in headers(data) for a, b in UNNEEDED_FIELDS),
         "modes, owners and times are not looked at; tarfile ends where one is no number"),
        (lambda data, we, python: any(h[257:263] != b"ustar\0" and h[345] for h in headers(data)),
         "only POSIX's headers have a prefix of the name; tarfile takes GNU's times for one"),
        (lambda data, we, python: any(h[156:157] == b"\0" and tarfile.nts(h[:100], "latin1", "strict").endswith("/")
                                      for h in headers(data)),
         "tarfile takes a file of the old type for a folder by its short name, though a longer one follows" + VARIES),
    ]


def headers(data):
    blocks = [data[i : i + 512] for i in range(0, len(data) - 511, 512)]
    return [h for h in blocks if is_number(h[148:156]) and tarfile.nti(h[148:156]) in tarfile.calc_chksums(h)]


def is_number(field):
    try:
        tarfile.nti(field)
        return True
    except tarfile.InvalidHeaderError:
        return False


# --- both -------------------------------------------------------------------------------------------------------------

def members(line):
    """The names and contents of a line. Slashes behind the name of an empty member do not count: folders have them, or
    not."""
    parts = [member.partition("=") for member in line.split(" ")[1:]]
    names = [bytes.fromhex(name) for name, _, _ in parts]
    return [(name if content else name.rstrip(b"/"), content) for name, (_, _, content) in zip(names, parts)]


def python_says(kind, data):
    try:
        return kind.python(data)
    except Exception as e:  # whatever a damaged archive makes Python raise
        return f"error {type(e).__name__}: {str(e)[:100]}"


def judge(kind, data, we, python):
    """None where the readings agree, the reason where they are listed, or what differs."""
    if we.startswith("error "):
        if not python.startswith("ok"):
            return None
        for code, why in kind.REFUSED:
            if we.startswith("error " + code):
                return (code, why)
    elif python.startswith("ok") and members(we) == members(python):
        return None
    for known, why in kind.ACCEPTED:
        if known(data, we, python):
            return ("read otherwise", why)
    return "we refuse, Python reads" if we.startswith("error ") else "Python refuses or reads otherwise"


def main():
    parser = options(__doc__, 6_000)
    parser.add_argument("kind", choices=["zips", "tars"])
    wanted = parser.parse_args()
    warnings.simplefilter("ignore")
    kind = {"zips": Zips, "tars": Tars}[wanted.kind]
    generator = kind(wanted.seed)
    counts, found = collections.Counter(), collections.Counter()
    differences = 0
    for begin in range(0, wanted.count, 2_000):
        inputs = [generator.archive() for _ in range(min(2_000, wanted.count - begin))]
        if begin == 0:
            inputs += kind.samples()
        for data, we in zip(inputs, answers(wanted.reader, inputs, wanted.kind)):
            python = python_says(kind, data)
            counts["read by us" if we.startswith("ok") else "refused by us"] += 1
            is_so = judge(kind, data, we, python)
            if isinstance(is_so, tuple):
                found[is_so] += 1
            elif is_so:
                differences += 1
                if differences <= wanted.most_shown:
                    print(f"{data!r}: {is_so}\n  we: {we[:300]}\n  Python: {python[:300]}")
    for listed in [*kind.REFUSED, *[("read otherwise", why) for _, why in kind.ACCEPTED]]:
        if listed not in found and wanted.count >= ENOUGH and not listed[1].endswith(VARIES):
            differences += 1
            print(f"nothing differs any more as listed: {listed[0]}: {listed[1]}")
    for (what, why), n in sorted(found.items()):
        print(f"{n:9,} {what}: {why}")
    return close(wanted, wanted.kind, counts, differences)


if __name__ == "__main__":
    sys.exit(main())
