"""Change of hands: the cells of a tile are reset and read back before anybody else gets them.

Every cell of a tile gets a reset, those that were never moved too: else the ones that were would
show by it. A reset is a write: it wears the row, takes time and energy, and lands near the lowest
conductance wherever it came from. Then every cell is read, and
those that are still high are reset again. What the digital side kept (scales, names, calibration)
is cleared too. Wear stays, as in the metal.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from host_daemon.core.lasting import Erasure
from host_daemon.devices.nvm.analog.cells import HEALTHY, STUCK_HIGH, Cells, program
from host_daemon.devices.nvm.parameters import NvmParameters
from host_daemon.devices.nvm.store import TileRecord, generator
from vaccel.errors import HostFault
from vaccel.model import Array

# A reset that keeps missing this often is a broken tile.
_PASSES: Final = 8
# Cells may stay this many deviations of programming above the lowest conductance.
_DEVIATIONS: Final = 6.0


def erase(cells: memoryview, own: NvmParameters, seed: bytes, tile: int = 0) -> Erasure:
    """Clear one tile of mapped cells and verify it. Raises HostFault naming what does not clear."""
    record = TileRecord.of(cells, tile, own)
    rng = generator(seed, b"erase", tile.to_bytes(4, "little"))
    if not record.formatted:
        _zero(record)
        record.format(rng)
        return Erasure(0, 0, 0.0, 0.0, 0)
    shape = (own.tile.rows, own.tile.columns)
    before = _plain(record.cells(*shape), own)
    low = np.full(before.shape, own.tile.preset.minimum, np.float32)
    ceiling = _ceiling(own)
    written, seconds, joules = 0, 0.0, 0.0
    left = before.stuck == HEALTHY
    owner = int(record.get("owner_writes"))
    passes = 0
    while left.any():
        if passes == _PASSES:
            raise HostFault(
                f"tile {tile}: {int(left.sum())} cells are above {ceiling:.3g} uS after"
                f" {_PASSES} resets",
                hint="take the card out of service: these cells cannot be given to anybody",
            )
        after, report = program(low, own.tile.preset, rng, 0.0, before, left)
        record.write(after, report, 0.0)
        written += report.cells
        seconds, joules = seconds + report.seconds, joules + report.joules
        before = _plain(record.cells(*shape), own)
        left = (before.conductance > ceiling) & (before.stuck == HEALTHY)
        passes += 1
    _clear_stuck(record, own)
    record.forget()
    record.record["time"] = 0
    record.put(times=1, owner_writes=0)
    record.record["written_at"] = 0.0
    return Erasure(written, passes, seconds, joules, owner)


def _clear_stuck(record: TileRecord, own: NvmParameters) -> None:
    """No pulse moves a stuck cell, but the file also has what it was meant to be."""
    stuck = record.record["stuck"] != HEALTHY
    high = record.record["stuck"] == STUCK_HIGH
    preset = own.tile.preset
    record.record["target"][stuck] = preset.minimum
    record.record["kept"][stuck] = 0
    record.record["conductance"][stuck] = preset.minimum
    record.record["conductance"][high] = preset.maximum


def _ceiling(own: NvmParameters) -> float:
    """What verifies as cleared, in microsiemens."""
    preset = own.tile.preset
    low = np.full(1, preset.minimum, np.float32)
    spread = float(preset.programming.sigma(low)[0])
    return preset.minimum + max(_DEVIATIONS * spread, 0.01 * preset.span)


def _plain(cells: Cells, own: NvmParameters) -> Cells:
    """Cells of a file that a hostile worker may have written: numbers, within physics."""
    preset = own.tile.preset

    def bounded(values: Array, least: float, most: float) -> Array:
        plain = np.nan_to_num(values, nan=most, posinf=most, neginf=most)
        return np.clip(plain, np.float32(least), np.float32(most))

    top = preset.maximum + preset.span
    return Cells(
        target=bounded(cells.target, preset.minimum, top),
        conductance=bounded(cells.conductance, 0.0, top),
        kept=bounded(cells.kept, -1e6, 1e6),
        stuck=np.clip(cells.stuck, 0, 2),
        written=np.zeros((), np.float64),
    )


def _zero(record: TileRecord) -> None:
    record.record[...] = np.zeros((), record.record.dtype)
