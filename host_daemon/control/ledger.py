"""Whose the cores of a card with lasting cells are, and what time it is there: a JSON file each.

Workers never see it, so that what a tenant may have done to its own cells cannot change who owns
what. It is written whole, beside its place, and put there by renaming.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from vaccel import bounds
from vaccel.errors import HostFault, InvalidArgument

VERSION: Final = 1


@dataclass(slots=True)
class Ledger:
    """``owners[core]`` is a VF's id or "". ``writes`` counts rows written, by tenant."""

    card: str
    cores: int
    cell_bytes: int
    clock_seconds: float = 0.0
    owners: list[str] = field(default_factory=list)
    writes: dict[str, int] = field(default_factory=dict)
    # SHA-256 of a core's cells as they were left erased: the same still, and nobody has written.
    erased: dict[str, str] = field(default_factory=dict)
    # Texts that the operator chose as seeds, by VF; the others draw from the host's secret.
    seeds: dict[str, str] = field(default_factory=dict)
    version: int = VERSION
    layout: int = 1  # of the cells beside it, ``Card.cell_layout``

    def held_by(self, vf: str) -> list[int]:
        """The cores that a VF holds."""
        return [core for core, owner in enumerate(self.owners) if owner == vf]

    def advance(self, seconds: float) -> None:
        """Move the clock. Raises InvalidArgument where it would go backwards, or past bounds."""
        if not math.isfinite(seconds) or seconds < 0:
            raise InvalidArgument(
                f"clock: seconds = {seconds!r} would make {self.card} younger",
                hint="a clock of cells goes forward only",
            )
        if self.clock_seconds + seconds > bounds.CLOCK_SECONDS:
            raise InvalidArgument(
                f"clock: {seconds:g} s after {self.clock_seconds:g} s are past"
                f" {bounds.CLOCK_SECONDS:g} s, a century",
                hint="cells are not modelled beyond that; ask for less",
            )
        self.clock_seconds += seconds

    def save(self, path: Path) -> None:
        """Replace the file. Raises HostFault."""
        partial = path.with_suffix(".new")
        try:
            with partial.open("w") as file:
                json.dump(dataclasses.asdict(self), file)
                file.flush()
                os.fsync(file.fileno())
            partial.rename(path)
        except OSError as fault:
            raise HostFault(f"ledger of cells {path}: {fault.strerror}") from None


def load(path: Path, card: str, cores: int, cell_bytes: int, layout: int = 1) -> Ledger:
    """The ledger of a card; a new one where there is none.

    Raises HostFault naming field and value where it is another card's, or broken.
    """
    try:
        text = path.read_text()
    except FileNotFoundError:
        return Ledger(card, cores, cell_bytes, owners=[""] * cores, layout=layout)
    except OSError as fault:
        raise HostFault(f"ledger of cells {path}: {fault.strerror}") from None
    try:
        table = json.loads(text)
        found = Ledger(**table)
        ok = len(found.owners) == found.cores and found.clock_seconds >= 0
    except (ValueError, TypeError) as fault:
        raise _broken(path, str(fault)) from None
    if not ok:
        raise _broken(path, f"owners has {len(found.owners)} entries")
    if table.get("card") == card and found.layout != layout:
        raise HostFault(
            f"ledger of cells {path}: layout = {found.layout!r}, but this version of vaccel keeps"
            f" cells in layout {layout}",
            hint="what older cells held and how worn they are cannot be read: give the PF another"
            " name, or remove this file together with its .cells file",
        )
    wanted: dict[str, Any] = {
        "version": VERSION,
        "card": card,
        "cores": cores,
        "cell_bytes": cell_bytes,
    }
    for name, value in wanted.items():
        if table.get(name) != value:
            raise HostFault(
                f"ledger of cells {path}: {name} = {table.get(name)!r}, but this card has"
                f" {value!r}",
                hint="declare the card that these cells are of, or give the PF another name",
            )
    return found


def _broken(path: Path, why: str) -> HostFault:
    return HostFault(
        f"ledger of cells {path} cannot be read: {why}",
        hint="restore it from a backup, or remove it together with its .cells file",
    )
