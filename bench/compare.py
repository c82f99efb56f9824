#!/usr/bin/env python3
"""Reads the same files with ckpt and with its peers, in one run, and writes the table, the figures and the pictures.

    compare.py PROGRAM [--size tiny|laptop|full] [--rounds N] [--folder FOLDER] [--out FOLDER]
               [--python PYTHON] [--libtorch FOLDER] [--reader 'NAME=COMMAND {task} {file} {key}'] ...

PROGRAM is bench/compare.cpp, built with optimisation. torch and safetensors are used where PYTHON (this one unless
told) has them, libtorch where --libtorch names a folder with include/ and lib/, as `torch` in site-packages is.

    full     files of 300, 5,000 and 100,000 tensors; 4 GiB of bfloat16, and 8 GiB where the memory is there; files of
             16 GiB and 1 TiB whose weights are holes. 12 GiB to 20 GiB of memory, 26 GiB of disk, about 12 minutes
    laptop   the same with 1 GiB in place of 4 and 8: 4 GiB of memory, 3 GiB of disk, about 6 minutes
    tiny     files of 100 and 1,000 tensors, 32 MiB: whether everything runs; its times say nothing

Every reader runs in a process of its own; in each round all of them take turns, each round begins with another one.
Opening and single tensors: the fastest of as many as fit into 0.3 s, but of three unless these take a second. Whole
loads and what is cold: once; the process touches and frees as much memory as it will need before its clock starts, and
the file is in the page cache. The table has the median over the rounds; a ratio is the median of the ratios within the
rounds.

A reader behind a command is run for the tasks open, tensor (of {key}), load and cast (to float32), and for open alone
where it has no {task}. {file} is the file of torch.save, {safetensors} the same tensors in that format. It prints one
line, `SECONDS TENSORS DIGEST`, or ends with 77 where it does not do the task. DIGEST: of open the number of elements;
else the sum, modulo 2^64, of the words of eight bytes of each tensor, each tensor's times its position, from 1 on; `-`
where it is not known. A number that differs from the others' ends the run.

Written are, in --out (docs/ unless told, where README.md is beside it): performance.json, opening.svg, loading.svg, and
the tables between the marks in performance.md and README.md.
"""

import argparse
import datetime
import json
import os
import re
import shlex
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import compare_pictures

HERE = Path(__file__).resolve().parent
SIZES = {  # tensors of the files for opening; MiB of the real ones; rows, columns and number of tensors of the sparse
    "full": ((300, 5_000, 100_000), (4096, 8192)),
    "laptop": ((300, 5_000, 100_000), (1024,)),
    "tiny": ((100, 1_000), (32,)),
}
HOLES = {"16 GiB": (1_551, 2_816, 1_024), "1 TiB": (4_096, 65_536, 1_024)}
TITLES = {"ckpt": "ckpt", "torch-mmap": "`torch.load`, mmap", "torch": "`torch.load`", "safetensors": "safetensors",
          "libtorch": "libtorch"}


def key_of(i: int) -> str:
    return f"model.layers.{i // 2}.attention.{'bias' if i % 2 else 'weight'}"


