"""Crossbar arrays: a matrix of weights in pairs of cells.

Weights are (inputs, outputs) float32: an input is a row, an output a column. A weight w is
stored as the difference of two cells, of which one is at the lowest conductance:
``w / scale = (g+ - g-) / (maximum - minimum)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from host_daemon.devices.nvm.analog.cells import (
    Cells,
    Preset,
    WriteReport,
    ages,
    blank,
    drifted,
    program,
    read_noise,
)
from host_daemon.devices.nvm.analog.converters import Periphery
from host_daemon.devices.nvm.analog.laws import White
from host_daemon.devices.nvm.analog.reals import Reals
from host_daemon.devices.nvm.analog.snapshot import Snapshot
from host_daemon.devices.nvm.analog.wires import effective
from vaccel.errors import InvalidArgument


class Scaling(StrEnum):
    """Which weights share a scale, their largest absolute value."""

    ARRAY = "array"
    COLUMN = "column"


class Pairs(StrEnum):
    """Of what the laws of age and noise hold."""

    CELLS = "cells"  # of each cell of a pair
    NET = "net"  # of the difference, as if one cell held it and the other were empty


@dataclass(frozen=True, slots=True)
class Mapping:
    """How weights become conductances.

    ``levels`` are the steps of a cell above the lowest (0: continuous). With ``slices`` > 1 a
    weight's magnitude is written in base ``levels + 1``, one digit per pair of cells, highest
    first, each read by converters of its own and summed in digital. ``limit`` fixes the scale:
    weights beyond it are clipped and counted; None takes the largest weight.
    """

    scaling: Scaling = Scaling.ARRAY
    slices: int = 1
    levels: int = 0
    limit: float | None = None
    pairs: Pairs = Pairs.CELLS

    def __post_init__(self) -> None:
        if not 1 <= self.slices <= 16:
            raise InvalidArgument(f"slices = {self.slices}", hint="1 to 16 pairs per weight")
        if not 0 <= self.levels < 2**16 or (self.slices > 1 and self.levels == 0):
            raise InvalidArgument(
                f"levels = {self.levels} of {self.slices} slices",
                hint="cells of several slices need 1 to 65535 levels",
            )
        if (self.levels + 1) ** self.slices > 2**32:
            raise InvalidArgument(
                f"{self.slices} slices of {self.levels} levels", hint="32 bits a weight at most"
            )
        if self.limit is not None and not 0 < self.limit < float("inf"):
            raise InvalidArgument(f"limit = {self.limit}", hint="a positive number, or none")

    @property
    def shares(self) -> Reals:
        """What an output of each slice counts, float32 (slices,)."""
        if self.slices == 1:
            return np.ones(1, np.float32)
        base = self.levels + 1
        powers = float(base) ** np.arange(self.slices - 1, -1, -1)
        return (self.levels * powers / (float(base) ** self.slices - 1)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class CrossbarArray:
    """A programmed array: what persists, and how to read it.

    ``cells`` have the shape (2, slices, rows, columns): positive and negative. ``scale`` is
    float32 of shape (columns,). ``clipped`` counts weights beyond the range.
    """

    preset: Preset
    periphery: Periphery
    mapping: Mapping
    cells: Cells
    scale: Reals
    clipped: int = 0

    @classmethod
    def program(
        cls,
        weights: Reals,
        preset: Preset,
        periphery: Periphery,
        mapping: Mapping,
        rng: np.random.Generator,
        now: float = 0.0,
        *,
        name: str = "weights",
        cells: Cells | None = None,
        only_changed: bool = False,
    ) -> tuple[CrossbarArray, WriteReport]:
        """Write a matrix (rows, columns) into cells.

        ``cells`` are those of the array before (blank where None), kept where stuck; with
        ``only_changed`` those whose target stays are not written. Raises InvalidArgument naming
        the tensor ``name`` and the index of a weight that is not finite.
        """
        weights = finite(weights, name)
        scale, clipped = _scale(weights, mapping)
        target = targets(weights / scale, preset, mapping)
        before = cells if cells is not None else blank(target.shape, preset)
        changed = None
        if only_changed and cells is not None:
            changed = np.abs(target - before.target) > np.float32(1e-6 * preset.span)
        after, report = program(target, preset, rng, now, before, changed)
        return cls(preset, periphery, mapping, after, scale, clipped), report

    def at(
        self, now: float, rng: np.random.Generator | None, *, frozen: bool = False
    ) -> Snapshot:
        """The array as it reads at a time: drift, and one draw of the slow read noise.

        White noise is new in each product, or drawn here once if it is ``frozen``. O(cells): keep
        it while the clock stands. Without a generator there is no read noise. Raises
        InvalidArgument where the clock is before the last write.
        """
        age = ages(self.cells, now)
        if self.mapping.pairs is Pairs.NET:
            return self._snapshot(_net(self.cells, self.preset, age, rng))
        present = drifted(self.cells, self.preset, age)
        if rng is None:
            return self._snapshot(present)
        if isinstance(self.preset.fluctuation, White) and not frozen:
            return self._snapshot(present, self.preset.fluctuation.spread.sigma(present))
        present = read_noise(present, self.cells.conductance, self.preset, age, rng)
        return self._snapshot(present)

    def fresh(self) -> Snapshot:
        """The array as programmed: no time has passed, and reading adds nothing."""
        return self._snapshot(self.cells.conductance)

    def _snapshot(self, present: Reals, sigma: Reals | None = None) -> Snapshot:
        """``sigma`` is what each read adds to each cell, in microsiemens."""
        seen, load = _wired(present, self.periphery)
        if sigma is not None and seen is not present:
            # What a cell adds takes the same wires as its current.
            sigma = sigma * np.divide(seen, present, out=np.ones_like(seen), where=present > 0)
        present = seen
        weights = (present[0] - present[1]) * np.float32(1 / self.preset.span)
        variance = None
        if sigma is not None:
            variance = (sigma[0] ** 2 + sigma[1] ** 2) * np.float32(1 / self.preset.span**2)
        shares, scale = self.mapping.shares, self.scale
        return Snapshot(weights, shares, scale, self.periphery, load, variance)


def _wired(present: Reals, edge: Periphery) -> tuple[Reals, float]:
    """Conductances (2, slices, rows, columns) as they read through wires, and the largest load."""
    if not edge.wire_ohms:
        return present, 0.0
    siemens = present * np.float64(1e-6)
    through, load = effective(siemens, edge.wire_ohms)
    if edge.exact_wires:
        from host_daemon.devices.nvm.analog.nodal import NodalSolver

        parts = siemens.reshape(-1, *siemens.shape[2:])
        solved = [NodalSolver(each, edge.wire_ohms).effective() for each in parts]
        through, load = np.stack(solved).reshape(siemens.shape), 0.0
    return np.asarray(through * 1e6, np.float32), load


def finite(weights: Reals, name: str) -> Reals:
    """A matrix as float32. Raises InvalidArgument naming it and what is wrong with it."""
    if weights.ndim != 2 or 0 in weights.shape:
        raise InvalidArgument(f"tensor {name!r} has shape {weights.shape}", hint="a matrix")
    matrix = np.ascontiguousarray(weights, np.float32)
    bad = ~np.isfinite(matrix)
    if bad.any():
        row, column = (int(each) for each in np.argwhere(bad)[0])
        raise InvalidArgument(
            f"tensor {name!r}[{row}, {column}] = {matrix[row, column]} has no conductance",
            hint=f"{int(bad.sum())} of {matrix.size} weights are not finite numbers",
        )
    return matrix


def _scale(weights: Reals, mapping: Mapping) -> tuple[Reals, int]:
    if mapping.limit is not None:
        limit = np.float32(mapping.limit)
        scale = np.full(weights.shape[1], limit, np.float32)
        return scale, int(np.count_nonzero(np.abs(weights) > limit))
    if mapping.scaling is Scaling.COLUMN:
        scale = np.abs(weights).max(axis=0)
    else:
        scale = np.full(weights.shape[1], np.abs(weights).max(), np.float32)
    return np.where(scale > 0, scale, np.float32(1)).astype(np.float32), 0


def targets(normal: Reals, preset: Preset, mapping: Mapping) -> Reals:
    """Target conductances (2, slices, rows, columns) of weights within +-1, beyond it clipped."""
    size = np.minimum(np.abs(normal), np.float32(1))
    if mapping.levels == 0:
        digits = size[None]
    else:
        base = mapping.levels + 1
        rest = np.rint(size.astype(np.float64) * (float(base) ** mapping.slices - 1))
        parts = []
        for place in range(mapping.slices - 1, -1, -1):
            digit, rest = np.divmod(rest, float(base) ** place)
            parts.append(digit / mapping.levels)
        digits = np.stack(parts).astype(np.float32)
    positive = np.where(normal > 0, digits, np.float32(0))
    negative = np.where(normal < 0, digits, np.float32(0))
    pair = np.stack([positive, negative])
    pair *= np.float32(preset.span)
    pair += np.float32(preset.minimum)
    return pair


def _net(
    cells: Cells, preset: Preset, age: Reals, rng: np.random.Generator | None
) -> Reals:
    """Conductances (2, slices, rows, columns) where the laws hold of the difference of a pair.

    As aihwkit does: the largest difference is taken for the largest conductance.
    """
    difference = cells.conductance[0] - cells.conductance[1]
    size = np.abs(difference)
    ratio = np.float32(preset.maximum) / size.max(initial=np.float32(1e-7))
    size *= ratio
    target, kept = cells.target[0], cells.kept[0]
    if preset.drift is not None:
        sign = difference >= 0
        target = np.where(sign, target, cells.target[1])
        kept = np.where(sign, kept, cells.kept[1])
    stuck = np.zeros(size.shape, np.int8)
    present = drifted(Cells(target, size, kept, stuck, cells.written), preset, age)
    if rng is not None:
        present = read_noise(present, size, preset, age, rng)
    signed = np.copysign(present / ratio, difference)
    pair = np.empty((2, *size.shape), np.float32)
    np.maximum(signed, 0, out=pair[0])
    np.maximum(-signed, 0, out=pair[1])
    return pair
