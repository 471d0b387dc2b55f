"""Memory cells: programming them with write-verify, their age, what reading them gives.

A block of cells is a few arrays of one shape, whatever it is; an array of crossbars uses
(polarity, slice, row, column). Conductances are float32 microsiemens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from host_daemon.devices.nvm.analog.laws import Drift, Fluctuation, Spread
from host_daemon.devices.nvm.analog.normals import normals
from host_daemon.devices.nvm.analog.reals import Reals
from vaccel.errors import InvalidArgument

# Values of ``Cells.stuck``.
HEALTHY: Final = 0
STUCK_LOW: Final = 1
STUCK_HIGH: Final = 2


@dataclass(frozen=True, slots=True)
class WriteVerify:
    """How cells are programmed: pulses, each followed by a read, until the error is small enough.

    The first pulse misses by ``first_sigma`` of the range, each further one leaves ``shrink`` of
    the error that is left. ``pulse_seconds`` and ``read_seconds`` are of one pulse and one verify,
    of which a row's cells take theirs at once; joules are of one cell.
    """

    first_sigma: float
    shrink: float
    most_pulses: int
    pulse_seconds: float
    read_seconds: float
    pulse_joules: float
    read_joules: float


@dataclass(frozen=True, slots=True)
class Preset:
    """A cell technology. ``sources`` says of each field where its value is from."""

    name: str
    minimum: float
    maximum: float
    programming: Spread
    drift: Drift | None
    fluctuation: Fluctuation | None
    write: WriteVerify
    endurance_writes: float
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def span(self) -> float:
        """The usable range of conductances, in microsiemens."""
        return self.maximum - self.minimum


@dataclass(frozen=True, slots=True)
class Cells:
    """What persists of a block of cells, without power too. Arrays are not to be written to.

    ``target`` and ``conductance`` in microsiemens, ``kept`` what the drift law keeps of each cell,
    ``stuck`` as named above (int8), ``written`` the clock in seconds when each was programmed,
    float64: one number where that is the same for all.
    """

    target: Reals
    conductance: Reals
    kept: Reals
    stuck: Reals
    written: Reals

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all arrays but ``written``, which may be a single number."""
        return self.target.shape


@dataclass(frozen=True, slots=True)
class WriteReport:
    """What programming took. ``pulses`` is per cell, uint16, zero where nothing was written.

    ``missed`` counts cells that would not verify: stuck ones that do not hold their target, those
    among them, too, that were not written now because it is the same as before.
    """

    pulses: Reals
    cells: int
    missed: int
    seconds: float
    joules: float


def blank(shape: tuple[int, ...], preset: Preset, stuck: Reals | None = None) -> Cells:
    """Cells at the lowest conductance, never written. ``stuck`` as in ``Cells``, copied."""
    low = np.full(shape, preset.minimum, np.float32)
    faults = np.zeros(shape, np.int8) if stuck is None else np.array(stuck, np.int8)
    if faults.shape != shape:
        raise InvalidArgument(f"stuck has shape {faults.shape}, the cells {shape}")
    kept = np.zeros(shape, np.float32)
    return Cells(low, _held(low, faults, preset), kept, faults, np.zeros((), np.float64))


def _held(conductance: Reals, stuck: Reals, preset: Preset) -> Reals:
    if not stuck.any():
        return conductance
    held = np.where(stuck == STUCK_LOW, np.float32(preset.minimum), conductance)
    return np.where(stuck == STUCK_HIGH, np.float32(preset.maximum), held)


