"""The tiles of a VF: which block of weights lies where, and which tile a new one gets.

Levelling
    A block that lies in a free tile already is found there by the digest of its weights: nothing is
    written. Else a free tile that held the same place of the same matrix is taken, since most
    cells of an updated model stay as they are, unless it is worn more than others by a hundredth
    of a cell's endurance. Else the least worn one is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from host_daemon.core.device import NoRoom
from host_daemon.devices.nvm.parameters import NvmParameters
from host_daemon.devices.nvm.store import WRITTEN, TileRecord, generator
from vaccel.errors import Exhausted

# How much more worn a tile may be and still be preferred for what it held before.
_SLACK: Final = 0.01


class Tiles:
    """The records of a VF's tiles; ``taken`` are those whose weights are in use."""

    def __init__(self, cells: memoryview, count: int, own: NvmParameters, seed: bytes) -> None:
        self.own = own
        self.all: Sequence[TileRecord] = [
            TileRecord.of(cells, number, own) for number in range(count)
        ]
        self.taken: set[int] = set()
        self._seed = seed

    def ready(self, record: TileRecord) -> bool:
        """Whether a tile can be written; one that nobody has used is tested first.

        What it finds stuck is drawn from the seed of the VF that comes first, so that runs on new
        tiles repeat on any host; from then on it is the tile's, for every owner.
        """
        if not record.formatted:
            record.format(generator(self._seed, b"factory", record.number.to_bytes(4, "little")))
        return record.fit

    def free(self) -> list[TileRecord]:
        """Tiles that hold nothing in use."""
        return [record for record in self.all if record.number not in self.taken]

    def choose(self, labels: Sequence[bytes], contents: Sequence[bytes]) -> list[TileRecord]:
        """A tile for each block, all or none.

        Raises NoRoom where weights in use take the place, Exhausted where tiles take no more
        writes; both name what is missing.
        """
        left = {record.number: record for record in self.free()}
        chosen: dict[int, TileRecord] = {}
        for index, content in enumerate(contents):
            held = _find(left.values(), content)
            if held is not None:
                chosen[index] = left.pop(held.number)
        for index in range(len(contents)):
            while index not in chosen:
                if not left:
                    raise self._no_room(len(contents))
                record = left.pop(_best(left.values(), labels[index]).number)
                if self.ready(record):
                    chosen[index] = record
        return [chosen[index] for index in range(len(contents))]

    def _no_room(self, blocks: int) -> Exhausted:
        tile, held = self.own.tile, len(self.taken)
        unfit = [record for record in self.free() if record.formatted and not record.fit]
        said = f"weights need {blocks} tiles of {tile.rows}x{tile.columns}: of"
        said += f" {len(self.all)} here {held} hold weights in use"
        worn = sum(record.worn_out for record in unfit)
        if worn:
            said += f", {worn} are worn out"
        if len(unfit) > worn:
            said += f", {len(unfit) - worn} are stuck"
        if unfit:
            hint = "ask the operator for a VF on other tiles: these take no more writes"
            return Exhausted(said, hint=hint)
        return NoRoom(said, hint="unload programs, or use a VF of a larger profile")


def _find(records: Iterable[TileRecord], content: bytes) -> TileRecord | None:
    for record in records:
        if int(record.get("state")) == WRITTEN and bytes(record.get("content")) == content:
            return record
    return None


def _best(records: Iterable[TileRecord], label: bytes) -> TileRecord:
    """The least worn, or the one that held the label before."""
    by_wear = sorted(records, key=lambda record: (record.wear, record.number))
    least = by_wear[0]
    for record in by_wear:
        if bytes(record.get("label")) == label and record.wear - least.wear <= _SLACK:
            return record
    blank = [r for r in by_wear if r.wear - least.wear <= _SLACK / 100 and not r.get("state")]
    return blank[0] if blank else least
