"""An array at a moment: products with it are one matrix product and some work on the edges."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from host_daemon.devices.nvm.analog.converters import InputRange, Periphery, ReadCounts
from host_daemon.devices.nvm.analog.normals import normals
from host_daemon.devices.nvm.analog.reals import Reals
from host_daemon.devices.nvm.analog.wires import VALID_LOAD, column_drop
from vaccel.errors import InvalidArgument

# Vectors that are worked on at once, so that what lies between two passes stays in a cache.
_CHUNK: Final = 256
# Of an input: what is below has no reciprocal in float32, what is above no double.
_SMALLEST: Final = np.float32(2**-126)
_LARGEST: Final = np.float32(2.0**126)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the cells of an array say at a time.

    ``weights`` (slices, rows, columns) float32 are normalised; ``shares`` float32 (slices,) is
    what each slice counts in the sum; ``scale`` float32 (columns,) what an output of 1 stands for.
    """

    weights: Reals
    shares: Reals
    scale: Reals
    periphery: Periphery
    load: float = 0.0
    variance: Reals | None = None
    # What inputs are multiplied with, and what an output of 1 is after that.
    _matrix: Reals = field(init=False, repr=False)
    _unit: Reals = field(init=False, repr=False)
    _plain: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        edge = self.periphery
        plain = edge.passes_all and self.variance is None
        if plain:
            matrix = np.einsum("src,s->rc", self.weights, self.shares) * self.scale
        else:
            gain = edge.dac.unit if edge.dac else 1.0
            gain /= edge.adc.unit if edge.adc else 1.0
            matrix = self._normal() * np.float32(gain)
        unit = self.scale * np.float32(edge.adc.unit if edge.adc else 1.0)
        if (unit == unit[0]).all():
            # A row to multiply with takes NumPy three times as long as a number.
            unit = unit[:1]
        object.__setattr__(self, "_matrix", np.ascontiguousarray(matrix))
        object.__setattr__(self, "_unit", unit)
        object.__setattr__(self, "_plain", plain)

    @property
    def wires_valid(self) -> bool:
        """Whether the closed form of the wires is in its range."""
        return self.load <= VALID_LOAD

    def mvm(self, x: Reals, rng: np.random.Generator) -> tuple[Reals, ReadCounts]:
        """Products of vectors (batch, rows) with the matrix: (batch, columns) float32.

        ``rng`` serves the noise of this read. Raises InvalidArgument where ``x`` is not finite
        or of another width.
        """
        _, rows, columns = self.weights.shape
        if x.ndim != 2 or x.shape[1] != rows:
            raise InvalidArgument(f"inputs have shape {x.shape}, the array has {rows} rows")
        x = np.asarray(x, np.float32)
        if self._plain:
            _refuse_unless(np.isfinite(x))
            return x @ self._matrix, ReadCounts(len(x), len(x))
        out = np.empty((len(x), columns), np.float32)
        counts = ReadCounts(len(x))
        for start in range(0, len(x), _CHUNK):
            part = x[start : start + _CHUNK]
            largest = _largest(part)
            _refuse_unless(np.isfinite(largest), start)
            counts += self._chunk(part, largest, out[start : start + _CHUNK], rng)
        return out, counts

    def _chunk(
        self, x: Reals, largest: Reals, out: Reals, rng: np.random.Generator
    ) -> ReadCounts:
        edge = self.periphery
        clipped = 0
        if edge.input_range is InputRange.MAXIMUM:
            span = np.where(largest > _SMALLEST, largest, np.float32(1))
        else:
            span = np.full(len(x), edge.fixed_range, np.float32)
            if (largest > edge.fixed_range).any():
                clipped = int(np.count_nonzero(np.abs(x) > edge.fixed_range))
                x = np.clip(x, -edge.fixed_range, edge.fixed_range)
        steps, over = self._read(x, span, rng)
        passes = len(x)
        if edge.bound_management and over.any():
            passes += self._repeat(x, span, steps, over, rng)
        self._sum(steps, span, out)
        return ReadCounts(0, passes, clipped, int(over.sum(dtype=np.int64)))

    def _read(
        self, x: Reals, span: Reals, rng: np.random.Generator
    ) -> tuple[Reals, Reals]:
        """One analog read: outputs in ADC steps, and how many of each vector saturate."""
        edge = self.periphery
        driven = x * (1 / span)[:, None]
        if edge.dac is not None and edge.dac.step:
            # In two steps, as aihwkit: inputs half-way between levels then fall as there.
            driven *= np.float32(1 / edge.dac.step)
            np.rint(driven, out=driven)
        steps = driven @ self._matrix
        if edge.drop:
            self._drop(driven, steps)
        self._add_noise(driven, steps, rng)
        if edge.adc is None:
            return steps, np.zeros(len(x), np.int64)
        if edge.adc.step:
            np.rint(steps, out=steps)
        return steps, self._saturate(steps, np.float32(edge.adc.top))

    def _add_noise(self, driven: Reals, steps: Reals, rng: np.random.Generator) -> None:
        """Noise of this read: of the weights, referred to the outputs, and of the outputs."""
        edge = self.periphery
        unit = edge.dac.unit if edge.dac else 1.0
        step = edge.adc.unit if edge.adc else 1.0
        variances = []
        if edge.weight_noise:
            variances.append(np.abs(self._normal()) * np.float32(edge.weight_noise**2))
        if self.variance is not None:
            variances.append(self._flat(self.variance))
        for variance in variances:
            power = (driven * driven) @ variance
            noise = normals(rng, steps.shape, unit / step)
            noise *= np.sqrt(power, out=power)
            steps += noise
        if edge.out_noise:
            steps += normals(rng, steps.shape, edge.out_noise / step)

    @staticmethod
    def _saturate(steps: Reals, top: np.float32) -> Reals:
        over = np.zeros(len(steps), np.int64)
        # Of the whole first: row by row costs more than the product of a small array.
        if steps.max(initial=0) > top or steps.min(initial=0) < -top:
            over[:] = np.count_nonzero(np.abs(steps) > top, axis=1)
            np.clip(steps, -top, top, out=steps)
        return over

    def _drop(self, driven: Reals, steps: Reals) -> None:
        edge = self.periphery
        unit = edge.dac.unit if edge.dac else 1.0
        loss = column_drop(driven * np.float32(unit), self._normal(), edge.drop_ratio)
        loss *= np.float32(edge.drop / (edge.adc.unit if edge.adc else 1.0))
        steps -= loss

    def _normal(self) -> Reals:
        return self._flat(self.weights)

    @staticmethod
    def _flat(values: Reals) -> Reals:
        """(rows, slices * columns) of (slices, rows, columns)."""
        slices, rows, columns = values.shape
        return values.transpose(1, 0, 2).reshape(rows, slices * columns)

    def _repeat(
        self, x: Reals, span: Reals, steps: Reals, over: Reals, rng: np.random.Generator
    ) -> int:
        """Bound management: read vectors that saturate again at half the input."""
        passes = 0
        for _ in range(self.periphery.most_halvings):
            again = np.flatnonzero(over)
            if again.size == 0:
                break
            span[again] = np.minimum(span[again], _LARGEST) * 2
            steps[again], over[again] = self._read(x[again], span[again], rng)
            passes += again.size
        return passes

    def _sum(self, steps: Reals, span: Reals, out: Reals) -> None:
        slices, _, columns = self.weights.shape
        if slices == 1:
            np.multiply(steps, self._unit, out=out)
        else:
            parts = steps.reshape(len(steps), slices, columns)
            np.einsum("bsc,s->bc", parts, self.shares, out=out)
            out *= self._unit
        out *= span[:, None]


def _largest(x: Reals) -> Reals:
    """The largest absolute value of each vector, NaN where it has one.

    Found by ``argmax``: NumPy's ``max`` takes twice as long for rows as short as these.
    """
    size = np.abs(x)
    return np.asarray(size[np.arange(len(size)), size.argmax(axis=1)])


def _refuse_unless(finite: Reals, first: int = 0) -> None:
    """Raise InvalidArgument naming the vector of what is not finite, counted from ``first``."""
    if not finite.all():
        vector = first + int(np.argwhere(~finite)[0][0])
        raise InvalidArgument(f"vector {vector} of the inputs is not finite")
