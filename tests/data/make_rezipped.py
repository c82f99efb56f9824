#!/usr/bin/env python3
"""Writes tests/data/rezipped: files of tests/data/torch-2.13 unpacked and packed again with Python's zipfile, as people
do by hand. The oracle beside each names that of the original (same_as).

    python tests/data/make_rezipped.py
"""
import io
import json
import os
import sys
import zipfile

HERE = os.path.dirname(os.path.abspath(__file__))
WHEN = (2024, 1, 2, 3, 4, 6)


def records(source):
    with zipfile.ZipFile(source) as z:
        return [(i.filename.split('/', 1)[1], z.read(i)) for i in z.infolist()]


def info(name, method=zipfile.ZIP_STORED):
    i = zipfile.ZipInfo(name, WHEN)
    i.compress_type = method
    i.external_attr = (0o40755 << 16) | 0x10 if name.endswith('/') else 0o644 << 16
    return i


def pack(out, entries, comment=b''):
    with zipfile.ZipFile(out, 'w') as z:
        for name, data, method in entries:
            z.writestr(info(name, method), data)
        z.comment = comment


class Stream(io.RawIOBase):
    """A file that cannot seek, so that zipfile writes data descriptors."""

    def __init__(self, path):
        self.f = open(path, 'wb')

    def writable(self):
        return True

    def write(self, data):
        return self.f.write(data)

    def close(self):
        self.f.close()


S, D = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


def other_folder(out, recs):
    """stored under another top folder name, no alignment"""
    pack(out, [('my model/' + n, d, S) for n, d in recs])


def directories(out, recs):
    """with entries for the directories, sorted by name"""
    folders = {'archive/'} | {'archive/' + os.path.dirname(n) + '/' for n, _ in recs if '/' in n}
    entries = [(f, b'', S) for f in folders] + [('archive/' + n, d, S) for n, d in recs]
    pack(out, sorted(entries))


def deflated(out, recs):
    """every record deflated"""
    pack(out, [('archive/' + n, d, D) for n, d in recs])


def deflated_data(out, recs):
    """pickle stored, storages deflated"""
    pack(out, [('archive/' + n, d, D if n.startswith('data/') else S) for n, d in recs])


def macosx(out, recs):
    """__MACOSX beside the folder"""
    entries = [('archive/', b'', S)]
    for n, d in recs:
        entries.append(('archive/' + n, d, S))
        if n.endswith('.pkl'):
            entries.append(('__MACOSX/archive/._' + n, b'\0\5\x16\7' + bytes(60), S))
    pack(out, entries)


def reversed_order(out, recs):
    """records in reverse order, data.pkl last"""
    pack(out, [('archive/' + n, d, S) for n, d in reversed(recs)])


def without_extras(out, recs):
    """only data.pkl, data/ and version, as torch 1.6 wrote"""
    pack(out, [('archive/' + n, d, S) for n, d in recs if n in ('data.pkl', 'version') or n.startswith('data/')])


def comment(out, recs):
    """an archive comment after the end record"""
    pack(out, [('archive/' + n, d, S) for n, d in recs], b'packed by hand')


def nested_folder(out, recs):
    """one folder deeper"""
    pack(out, [('download/archive/' + n, d, S) for n, d in recs])


def streamed(out, recs):
    """written to a stream: flag bit 3, sizes in data descriptors with normal local headers"""
    f = Stream(out)
    with zipfile.ZipFile(f, 'w') as z:
        for n, d in recs:
            z.writestr(info('archive/' + n), d)
    f.close()


VARIANTS = [other_folder, directories, deflated, deflated_data, macosx, reversed_order, without_extras, comment,
            nested_folder, streamed]
# Which failures are also an honest answer (exit code); a reader need not inflate, nor guess a folder.
ALSO = {'deflated': [4], 'deflated_data': [1, 4], 'nested_folder': [2, 4]}


def main():
    out = os.path.join(HERE, 'rezipped')
    os.makedirs(out, exist_ok=True)
    for source in ('training', 'protocol_4'):
        original = os.path.join(HERE, 'torch-2.13', source)
        recs = records(original + '.pt')
        with open(original + '.json') as f:
            made = json.load(f)['made_by']
        for make in VARIANTS:
            if source == 'protocol_4' and make not in (other_folder, deflated, streamed):
                continue
            name = os.path.join(out, '%s_%s' % (source, make.__name__))
            make(name + '.pt', recs)
            document = {'made_by': {'script': 'tests/data/make_rezipped.py', 'torch': made['torch'],
                                    'numpy': made['numpy'], 'python': sys.version.split()[0]},
                        'same_as': '../torch-2.13/%s.json' % source}
            document['shows'] = make.__doc__
            if make.__name__ in ALSO:
                document['or_exit'] = ALSO[make.__name__]
            with open(name + '.json', 'w') as f:
                json.dump(document, f, indent=1)
                f.write('\n')
            print('%-40s %6d' % (os.path.basename(name), os.path.getsize(name + '.pt')))


if __name__ == '__main__':
    main()
