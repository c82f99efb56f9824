#!/usr/bin/env python3
"""Checks that no file of tests/data and fuzz/corpus names a folder of the machine that made it, in records that are
compressed either: python tests/paths.py"""
import io
import os
import re
import sys
import zipfile
import zlib

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Folders of users, and sources that are neither in /usr, in /opt nor in /src, where the scripts ask to be run.
FOLDER = re.compile(
    rb'/(?:home|root|tmp|mnt|Users|var/folders)/[\w.-]+|(?<![\w.-])/(?!usr/|opt/|src/)(?:[\w.-]+/)+[\w.-]+\.py')


def contents(data):
    """The bytes, and those of every record that can be read."""
    yield '', data
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as z:
            for info in z.infolist():
                try:
                    yield '::' + info.filename, z.read(info)
                except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError,
                        zlib.error):
                    pass  # files of the corpus are damaged
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, UnicodeDecodeError):
        pass


def main():
    files_seen = failed = 0
    for folder in ('tests/data', 'fuzz/corpus'):
        for at, _, files in os.walk(os.path.join(ROOT, folder)):
            for name in files:
                path = os.path.join(at, name)
                with open(path, 'rb') as f:
                    found = [(record, match.group()) for record, data in contents(f.read())
                             for match in FOLDER.finditer(data)]
                for record, what in found[:3]:
                    print('%s%s names %s' % (os.path.relpath(path, ROOT), record, what.decode()))
                files_seen += 1
                failed += bool(found)
    print('%d of %d files name a folder of a machine' % (failed, files_seen))
    return failed > 0


if __name__ == '__main__':
    sys.exit(main())
