"""What lies in a card's file of cells: one record a tile, read and written in place.

A record holds what the physics keeps without power (conductances, what decides their drift, when
they were written, which are stuck), how worn each cell is, and labels of the digital side:
whose block of which matrix it is, its scale, its calibration. The worker that maps a record may
be a hostile guest's: whoever else reads it bounds what is there.

Wear is counted per cell: one more for each time that it was programmed, whatever that took in
pulses. Rows are counted too, by all and by the present owner: what write drivers write at once is a
row, and it counts when any of its cells is written. Budgets are in rows.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from host_daemon.devices.nvm.analog.cells import STUCK_HIGH, STUCK_LOW, Cells, WriteReport, blank
from host_daemon.devices.nvm.parameters import PAIR, NvmParameters, Tile
from vaccel.errors import InvalidArgument

MAGIC: Final = b"VACCELNV"
# 2 counts wear of each cell, 1 did of each row.
VERSION: Final = 2
PAGE: Final = 4096
# Times at which cells of a tile were written, of which each cell keeps the index of one.
_TIMES: Final = 64
# A tile with a larger share of stuck cells is not used.
MOST_STUCK: Final = 0.05
BLANK: Final = 0  # erased, or never used
WRITING: Final = 1  # the worker ended while it wrote: what is there is not whole
WRITTEN: Final = 2


@lru_cache(maxsize=16)
def record_type(slices: int, rows: int, columns: int) -> np.dtype[Any]:
    """The record of a tile, little-endian and packed."""
    shape = (PAIR, slices, rows, columns)
    return np.dtype(
        [
            ("magic", "S8"),
            ("version", "<u4"),
            ("state", "<u4"),
            ("geometry", "<u4", (3,)),
            ("used", "<u4", (2,)),
            ("times", "<u4"),
            ("label", "V32"),  # SHA-256 of the block's name
            ("content", "V32"),  # SHA-256 of its weights
            ("clipped", "<u8"),
            ("missed", "<u8"),
            ("factor", "<f8"),
            ("calibrated_at", "<f8"),
            ("written_at", "<f8", (_TIMES,)),
            ("owner_writes", "<u8"),
            ("writes", "<u8"),
            ("worst", "<u8"),
            ("scale", "<f4", (columns,)),
            ("wear", "<u4", shape),
            ("stuck", "i1", shape),
            ("time", "u1", shape),
            ("target", "<f4", shape),
            ("conductance", "<f4", shape),
            ("kept", "<f4", shape),
        ]
    )


def record_bytes(tile: Tile) -> int:
    """Bytes of a tile in the file, in whole pages."""
    size = record_type(tile.slices, tile.rows, tile.columns).itemsize
    return math.ceil(size / PAGE) * PAGE


@dataclass(frozen=True)
class TileRecord:
    """One tile. ``record`` is a view of the file: writing to it is what a card's cells keep."""

    number: int
    tile: Tile
    record: NDArray[np.void]

    @classmethod
    def of(cls, cells: memoryview, number: int, own: NvmParameters) -> TileRecord:
        """Tile ``number`` of mapped cells."""
        kind = record_type(own.tile.slices, own.tile.rows, own.tile.columns)
        start = number * record_bytes(own.tile)
        view = np.frombuffer(cells[start : start + kind.itemsize], kind)
        return cls(number, own.tile, view)

    # --- plain fields -----------------------------------------------------------------------

    def get(self, field: str) -> Any:
        """A field as a Python value or a view."""
        value = self.record[field][0]
        return value.item() if np.ndim(value) == 0 and value.dtype.kind in "uif" else value

    def put(self, **fields: Any) -> None:
        """Set fields."""
        for field, value in fields.items():
            self.record[field][0] = value

    @property
    def formatted(self) -> bool:
        """Whether anybody has used it yet."""
        return bytes(self.get("magic")) == MAGIC

    @cached_property
    def _label(self) -> str:
        return f"tile {self.number}"

    def check(self, where: str) -> None:
        """Raise InvalidArgument naming field and value where the record is another card's."""
        if not self.formatted:
            return
        geometry = [self.tile.slices, self.tile.rows, self.tile.columns]
        found = [int(each) for each in self.get("geometry")]
        for field, value, wanted in (
            ("version", self.get("version"), VERSION),
            ("geometry", found, geometry),
        ):
            if value != wanted:
                raise InvalidArgument(
                    f"cells of {where}, {self._label}: {field} = {value}, but this card has"
                    f" {wanted}",
                    hint="these cells are of another card, or written by another vaccel",
                )

    def format(self, rng: np.random.Generator) -> None:
        """A tile as it leaves the factory: at the lowest conductance, some cells stuck."""
        shape = self.record["stuck"].shape[1:]
        stuck = np.zeros(shape, np.int8)
        if self.tile.stuck:
            faults = rng.random(shape) < self.tile.stuck
            stuck[faults] = rng.choice([STUCK_LOW, STUCK_HIGH], int(faults.sum()))
        cells = blank(shape, self.tile.preset, stuck)
        self.put(
            magic=MAGIC,
            version=VERSION,
            geometry=(self.tile.slices, self.tile.rows, self.tile.columns),
            stuck=stuck,
            target=cells.target,
            conductance=cells.conductance,
            kept=cells.kept,
            time=0,
            times=1,
            state=BLANK,
            factor=1.0,
        )
        self.__dict__.pop("stuck_share", None)

    # --- cells ------------------------------------------------------------------------------

    def cells(self, rows: int, columns: int) -> Cells:
        """The cells of its first rows and columns, as copies."""
        part = np.s_[:, :, :rows, :columns]
        written = self.get("written_at")[self.record["time"][0][part] % _TIMES]
        first = written.flat[0] if written.size else 0.0
        if (written == first).all():
            written = np.float64(first)
        return Cells(
            target=self.record["target"][0][part].copy(),
            conductance=self.record["conductance"][0][part].copy(),
            kept=self.record["kept"][0][part].copy(),
            stuck=self.record["stuck"][0][part].copy(),
            written=np.asarray(written, np.float64),
        )

    @property
    def oldest(self) -> float:
        """When the weights in use were written that are there longest, on the card's clock."""
        rows, columns = (int(each) for each in self.get("used"))
        part = np.s_[:, :, :rows, :columns]
        held = self.record["target"][0][part] > self.tile.preset.minimum
        times = np.unique(self.record["time"][0][part][held]) % _TIMES
        return float(self.get("written_at")[times].min()) if times.size else 0.0

    def full_of_times(self, now: float) -> bool:
        """Whether another time of writing has no place: then all cells are to be written."""
        times = int(self.get("times"))
        known = self.get("written_at")[:times]
        return times >= _TIMES and not bool((known == now).any())

    def write(self, cells: Cells, report: WriteReport, now: float) -> int:
        """Keep what programming left, and count wear. Returns the rows that were written."""
        rows, columns = cells.shape[-2:]
        part = np.s_[:, :, :rows, :columns]
        wrote = report.pulses > 0
        for field in ("target", "conductance", "kept"):
            self.record[field][0][part] = getattr(cells, field)
        place = self._time(now)
        self.record["time"][0][part][wrote] = place
        wear = self.record["wear"][0][part]
        wear += wrote
        count = int(np.count_nonzero(wrote.any(axis=(0, 1, 3))))
        self.put(
            writes=self.get("writes") + count,
            owner_writes=self.get("owner_writes") + count,
            worst=max(self.get("worst"), int(wear.max(initial=0))),
            missed=report.missed,
        )
        return count

    def hold_stuck(self) -> None:
        """Let stuck cells conduct as they do, whatever was put into them."""
        stuck, conductance = self.record["stuck"], self.record["conductance"]
        conductance[stuck == STUCK_LOW] = self.tile.preset.minimum
        conductance[stuck == STUCK_HIGH] = self.tile.preset.maximum

    def _time(self, now: float) -> int:
        times = int(self.get("times"))
        known = self.record["written_at"][0]
        same = np.flatnonzero(known[:times] == now)
        if same.size:
            return int(same[0])
        if times >= _TIMES:
            # The caller wrote every cell that counts (see ``full_of_times``).
            self.record["time"] = 0
            times = 0
        known[times] = now
        self.put(times=times + 1)
        return times

    def forget(self) -> None:
        """Clear all labels of the digital side: nothing says what the cells held."""
        for field in ("used", "label", "content", "clipped", "missed", "calibrated_at"):
            self.record[field] = np.zeros((), self.record.dtype[field])
        self.put(factor=1.0, scale=0.0, state=BLANK)

    # --- wear -------------------------------------------------------------------------------

    @property
    def wear(self) -> float:
        """Writes of the most written cell over the endurance of one."""
        return float(self.get("worst")) / self.tile.endurance

    @property
    def worn_out(self) -> bool:
        """Whether no write of it can be trusted any more."""
        return self.wear >= 1

    @cached_property
    def stuck_share(self) -> float:
        """Share of its cells that obey no write."""
        stuck = self.record["stuck"][0]
        return float(np.count_nonzero(stuck)) / float(stuck.size)

    @property
    def fit(self) -> bool:
        """Whether it can be written, and keeps what is written."""
        return not self.worn_out and self.stuck_share <= MOST_STUCK


def sha256(*parts: bytes) -> bytes:
    """A digest of parts, each with its length before it."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


def generator(seed: bytes, *parts: bytes) -> np.random.Generator:
    """A stream of chance of its own, from the VF's seed and what it is for."""
    key = int.from_bytes(sha256(seed, *parts), "little")
    return np.random.Generator(np.random.SFC64(key))
