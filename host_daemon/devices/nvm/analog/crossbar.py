"""Crossbar arrays: a matrix of weights in pairs of cells, and products with it.

Weights are (inputs, outputs) float32: an input is a row, an output a column. A weight w is
stored as the difference of two cells, of which one is at the lowest conductance:
``w / scale = (g+ - g-) / (maximum - minimum)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from host_daemon.devices.nvm.analog.cells import Cells, Preset, WriteReport
from host_daemon.devices.nvm.analog.converters import Periphery, ReadCounts
from vaccel.model import Array


class Scaling(StrEnum):
    """Which weights share a scale, their largest absolute value."""

    ARRAY = "array"
    COLUMN = "column"


@dataclass(frozen=True, slots=True)
class Mapping:
    """How weights become conductances.

    ``levels`` per cell above the lowest (0: continuous). With ``slices`` > 1 a weight's magnitude
    is written in base ``levels + 1``, one digit per pair of cells, highest first, each read by
    converters of its own and summed in digital. ``limit`` fixes the scale: weights beyond it are
    clipped and counted; None takes the largest weight.
    """

    scaling: Scaling = Scaling.ARRAY
    slices: int = 1
    levels: int = 0
    limit: float | None = None


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
    scale: Array
    clipped: int = 0

    @classmethod
    def program(
        cls,
        weights: Array,
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
        raise NotImplementedError

    def at(self, now: float, rng: np.random.Generator) -> Snapshot:
        """The array as it reads at a time: drift, and one draw of the slow read noise.

        O(cells): keep it while the clock stands. Raises InvalidArgument where the clock is
        before the last write.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Snapshot:
    """An array at a moment; products with it are one matrix product each.

    ``weights`` (slices, rows, columns) float32 are normalised: what the cells say, before scales.
    """

    array: CrossbarArray
    weights: Array

    def mvm(self, x: Array, rng: np.random.Generator) -> tuple[Array, ReadCounts]:
        """Products of vectors (batch, rows) with the matrix: (batch, columns) float32.

        ``rng`` serves the noise of this read. Raises InvalidArgument where ``x`` is not finite
        or of another width.
        """
        raise NotImplementedError
