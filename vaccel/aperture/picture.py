"""The picture of a window in ``docs/aperture.md``: ``python -m vaccel.aperture.picture FILE``.

What it says is in ``layout``; nothing in it is to scale.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from vaccel import bounds
from vaccel.aperture import layout
from vaccel.aperture.layout import Field

# A window as cards have it, unless a configuration says otherwise.
SHOWN_BYTES: Final = 256 * bounds.MIB

_WIDTH: Final = 960
_HEIGHT: Final = 620
# Left edge and width of each column: the first pages, the window, a queue pair.
_PAGES: Final = (24, 262)
_WINDOW: Final = (366, 222)
_QUEUE: Final = (668, 268)
_TOP: Final = 64
_LINE: Final = 17
_PAD: Final = 10
_AREA_HEIGHTS: Final = (70, 58, 40, 160, 157)
# Of a line of 12 px in a queue pair's column.
_CHARACTERS: Final = 35
_COLOURS: Final = {layout.APP: "core", layout.WORKER: "other"}

_STYLE: Final = """\
    .page { fill: #ffffff } .box { fill: #ffffff; stroke: #4a5568 }
    .core { fill: #d7e5fb; stroke: #2b5fb0 } .other { fill: #fbe6cf; stroke: #a8620f }
    .free { fill: #eceff3; stroke: #9aa5b5 } .pci { fill: #e3f3e6; stroke: #2d7a3e }
    .zoom { stroke: #566173; stroke-width: 1.2; stroke-dasharray: 4 4; fill: none }
    text { fill: #1a2230 } .small { font-size: 12px } .dim { fill: #566173 }
    .strong { font-weight: 600 }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0f141b } .box { fill: #1f2834; stroke: #9fb0c5 }
      .core { fill: #1d3a66; stroke: #7db0ff } .other { fill: #50330f; stroke: #f0b264 }
      .free { fill: #222b36; stroke: #5d6b7e } .pci { fill: #173722; stroke: #79cf8d }
      .zoom { stroke: #a9b6c6 } text { fill: #e8edf4 } .dim { fill: #a9b6c6 }
    }
"""


class _Canvas:
    """Elements of an SVG, in the order in which they are painted."""

    def __init__(self) -> None:
        self.elements: list[str] = []

    def box(self, kind: str, x: int, y: int, width: int, height: int) -> None:
        self.elements.append(
            f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="5"/>'
        )

    def text(self, x: int, y: int, words: str, kind: str = "", anchor: str = "") -> None:
        look = f' class="{kind}"' if kind else ""
        look += f' text-anchor="{anchor}"' if anchor else ""
        self.elements.append(f'<text{look} x="{x}" y="{y}">{escape(words)}</text>')

    def line(self, kind: str, *points: tuple[int, int]) -> None:
        path = "L".join(f"{x} {y}" for x, y in points)
        self.elements.append(f'<path class="{kind}" d="M{path}"/>')


def svg(window_bytes: int = SHOWN_BYTES) -> str:
    """The picture of a window of that many bytes."""
    canvas = _Canvas()
    header, status = _first_pages(canvas)
    spans = _window(canvas, window_bytes)
    pair = _queue_pair(canvas)
    edge, left = _WINDOW[0], _PAGES[0] + _PAGES[1]
    for (top, bottom), (page_top, page_bottom) in zip(spans, (header, status), strict=False):
        canvas.line("zoom", (edge, top), (left, page_top))
        canvas.line("zoom", (edge, bottom), (left, page_bottom))
    first_pair, right = spans[-1], edge + _WINDOW[1]
    canvas.line("zoom", (right, first_pair[0]), (_QUEUE[0], pair[0]))
    canvas.line("zoom", (right, first_pair[1]), (_QUEUE[0], pair[1]))
    _legend(canvas)
    return _document(canvas, window_bytes)


def _document(canvas: _Canvas, window_bytes: int) -> str:
    areas = ", ".join(
        f"{each.name} from {_size(each.start)}" for each in layout.areas(window_bytes)
    )
    fields = ", ".join(f"{each.name} at {each.offset}" for each in layout.QUEUE_FIELDS)
    described = f"A window of {_size(window_bytes)}: {areas}. A queue pair: {fields}."
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        f' width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-labelledby="title desc"'
        " font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif\" font-size=\"14\">"
    )
    lines = [
        '<title id="title">vaccel: a window, its first pages, and one of its queue pairs</title>',
        f'<desc id="desc">{escape(described)}</desc>',
        f"<style>\n{_STYLE}  </style>",
        f'<rect class="page" width="{_WIDTH}" height="{_HEIGHT}" rx="8"/>',
        *canvas.elements,
    ]
    return "\n".join([opening, *(f"  {line}" for line in lines), "</svg>\n"])


def _first_pages(canvas: _Canvas) -> list[tuple[int, int]]:
    """Header and status page, field by field; where each is, from top to bottom."""
    header = [(field.offset, field.name) for field in layout.WORDS]
    header += [(slot.length.offset, slot.name) for slot in layout.SLOTS]
    status = [(field.offset, field.name) for field in layout.STATUS_FIELDS]
    spans, top = [], _TOP
    for title, rows in (("header", header), ("status page", status)):
        canvas.text(_PAGES[0], top - 10, title, "strong")
        canvas.text(_PAGES[0] + _PAGES[1] - _PAD, top - 10, "byte", "small dim", "end")
        bottom = _listed(canvas, top, rows)
        spans.append((top, bottom))
        top = bottom + 40
    return spans


def _listed(canvas: _Canvas, top: int, rows: Sequence[tuple[int, str]]) -> int:
    """A box with a line for each field; its lower edge."""
    x, width = _PAGES
    height = len(rows) * _LINE + _PAD
    canvas.box("other", x, top, width, height)
    for number, (offset, name) in enumerate(rows, 1):
        y = top + number * _LINE
        canvas.text(x + _PAD, y, name, "small")
        canvas.text(x + width - _PAD, y, f"{offset:,}", "small dim", "end")
    return top + height


def _window(canvas: _Canvas, window_bytes: int) -> list[tuple[int, int]]:
    """The whole window; where header, status page and the first queue pair are."""
    x, width = _WINDOW
    canvas.text(x, _TOP - 28, "window", "strong")
    canvas.text(x, _TOP - 10, f"BAR2, or a memfd: {_size(window_bytes)} here", "small dim")
    spans, top = [], _TOP
    for area, height in zip(layout.areas(window_bytes), _AREA_HEIGHTS, strict=True):
        canvas.box({"reserved": "free"}.get(area.name, "box"), x, top, width, height)
        canvas.text(x + _PAD, top + 22, area.name, "strong" if height > 40 else "")
        canvas.text(x + width - _PAD, top + 22, _size(area.start), "small dim", "end")
        spans.append((top, top + height))
        top += height
    rings, slabs = spans[-2:]
    pairs = layout.queue_pairs(window_bytes)
    named = [f"pair {number}" for number in (0, 1)] + ["…", f"pair {pairs - 1}"]
    first = _parts(canvas, rings[0] + 32, named, ("box", "box", "", "box"))
    lent = ("of one app", "of another", "free", f"up to {_size(window_bytes)}")
    _parts(canvas, slabs[0] + 32, lent, ("pci", "pci", "free", ""))
    return [*spans[:2], first]


def _parts(
    canvas: _Canvas, top: int, names: Sequence[str], kinds: Sequence[str]
) -> tuple[int, int]:
    """Pieces of an area, one below the other; where the first is."""
    x, width = _WINDOW[0] + _PAD, _WINDOW[1] - 2 * _PAD
    for number, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        y = top + number * 29
        if kind:
            canvas.box(kind, x, y, width, 25)
        canvas.text(x + width // 2, y + 17, name, "small" if kind else "small dim", "middle")
    return top, top + 25


def _queue_pair(canvas: _Canvas) -> tuple[int, int]:
    """One queue pair, field by field; from where to where."""
    x, width = _QUEUE
    canvas.text(x, _TOP - 28, "queue pair", "strong")
    canvas.text(x, _TOP - 10, f"{_size(layout.QUEUE_BYTES)} each", "small dim")
    canvas.text(x + width - _PAD, _TOP - 10, "byte", "small dim", "end")
    top = _TOP
    for field in layout.QUEUE_FIELDS:
        top = _queue_field(canvas, field, top) + 6
    return _TOP, top - 6


def _queue_field(canvas: _Canvas, field: Field, top: int) -> int:
    """A box with name, place and meaning, and slots where it is a ring; its lower edge."""
    x, width = _QUEUE
    lines = textwrap.wrap(field.text, _CHARACTERS)
    ring = field in (layout.SQ_RING, layout.CQ_RING)
    height = 27 + len(lines) * 16 + ring * 30
    canvas.box(_COLOURS[field.writer], x, top, width, height)
    canvas.text(x + _PAD, top + 19, field.name, "strong")
    canvas.text(x + width - _PAD, top + 19, f"{field.offset:,}", "small dim", "end")
    for number, line in enumerate(lines, 1):
        canvas.text(x + _PAD, top + 20 + number * 16, line, "small dim")
    if ring:
        slots = 8 if field is layout.SQ_RING else 4
        step = (width - 2 * _PAD) // slots
        for slot in range(slots):
            canvas.box("box", x + _PAD + slot * step, top + height - 31, step - 4, 21)
    return top + height


def _legend(canvas: _Canvas) -> None:
    y = _HEIGHT - 30
    told = (
        ("core", "written by the app", 24),
        ("other", "written by the worker", 220),
        ("pci", "written by both: arguments and results", 436),
        ("free", "unused", 770),
    )
    for kind, words, x in told:
        canvas.box(kind, x, y, 28, 16)
        canvas.text(x + 38, y + 13, words, "small")


def _size(size: int) -> str:
    """A size in whole units, in two of them where one does not do."""
    for unit, name in ((bounds.MIB, "MiB"), (bounds.KIB, "KiB")):
        whole, rest = divmod(size, unit)
        if whole:
            return f"{whole} {name}" + (f" + {_size(rest)}" if rest else "")
    return str(size)


def main(arguments: Sequence[str]) -> int:
    """Write the picture to a file."""
    Path(arguments[0]).write_text(svg())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