def program(
    target: Reals,
    preset: Preset,
    rng: np.random.Generator,
    now: float,
    cells: Cells | None = None,
    changed: Reals | None = None,
) -> tuple[Cells, WriteReport]:
    """Write-verify cells to target conductances.

    Args:
        target: microsiemens, float32, of any shape.
        preset: the technology.
        rng: chance.
        now: the clock in seconds, kept as the time of writing.
        cells: what was there before; fresh cells where None.
        changed: bool, of the same shape: which to write. All where None.

    Returns:
        The cells as they are after it, and what it took. Stuck cells stay where they are.

    """
    before = cells if cells is not None else blank(target.shape, preset)
    if before.shape != target.shape:
        raise InvalidArgument(f"target has shape {target.shape}, the cells {before.shape}")
    error = normals(rng, target.shape)
    sigma = preset.programming.sigma(target)
    conductance = np.maximum(target + sigma * error, 0)
    kept = np.zeros_like(target)
    if preset.drift is not None:
        kept = preset.drift.draw(target, error, rng)
    pulses = _pulses(sigma, before.stuck, preset, rng)
    written = np.full(target.shape, True) if changed is None else changed
    fresh = written & (before.stuck == HEALTHY)
    after = Cells(
        target=np.where(written, target, before.target),
        conductance=np.where(fresh, conductance, before.conductance),
        kept=np.where(fresh, kept, before.kept),
        stuck=before.stuck,
        written=np.asarray(now, np.float64)
        if changed is None
        else np.where(written, now, np.broadcast_to(before.written, target.shape)),
    )
    pulses[~written] = 0
    return after, _report(pulses, _missed(after, preset), preset.write)


def _missed(cells: Cells, preset: Preset) -> Reals:
    """Cells that conduct otherwise than they should, and always will."""
    stuck = np.asarray(cells.stuck != HEALTHY)
    if not stuck.any():
        return stuck
    off = np.abs(cells.conductance - cells.target)
    return np.asarray(stuck & (off > _accepted(preset.programming.sigma(cells.target), preset)))


def _accepted(sigma: Reals, preset: Preset) -> Reals:
    """How far off a cell verifies."""
    return np.maximum(sigma, np.float32(preset.span * 1e-4))


def _pulses(
    sigma: Reals, stuck: Reals, preset: Preset, rng: np.random.Generator
) -> Reals:
    """Pulses of each cell until what is left of the first error is below its final sigma."""
    write = preset.write
    left = np.abs(normals(rng, sigma.shape))
    left *= np.float32(write.first_sigma * preset.span)
    floor = _accepted(sigma, preset)
    rounds = np.ceil(np.log(np.maximum(left / floor, 1)) / np.float32(-math.log(write.shrink)))
    pulses = np.minimum(1 + rounds, write.most_pulses).astype(np.uint16)
    pulses[stuck != HEALTHY] = write.most_pulses
    return np.asarray(pulses)


def _report(pulses: Reals, missed: Reals, write: WriteVerify) -> WriteReport:
    """Rows are written one after another, a row's cells at once: the slowest decides."""
    rows = pulses.max(axis=-1) if pulses.ndim else pulses
    total = int(pulses.sum(dtype=np.int64))
    return WriteReport(
        pulses=pulses,
        cells=int(np.count_nonzero(pulses)),
        missed=int(np.count_nonzero(missed)),
        seconds=int(rows.sum(dtype=np.int64)) * (write.pulse_seconds + write.read_seconds),
        joules=total * (write.pulse_joules + write.read_joules),
    )


def ages(cells: Cells, now: float) -> Reals:
    """Seconds since each cell was written, shaped as ``cells.written``.

    Raises InvalidArgument where the clock is before a write, or no number.
    """
    if not math.isfinite(now):
        raise InvalidArgument(f"clock = {now} s is no time")
    passed = now - cells.written
    if np.any(passed < 0):
        raise InvalidArgument(
            f"clock = {now} s is {-float(passed.min())} s before the cells were written",
            hint="the clock of a card never goes backwards",
        )
    return np.asarray(passed, np.float64)


def drifted(cells: Cells, preset: Preset, age: Reals | float) -> Reals:
    """Mean conductances at an age, float32 microsiemens, never negative; stuck cells as held."""
    if preset.drift is None:
        return cells.conductance
    moved = preset.drift.at(cells.target, cells.conductance, cells.kept, age)
    return _held(np.maximum(moved, 0, out=moved), cells.stuck, preset)


def read_noise(
    conductance: Reals, programmed: Reals, preset: Preset, age: Reals | float,
    rng: np.random.Generator,
) -> Reals:
    """Conductances as one read sees them: new noise around ``conductance``, never negative."""
    if preset.fluctuation is None:
        return conductance
    noise = normals(rng, conductance.shape)
    noise *= preset.fluctuation.sigma(conductance, programmed, age)
    noise += conductance
    return np.maximum(noise, 0, out=noise)