def write_safetensors(path: Path, count: int, rows: int = 2, columns: int = 2) -> None:
    """The tensors of bench/inputs.hpp: zeros, which are a hole."""
    size, header = rows * columns * 4, {}
    for i in range(count):
        shape = [rows * columns] if i % 2 else [rows, columns]
        header[key_of(i)] = {"dtype": "F32", "shape": shape, "data_offsets": [i * size, (i + 1) * size]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(file.tell() + count * size)


def write_pickle(path: Path) -> Path:
    """data.pkl of an archive, for the floor."""
    with zipfile.ZipFile(path) as archive:
        [name] = [n for n in archive.namelist() if n.endswith("/data.pkl")]
        out = path.with_suffix(".pkl")
        out.write_bytes(archive.read(name))
    return out


def place_of(path: Path, key: str) -> tuple[int, int]:
    """Offset and length of a tensor in a safetensors file."""
    with open(path, "rb") as file:
        [length] = struct.unpack("<Q", file.read(8))
        begin, end = json.loads(file.read(length))[key]["data_offsets"]
    return 8 + length + begin, end - begin


def warm(path: Path) -> None:
    """Reads a file, so that it is in the page cache."""
    buffer = bytearray(1 << 20)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


class Comparison:
    def __init__(self, wanted: argparse.Namespace, folder: Path) -> None:
        self.wanted, self.folder, self.begin = wanted, folder, time.perf_counter()
        self.rows: list[dict] = []
        self.measured: dict[str, dict] = {}
        self.failures: dict[str, dict[str, str]] = {}  # what peers cannot read, and what they say
        self.others = dict(text.split("=", 1) for text in wanted.reader)
        self.versions = self.find_python()
        self.libtorch = self.compile_libtorch()

    def say(self, text: str) -> None:
        print(f"{time.perf_counter() - self.begin:5.0f} s  {text}", file=sys.stderr, flush=True)

    def find_python(self) -> dict[str, str]:
        out = {}
        for module in ("torch", "safetensors"):
            run = subprocess.run([self.wanted.python, "-c", f"import {module}; print({module}.__version__)"],
                                 capture_output=True, text=True)
            if run.returncode == 0:
                out[module] = run.stdout.strip()
            else:
                self.say(f"{module} is not installed: left out")
        return out

    def compile_libtorch(self) -> Path | None:
        if self.wanted.libtorch is None:
            return None
        at, out = Path(self.wanted.libtorch).resolve(), self.folder / "compare_libtorch"
        subprocess.run(["c++", "-std=c++20", "-O2", "-w", "-isystem", at / "include", HERE / "compare_libtorch.cpp",
                        "-L", at / "lib", f"-Wl,-rpath,{at / 'lib'}", "-ltorch", "-ltorch_cpu", "-lc10", "-o", out],
                       check=True)
        return out

    # ---- files

    def run_ours(self, *words) -> None:
        subprocess.run([self.wanted.program, *map(str, words)], check=True)

    def make_small(self, name: str, count: int, *shape: int) -> Path:
        path = self.folder / f"{name}.pt"
        self.run_ours("write", path, count, *shape)
        write_safetensors(path.with_suffix(".safetensors"), count, *shape)
        write_pickle(path)
        return path

    def make_model(self, mebibytes: int) -> Path:
        path = self.folder / f"model-{mebibytes}.pt"
        self.run_ours("model", path.with_suffix(".safetensors"), mebibytes)
        self.run_ours("torch", path.with_suffix(".safetensors"), path)
        os.sync()
        return path

    # ---- readers: a command, and the file that it reads

    def ours(self, task: str, path: Path, *words) -> tuple[list, Path]:
        return [self.wanted.program, task, path, *words], path

    def peers(self, task: str, path: Path, key: str = "", reads_all: bool = True) -> dict[str, tuple[list, Path]]:
        """The peers that do a task; `reads_all`: also those that read all bytes, whatever they are asked for."""
        python = [self.wanted.python, HERE / "compare_readers.py"]
        safetensors = path.with_suffix(".safetensors")
        out = {}
        if "torch" in self.versions:
            out["torch-mmap"] = [*python, "torch-mmap", task, path, key], path
            if reads_all and task in ("open", "load"):
                out["torch"] = [*python, "torch", task, path, key], path
        if "safetensors" in self.versions and (task == "open" or "torch" in self.versions) and safetensors.exists():
            out["safetensors"] = [*python, "safetensors", task, safetensors, key], safetensors
        if self.libtorch is not None and task == "open" and reads_all:
            out["libtorch"] = [self.libtorch, path], path
        for name, command in self.others.items():
            if task == "open" or "{task}" in command:
                out[name] = [word.format(task=task, file=path, safetensors=safetensors, key=key)
                             for word in shlex.split(command)], path
        return out

    def measure(self, title: str, readers: dict[str, tuple[list, Path]], whole: bool = False) -> dict[str, list[dict]]:
        """What each reader printed, by rounds; all must have found the same. `whole`: files are in the page cache."""
        names, out, seen = list(readers), {name: [] for name in readers}, {}
        for turn in range(self.wanted.rounds):
            for name in names[turn % len(names):] + names[:turn % len(names)]:
                if name not in out:  # it failed
                    continue
                command, path = readers[name]
                if whole:
                    warm(path)
                run = subprocess.run([str(word) for word in command], capture_output=True, text=True)
                if run.returncode != 0 and name not in TITLES and name not in self.others:
                    raise SystemExit(f"{title}: {name} ended with {run.returncode}\n{run.stderr}")
                if run.returncode != 0:
                    del out[name]
                    if run.returncode != 77:
                        said = run.stderr.strip().rpartition("\n")[2]
                        self.failures.setdefault(title, {})[name] = said.replace(f"{self.folder}/", "")
                    continue
                seconds, *found = run.stdout.split()
                for what, number in zip(("tensors", "digest"), found):
                    if number != "-" and seen.setdefault(what, number) != number:
                        raise SystemExit(f"{title}: {name} found {what} {number}, another reader {seen[what]}")
                out[name].append({"seconds": float(seconds), **({"resident": int(found[2])} if found[2:] else {})})
        self.say(f"{title}: " + ", ".join(f"{name} {statistics.median(r['seconds'] for r in runs):.3g} s"
                                          for name, runs in out.items()))
        self.measured[title] = out
        return out

    def add_row(self, name: str, title: str, runs: dict[str, list[dict]], ckpt: str, floor: str, floor_title: str,
                **facts) -> None:
        """A row of the tables: one of ckpt's ways, its floor, and the peers."""
        failed = next((f for measured, f in self.failures.items() if runs is self.measured[measured]), {})
        ours = runs[ckpt]

        def over(those: list[dict], these: list[dict]) -> dict:
            ratios = [a["seconds"] / b["seconds"] for a, b in zip(those, these)]
            return {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}

        def seconds(those: list[dict]) -> dict:
            all_of = [r["seconds"] for r in those]
            return {"median": statistics.median(all_of), "least": min(all_of), "most": max(all_of)}

        row = {"row": name, "title": title, **facts, "ckpt": {"seconds": seconds(ours)},
               "floor": {"what": floor_title, "seconds": seconds(runs[floor]), "times": over(ours, runs[floor])},
               "peers": {peer: {"seconds": seconds(those), "times": over(those, ours)}
                         for peer, those in runs.items() if peer in TITLES or peer in self.others},
               "failed": failed}
        for part, those in (("ckpt", ours), ("floor", runs[floor])):
            if "resident" in those[0]:
                row[part]["resident"] = max(r["resident"] for r in those)
        self.rows.append(row)

    # ---- what is compared

    def compare_opening(self, counts: tuple[int, ...]) -> None:
        for count in counts:
            path = self.make_small(f"open-{count}", count)
            if "torch" in self.versions:
                self.check_generator(path, count)
            runs = self.measure(f"opening {count:,} tensors", {
                "ours": self.ours("open", path), "walk": self.ours("walk", path.with_suffix(".pkl")),
                **self.peers("open", path)})
            self.add_row(f"open-{count}", f"open {count:,} tensors", runs, "ours", "walk", "opcode walk",
                         tensors=count)
        for name, (count, *shape) in HOLES.items():
            path = self.make_small(f"holes-{name.replace(' ', '')}", count, *shape)
            runs = self.measure(f"opening {name}", {
                "ours": self.ours("open", path), "walk": self.ours("walk", path.with_suffix(".pkl")),
                **self.peers("open", path, reads_all=False)})
            self.add_row(f"open-{name.replace(' ', '-')}", f"open {name}, {count:,} tensors", runs, "ours", "walk",
                         "opcode walk", tensors=count)
            path.unlink()
            path.with_suffix(".safetensors").unlink()

    def check_generator(self, path: Path, count: int) -> None:
        """That bench/inputs.hpp writes what torch.save does."""
        subprocess.run([self.wanted.python, HERE / "compare_readers.py", "torch", "same", path, str(count)], check=True)

    def compare_model(self, mebibytes: int) -> None:
        path, size = self.make_model(mebibytes), name_of(mebibytes)
        key = f"layers.{mebibytes // 8}.weight"
        # The same bytes of the other file: where they lie in an archive is told by its own reader only.
        place = place_of(path.with_suffix(".safetensors"), key)
        runs = self.measure(f"one tensor of {size}", {
            "ours": self.ours("tensor", path, key),
            "pread": self.ours("pread", path.with_suffix(".safetensors"), *place),
            **self.peers("tensor", path, key)})
        self.add_row("tensor", f"copy one tensor of 4 MiB out of {size}", runs, "ours", "pread", "`pread`")
        self.compare_load(path, mebibytes)
        gib = 2 * mebibytes / 1024
        runs = self.measure(f"{size} to float32", {
            "ours": self.ours("cast", path), "widen": self.ours("widen", path), **self.peers("cast", path)}, whole=True)
        self.add_row("cast", f"load {size} of bfloat16 as float32, `host::load`", runs, "ours", "widen",
                     "loop, 2 threads", gib=gib)
        self.compare_cold(path, key, place, size)

    def compare_load(self, path: Path, mebibytes: int) -> None:
        runs = self.measure(f"loading {name_of(mebibytes)}", {
            "ours": self.ours("load", path), "owned": self.ours("owned", path), "copy": self.ours("copy", path),
            **self.peers("load", path)}, whole=True)
        for name, how in (("load", "ours"), ("owned", "owned")):
            self.add_load(name, mebibytes, runs, how)

    def add_load(self, name: str, mebibytes: int, runs: dict[str, list[dict]], how: str) -> None:
        call = "`host::load`" if name == "load" else "`owned(threads())`"
        self.add_row(f"{name}-{mebibytes}", f"load {name_of(mebibytes)}, {call}", runs, how, "copy",
                     "`memcpy`, 2 threads", gib=mebibytes / 1024)

    def compare_cold(self, path: Path, key: str, place: tuple[int, int], size: str) -> None:
        runs = self.measure(f"one tensor of {size}, cold", {
            "ours": self.ours("cold-tensor", path, key),
            "pread": self.ours("cold-pread", path.with_suffix(".safetensors"), *place)})
        self.add_row("cold-tensor", f"copy one tensor of 4 MiB out of {size}, not in the page cache, with `prefetch`",
                     runs, "ours", "pread", "`pread`")
        runs = self.measure(f"opening {size}, cold", {
            "ours": self.ours("cold-open", path), "headers": self.ours("cold-headers", path)})
        self.add_row("cold-open", f"open {size}, not in the page cache", runs, "ours", "headers",
                     "touching every local header")

    def compare_large(self, mebibytes: int) -> None:
        """Where the memory is there, for the page cache and a copy."""
        size = name_of(mebibytes)
        if available_mib() < 2.3 * mebibytes:
            return self.say(f"{size} is left out: too little memory")
        path = self.make_model(mebibytes)
        path.with_suffix(".safetensors").unlink()  # would not fit into the page cache beside the other
        runs = self.measure(f"loading {size}", {
            "ours": self.ours("load", path), "copy": self.ours("copy", path),
            **self.peers("load", path, reads_all=False)}, whole=True)
        self.add_load("load", mebibytes, runs, "ours")
        path.unlink()


def name_of(mebibytes: int) -> str:
    return f"{mebibytes // 1024} GiB" if mebibytes >= 1024 else f"{mebibytes} MiB"


def available_mib() -> float:
    found = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())
    return int(found[1]) / 1024 if found else 0


