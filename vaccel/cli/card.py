"""The picture of a card in a terminal: its cores with their owners' letters, a bar of memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from string import ascii_letters, digits
from typing import TYPE_CHECKING, Final

from vaccel.cli.render import clean, paint
from vaccel.cli.sizes import ranges_text, size_text

if TYPE_CHECKING:
    from vaccel.inventory import PF, VF

_FREE: Final = "·"
# Owned, by a VF that this list of VFs does not have: it went or came between two questions.
_UNKNOWN: Final = "?"
_LETTERS: Final = ascii_letters[26:] + ascii_letters[:26] + digits
_COLOURS: Final = ("cyan", "green", "magenta", "yellow", "blue")
_PER_ROW: Final = 16
# Cards of more cores than this are drawn as a map.
_BOXES: Final = 64
_PER_LINE: Final = 64
# The letter of a core's owner, and its colour.
Cell = tuple[str, str]
_BAR: Final = 48


def draw(pf: PF, vfs: Sequence[VF]) -> Iterator[str]:
    """Lines of the picture. ``vfs`` are those of the card."""
    letters, colours = {}, {}
    for number, vf in enumerate(vfs):
        # A host names an owner as a person would: by its name, or by its id where it has none.
        for owner in filter(None, (vf.id, vf.name)):
            letters[owner] = _LETTERS[number % len(_LETTERS)]
            colours[owner] = _COLOURS[number % len(_COLOURS)]
    cells = [
        (letters.get(owner, _UNKNOWN) if owner else _FREE, colours.get(owner, ""))
        for owner in pf.core_owners
    ]
    yield from _boxes(cells) if len(cells) <= _BOXES else _map(cells)
    yield f"  {_memory(pf, vfs, letters, colours)}"
    width = max((len(vf.name or vf.id) for vf in vfs), default=0)
    for vf in vfs:
        cores = ranges_text(vf.cores) or "none"
        where = f", in VM {vf.vm}" if vf.vm else ""
        name = (vf.name or vf.id).ljust(width)
        noun = "core" if len(vf.cores) == 1 else "cores"
        line = f"{name}  {vf.profile.name}, {noun} {cores}, {vf.state}{where}"
        yield f"  {paint(letters[vf.id], colours[vf.id])}  {clean(line, '')}"
    yield f"  {_FREE}  free"


def _boxes(cells: Sequence[Cell]) -> Iterator[str]:
    for first in range(0, len(cells), _PER_ROW):
        row = cells[first : first + _PER_ROW]
        yield "  ┌" + "┬".join(["───"] * len(row)) + "┐"
        yield "  │" + "│".join(paint(f" {letter} ", colour) for letter, colour in row) + "│"
        yield "  └" + "┴".join(["───"] * len(row)) + "┘"


def _map(cells: Sequence[Cell]) -> Iterator[str]:
    """A character per core, each row beginning with the number of its first."""
    width = len(str(len(cells)))
    for first in range(0, len(cells), _PER_LINE):
        runs = groupby(cells[first : first + _PER_LINE])
        line = "".join(paint(cell[0] * len(list(run)), cell[1]) for cell, run in runs)
        yield f"  {first:{width}}  {line}"


def _memory(pf: PF, vfs: Sequence[VF], letters: dict[str, str], colours: dict[str, str]) -> str:
    """One character is a 48th of the memory; a VF has at least one, so that it is seen."""
    bar, left = "", _BAR
    for vf in vfs:
        share = round(_BAR * vf.profile.memory_bytes / max(1, pf.memory_bytes))
        count = min(left, max(1, share))
        left -= count
        bar += paint(letters[vf.id] * count, colours[vf.id])
    return f"[{bar}{_FREE * left}]  {size_text(pf.memory_bytes)}"
