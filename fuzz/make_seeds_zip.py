#!/usr/bin/env python3
"""make_seeds_zip.py [FOLDER]: writes the seeds of the target zip, small archives of each kind of writer.

Standard library only; the same bytes every time.
"""
import io
import pathlib
import struct
import sys
import zipfile
import zlib


def torch_zip(members, alignment=64, crc=True, comment=b"", junk=b"", end64=True, local_extra=b"", central_extra=b""):
    """As torch.save writes: zeros in local headers, descriptors, padding, a ZIP64 end record."""
    body, directory = b"", b""
    for name, data in members:
        name, offset, flags = name.encode(), len(body), 0x0808 if data else 0x0800
        check = zlib.crc32(data) if crc else 0
        pad = -(offset + 30 + len(name) + len(local_extra) + 4) % alignment
        extra = local_extra + struct.pack("<2sH", b"FB", pad) + b"Z" * pad
        body += (struct.pack("<4s5H3I2H", b"PK\3\4", 0, flags, 0, 0, 0, 0, 0, 0, len(name), len(extra)) + name + extra +
                 data)
        if data:
            body += struct.pack("<4s3I", b"PK\7\10", check, len(data), len(data))
        directory += struct.pack("<4s6H3I5H2I", b"PK\1\2", 0, 0, flags, 0, 0, 0, check, len(data), len(data), len(name),
                                 len(central_extra), 0, 0, 0, 0, offset) + name + central_extra
    end = b""
    if end64:
        end += struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 0x031E, 45, 0, 0, len(members), len(members), len(directory),
                           len(body))
        end += struct.pack("<4sIQI", b"PK\6\7", 0, len(body) + len(directory), 1)
    end += struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, len(members), len(members), len(directory), len(body), len(comment))
    return body + directory + end + comment + junk


def python_zip(compression=zipfile.ZIP_STORED, folders=False, stream=False, comment=b"", zip64=False):
    class Unseekable(io.BytesIO):
        def seekable(self):
            return False

        def seek(self, *_):
            raise OSError

        def tell(self):
            raise OSError

    out = Unseekable() if stream else io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        if folders:
            archive.writestr(zipfile.ZipInfo("archive/"), b"")
        for name, data in MEMBERS:
            with archive.open(zipfile.ZipInfo(name), "w", force_zip64=zip64) as entry:
                entry.write(data)
        archive.comment = comment
    return out.getvalue()


MEMBERS = [("archive/data.pkl", b"\x80\x02}q\x01."), ("archive/data/0", bytes(range(8))), ("archive/version", b"3\n")]
TINY = [("a/data.pkl", b"\x80\x02}."), ("a/version", b"3\n")]
SEEDS = {
    "torch": torch_zip(MEMBERS, alignment=16),
    "torch_tiny": torch_zip(TINY, alignment=1),
    "torch_no_crc": torch_zip(TINY, alignment=1, crc=False),
    "torch_empty_record": torch_zip([*TINY, ("a/data/0", b"")], alignment=1),
    "torch_comment": torch_zip(TINY, alignment=1, comment=b"comment"),
    "torch_junk": torch_zip(TINY, alignment=1, junk=b"\0\0\0"),
    "torch_no_end64": torch_zip(TINY, alignment=1, end64=False),
    "torch_local_zip64": torch_zip(TINY[:1], alignment=1, local_extra=struct.pack("<HHQ", 1, 8, 0)),
    "torch_central_zip64": torch_zip(TINY[:1], alignment=1, central_extra=struct.pack("<HHQQQ", 1, 24, 4, 4, 0)),
    "torch_duplicate": torch_zip([*TINY, TINY[0]], alignment=1),
    "torch_case_twin": torch_zip([*TINY, ("A/version", b"3\n")], alignment=1),
    "torch_bad_name": torch_zip([*TINY, ("a/../x", b"")], alignment=1),
    "torch_end_in_comment": torch_zip(TINY, alignment=1, comment=b"PK\5\6" + bytes(18)),
    "python": python_zip(),
    "python_deflated": python_zip(zipfile.ZIP_DEFLATED),
    "python_folders": python_zip(folders=True),
    "python_streamed": python_zip(stream=True),
    "python_zip64": python_zip(zip64=True),
    "empty_archive": b"PK\5\6" + bytes(18),
}


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in SEEDS.items():
        (folder / f"{name}.zip").write_bytes(data)


main(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent / "corpus" / "zip")