# ---- what is written


def number(x: float) -> str:
    """Two digits and a bit: 0.87, 1.3, 12, 340."""
    return f"{x:.2f}" if x < 1 else f"{x:.1f}" if x < 9.95 else f"{x:,.0f}"


def time_of(seconds: float) -> str:
    return (f"{number(seconds * 1e6)} µs" if seconds < 1e-3 else
            f"{number(seconds * 1e3)} ms" if seconds < 1 else f"{number(seconds)} s")


def cell(times: dict, spread: bool) -> str:
    text = number(times["median"])
    return f"{text} ({number(times['least'])}–{number(times['most'])})" if spread else text


def including(page: Path) -> dict:
    """What including costs, in units of tests/budgets: from the table of the page, which has what that measured."""
    table = page.read_text().split("| GCC 12.2 |")[1].split("\n\n")[0]
    rows = {"ckpt": "ckpt compiled, `01_list.cpp`", "header-only": "ckpt header-only", "libtorch": "libtorch"}
    return {name: float(re.search(rf"^\| {re.escape(row)}[^|]*\| ([\d.]+)", table, re.M)[1])
            for name, row in rows.items()}


def table_of(rows: list[dict], peers: list[str], cost: dict, spread: bool) -> str:
    """The rows as Markdown."""
    titles = [TITLES.get(p, p) for p in peers]
    lines = ["| | ckpt | its floor | " + " | ".join(titles) + " |", "|---" * (3 + len(peers)) + "|"]
    for row in rows:
        floor = row["floor"]
        cells = [row["title"], time_of(row["ckpt"]["seconds"]["median"]),
                 f"{cell(floor['times'], spread)} × {floor['what']}" if floor["times"]["median"] > 0.5 else
                 f"1/{number(1 / floor['times']['median'])} of {floor['what']}"]
        for peer in peers:
            times = row["peers"].get(peer, {}).get("times")
            text = cell(times, spread) + " ×" if times else "fails" if peer in row["failed"] else "–"
            cells.append(f"**{text}**" if times and times["median"] < 1 else text)  # the peer is faster
        lines.append("| " + " | ".join(cells) + " |")
    cells = [f"{number(cost['libtorch'] / cost['ckpt'])} ×" if p == "libtorch" else "–" for p in peers]
    lines.append(f"| compile a source that includes it | {number(cost['ckpt'])} units | {number(cost['ckpt'])} × "
                 f"nine standard headers | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def replace_between(page: Path, text: str) -> None:
    """Puts the text between the marks of a page."""
    before, mark, rest = page.read_text().partition("<!-- compare.py writes this -->\n")
    after = rest.partition("<!-- until here -->\n")
    if not mark or not after[1]:
        raise SystemExit(f"{page} has no marks")
    page.write_text(before + mark + text + after[1] + after[2])


SHORT = ("open-", "tensor", "load-", "owned-", "cast")  # of the table in README.md


def write_all(compared: Comparison, out: Path) -> None:
    wanted, rows = compared.wanted, compared.rows
    cost = including(HERE.parent / "docs" / "performance.md")
    peers = [p for p in [*TITLES, *compared.others] if any(p in row["peers"] for row in rows)]
    versions = "".join(f", {name} {version}" for name, version in compared.versions.items())
    facts = {"format": "ckpt.performance/1", "date": datetime.date.today().isoformat(), "size": wanted.size,
             "rounds": wanted.rounds, "cores": os.cpu_count(), "versions": compared.versions,
             "seconds": round(time.perf_counter() - compared.begin), "including": cost, "rows": rows}
    out.mkdir(parents=True, exist_ok=True)
    (out / "performance.json").write_text(json.dumps(facts, indent=1) + "\n")
    compare_pictures.write(facts, {p: TITLES.get(p, p).replace("`", "") for p in peers}, out)
    said = (f"{facts['date']}, {os.cpu_count()} cores{versions}. Medians of {wanted.rounds} rounds; in the brackets "
            f"the least and the most.")
    if (out / "performance.md").exists():
        replace_between(out / "performance.md", f"\n{said}\n\n" + table_of(rows, peers, cost, True) + "\n")
    readme = out.parent / "README.md"
    if out.name == "docs" and readme.exists():
        short = [row for row in rows if row["row"].startswith(SHORT)]
        replace_between(readme, "\n" + table_of(short, peers, cost, False) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=lambda text: Path(text).resolve())
    parser.add_argument("--size", choices=SIZES, default="full")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="for the files; a temporary one unless told")
    parser.add_argument("--out", type=Path, default=HERE.parent / "docs")
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--libtorch", metavar="FOLDER")
    parser.add_argument("--reader", action="append", default=[], metavar="NAME=COMMAND")
    wanted = parser.parse_args()
    counts, (model, *large) = SIZES[wanted.size]
    with tempfile.TemporaryDirectory(dir=wanted.folder) as folder:
        compared = Comparison(wanted, Path(folder))
        compared.compare_opening(counts)
        compared.compare_model(model)
        for path in Path(folder).glob("model-*"):
            path.unlink()
        for mebibytes in large:
            compared.compare_large(mebibytes)
    write_all(compared, wanted.out)
    compared.say("written")


if __name__ == "__main__":
    main()
