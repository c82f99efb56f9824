"""The two pictures of compare.py, as SVG: opening by number of tensors, and whole loads beside memcpy.

They have a background of their own, so that they read the same on light and dark pages.
"""

import math
from pathlib import Path
from xml.sax.saxutils import escape

FONT = "-apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
INK, QUIET, GRID, PAPER = "#1f2328", "#59636e", "#d8dee4", "#ffffff"
COLOURS = {"ckpt": "#0969da", "safetensors": "#bc4c00", "libtorch": "#8250df", "torch-mmap": "#1a7f37",
           "torch": "#6e7781"}
OTHERS = ("#bf3989", "#9a6700", "#cf222e")
WIDTH = 820


class Picture:
    def __init__(self, height: int, title: str, under: str) -> None:
        self.height, self.parts = height, []
        self.rectangle(0.5, 0.5, WIDTH - 1, height - 1, PAPER, stroke=GRID, radius=8)
        self.text(28, 36, title, size=19, weight=600)
        self.text(28, 58, under, size=13, colour=QUIET)

    def text(self, x, y, words, size=13, colour=INK, anchor="start", weight=400) -> None:
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" '
                          f'font-weight="{weight}">{escape(words)}</text>')

    def rectangle(self, x, y, width, height, colour, stroke="none", radius=0) -> None:
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}" '
                          f'stroke="{stroke}" rx="{radius}"/>')

    def line(self, points, colour, width=1.0, dashes="") -> None:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dashed}/>')

    def dot(self, x, y, colour) -> None:
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')

    def write(self, path: Path) -> None:
        path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" width="{WIDTH}" '
                        f'height="{self.height}" font-family="{FONT}">\n' + "\n".join(self.parts) + "\n</svg>\n")


def colours_of(titles: dict[str, str]) -> dict[str, str]:
    others = iter(OTHERS * len(titles))
    return {name: COLOURS[name] if name in COLOURS else next(others) for name in titles}


def spread_out(labels: list, gap: float) -> list:
    """Labels (y, ...), moved down as far as they would overlap."""
    out = []
    for y, *rest in sorted(labels):
        out.append((max(y, out[-1][0] + gap) if out else y, *rest))
    return out


def seconds_text(power: int) -> str:
    value, unit = {0: (1, "s"), -3: (1, "ms"), -6: (1, "µs")}.get(power // 3 * 3, (1, "s"))
    return f"{value * 10 ** (power % 3)} {unit}"


def draw_opening(facts: dict, titles: dict[str, str], path: Path) -> None:
    rows = [r for r in facts["rows"] if r["row"] == f"open-{r.get('tensors')}"]
    colours = colours_of(titles)
    lines = {"ckpt": ("ckpt", [r["ckpt"]["seconds"]["median"] for r in rows], colours.get("ckpt", COLOURS["ckpt"]))}
    for name, title in titles.items():
        points = [r["peers"].get(name, {}).get("seconds", {}).get("median") for r in rows]
        if name != "ckpt" and None not in points:
            lines[name] = (title, points, colours[name])
    floor = [r["floor"]["seconds"]["median"] for r in rows]
    every = [s for _, points, _ in lines.values() for s in points] + floor
    low, high = math.floor(math.log10(min(every))), math.ceil(math.log10(max(every)))
    left, right, top, bottom = 84, WIDTH - 190, 84, 408
    span = math.log10(rows[-1]["tensors"] / rows[0]["tensors"])
    x = lambda n: left + 14 + (right - left - 28) * math.log10(n / rows[0]["tensors"]) / span
    y = lambda s: bottom - (bottom - top) * (math.log10(s) - low) / (high - low)
    out = Picture(460, "Opening a checkpoint: time by number of tensors",
                  f"Fresh processes, page cache, medians of {facts['rounds']} rounds; both scales are logarithmic. "
                  "Lower is better.")
    for power in range(low, high + 1):
        out.line([(left, y(10.0 ** power)), (right, y(10.0 ** power))], GRID)
        out.text(left - 10, y(10.0 ** power) + 4, seconds_text(power), colour=QUIET, anchor="end")
    for r in rows:
        out.text(x(r["tensors"]), bottom + 22, f"{r['tensors']:,}", colour=QUIET, anchor="middle")
    out.text((left + right) / 2, bottom + 42, "tensors in the file", colour=QUIET, anchor="middle")
    places = [x(r["tensors"]) for r in rows]
    out.line(list(zip(places, map(y, floor))), QUIET, 1.5, "3 4")
    labels = [(y(floor[-1]), "floor: skip the opcodes", QUIET, 400)]
    for name, (title, points, colour) in lines.items():
        out.line(list(zip(places, map(y, points))), colour, 3.5 if name == "ckpt" else 2)
        for at, s in zip(places, points):
            out.dot(at, y(s), colour)
        labels.append((y(points[-1]), title, colour, 700 if name == "ckpt" else 500))
    for at, title, colour, weight in spread_out(labels, 17):
        out.text(right + 2, at + 4, title, colour=colour, weight=weight)
    out.write(path)


def draw_loading(facts: dict, titles: dict[str, str], path: Path) -> None:
    load = next(r for r in facts["rows"] if r["row"].startswith("load-"))
    owned = next(r for r in facts["rows"] if r["row"] == load["row"].replace("load", "owned"))
    colours, gib = colours_of(titles), load["gib"]
    bars = [("ckpt: host::load", load["ckpt"]["seconds"], COLOURS["ckpt"]),
            ("ckpt: owned()", owned["ckpt"]["seconds"], COLOURS["ckpt"])]
    copied = {"torch-mmap": " + clone", "safetensors": " + clone"}
    bars += [(titles[p] + copied.get(p, ""), peer["seconds"], colours[p]) for p, peer in load["peers"].items()]
    bars.sort(key=lambda bar: bar[1]["median"])
    rate = lambda seconds: gib / seconds
    floor = rate(load["floor"]["seconds"]["median"])
    most = max([floor, *(rate(s["least"]) for _, s, _ in bars)])
    left, right, top, step = 232, WIDTH - 84, 104, 40
    height = top + step * len(bars) + 34
    size = f"{gib:g} GiB" if gib >= 1 else f"{gib * 1024:g} MiB"
    out = Picture(height, f"Loading {size} of weights into memory: GiB per second",
                  f"Fresh processes, page cache, medians of {facts['rounds']} rounds, thin lines from the least to the "
                  "most. Higher is better.")
    x = lambda r: left + (right - left) * r / most
    for row, (title, seconds, colour) in enumerate(bars):
        y = top + step * row
        out.text(left - 12, y + 18, title, size=14, anchor="end", weight=700 if title.startswith("ckpt") else 400)
        out.rectangle(left, y, x(rate(seconds["median"])) - left, 26, colour, radius=3)
        out.line([(x(rate(seconds["most"])), y + 13), (x(rate(seconds["least"])), y + 13)], INK, 1.2)
        end = max(x(rate(seconds["median"])), x(rate(seconds["least"])))
        out.text(end + 8, y + 18, f"{rate(seconds['median']):.1f}", size=14, weight=600)
    out.line([(x(floor), top - 10), (x(floor), top + step * len(bars) - 6)], INK, 1.5, "3 4")
    out.text(x(floor), top - 16, f"memcpy by two threads, {floor:.1f}", colour=QUIET, anchor="end")
    out.write(path)


def write(facts: dict, titles: dict[str, str], folder: Path) -> None:
    draw_opening(facts, titles, folder / "opening.svg")
    draw_loading(facts, titles, folder / "loading.svg")
