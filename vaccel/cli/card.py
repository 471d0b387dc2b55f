"""The picture of a card in a terminal: a box per core with its owner's letter, a bar of memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from string import ascii_letters, digits
from typing import TYPE_CHECKING, Final

from vaccel.cli.render import clean, paint
from vaccel.cli.sizes import size_text

if TYPE_CHECKING:
    from vaccel.inventory import PF, VF

_FREE: Final = "·"
# Owned, by a VF that this list of VFs does not have: it went or came between two questions.
_UNKNOWN: Final = "?"
_LETTERS: Final = ascii_letters[26:] + ascii_letters[:26] + digits
_COLOURS: Final = ("cyan", "green", "magenta", "yellow", "blue")
_PER_ROW: Final = 16
_BAR: Final = 48


def draw(pf: PF, vfs: Sequence[VF]) -> Iterator[str]:
    """Lines of the picture. ``vfs`` are those of the card."""
    letters, colours = {}, {}
    for number, vf in enumerate(vfs):
        # A host names an owner as a person would: by its name, or by its id where it has none.
        for owner in filter(None, (vf.id, vf.name)):
            letters[owner] = _LETTERS[number % len(_LETTERS)]
            colours[owner] = _COLOURS[number % len(_COLOURS)]
    for first in range(0, len(pf.core_owners), _PER_ROW):
        owners = pf.core_owners[first : first + _PER_ROW]
        cells = (
            paint(f" {letters.get(owner, _UNKNOWN) if owner else _FREE} ", colours.get(owner, ""))
            for owner in owners
        )
        yield "  ┌" + "┬".join(["───"] * len(owners)) + "┐"
        yield "  │" + "│".join(cells) + "│"
        yield "  └" + "┴".join(["───"] * len(owners)) + "┘"
    yield f"  {_memory(pf, vfs, letters, colours)}"
    width = max((len(vf.name or vf.id) for vf in vfs), default=0)
    for vf in vfs:
        cores = ", ".join(map(str, vf.cores)) or "none"
        where = f", in VM {vf.vm}" if vf.vm else ""
        name = (vf.name or vf.id).ljust(width)
        line = f"{name}  {vf.profile.name}, cores {cores}, {vf.state}{where}"
        yield f"  {paint(letters[vf.id], colours[vf.id])}  {clean(line, '')}"
    yield f"  {_FREE}  free"


def _memory(pf: PF, vfs: Sequence[VF], letters: dict[str, str], colours: dict[str, str]) -> str:
    """One character is a 48th of the memory; a VF has at least one, so that it is seen."""
    bar, left = "", _BAR
    for vf in vfs:
        share = round(_BAR * vf.profile.memory_bytes / max(1, pf.memory_bytes))
        count = min(left, max(1, share))
        left -= count
        bar += paint(letters[vf.id] * count, colours[vf.id])
    return f"[{bar}{_FREE * left}]  {size_text(pf.memory_bytes)}"
