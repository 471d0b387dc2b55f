"""Trials of a crossbar: how far its products are from the exact ones, over seeds and ages.

The weights and inputs of a seed are drawn as the measurements in ``tests/oracles/analog`` drew
theirs (NumPy's default generator, seeded 1000 + seed, weights first), so that what is compared is
what the arrays make of the same numbers. Each seed is programmed and read several times, because
the noise of one trial is not that of the reference.

A matrix larger than a tile is cut as aihwkit's ``TileModuleArray`` cuts it: into as many pieces as
are needed, as equal as they can be. Each is an array of its own, with its own scale, converters,
noise and compensation; outputs of pieces that share columns are added in digital.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np

from host_daemon.devices.nvm.analog.cells import Preset
from host_daemon.devices.nvm.analog.compensation import Calibration, calibrate, factor
from host_daemon.devices.nvm.analog.converters import Periphery
from host_daemon.devices.nvm.analog.crossbar import CrossbarArray, Mapping
from host_daemon.devices.nvm.analog.reals import Reals

# The largest case that is tried.
MOST_SIZE: Final = 4096
MOST_SEEDS: Final = 64
_FIRST_SEED: Final = 1000
_TIMED_SECONDS: Final = 0.02
# Programmed weights that are kept from one age to the next, of all trials of a case: 26 bytes each.
_MOST_KEPT: Final = 1 << 22


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Case:
    """What is tried.

    ``normal`` draws weights and inputs from a normal distribution, else uniformly from -1 to 1;
    ``by_column`` draws inputs one component after another. ``range_deviations`` sets the fixed
    input range to so many standard deviations of the inputs. ``fresh_reads`` draws the cells'
    noise anew for each vector, not once. ``most_inputs`` and ``most_outputs`` are the largest tile;
    0 is no limit.
    """

    preset: Preset
    periphery: Periphery
    mapping: Mapping
    inputs: int
    outputs: int
    vectors: int
    seeds: int
    repeats: int
    normal: bool = False
    by_column: bool = False
    compensated: bool = False
    range_deviations: float = 0.0
    fresh_reads: bool = False
    most_inputs: int = 0
    most_outputs: int = 0

    @property
    def trials(self) -> int:
        """How often it is programmed."""
        return self.seeds * self.repeats


@dataclass(frozen=True, slots=True)
class _Piece:
    """One programmed array: some rows of the matrix, and some columns."""

    inputs: slice
    outputs: slice
    array: CrossbarArray
    baseline: Calibration | None


@dataclass(frozen=True, slots=True)
class _Trial:
    """What is asked of a programmed matrix and what would be right.

    ``pieces`` may be made as they are asked for, once.
    """

    seed: tuple[int, int]
    pieces: Iterable[_Piece]
    x: Reals
    y: Reals


def repeats(cells: int) -> int:
    """How often a seed is to be tried: a large array is an average of much by itself."""
    return 12 if cells <= 1 << 13 else 4 if cells <= 1 << 18 else 2


def _numbers(case: Case, seed: int) -> tuple[Reals, Reals]:
    """Weights (rows, columns) and inputs (vectors, rows), float32."""
    rng = np.random.default_rng(_FIRST_SEED + seed)

    def draw(*shape: int) -> Reals:
        return rng.standard_normal(shape) if case.normal else rng.uniform(-1, 1, shape)

    weights = draw(case.outputs, case.inputs)
    size = (case.inputs, case.vectors) if case.by_column else (case.vectors, case.inputs)
    x = draw(*size).T if case.by_column else draw(*size)
    return np.ascontiguousarray(weights.T, np.float32), np.ascontiguousarray(x, np.float32)


def _edge(case: Case) -> Periphery:
    if not case.range_deviations:
        return case.periphery
    deviation = 1.0 if case.normal else 3**-0.5
    return replace(case.periphery, fixed_range=case.range_deviations * deviation)


def _trial(case: Case, seed: int, repeat: int) -> _Trial:
    weights, x = _numbers(case, seed)
    rng = np.random.default_rng([1, seed, repeat])
    return _Trial((seed, repeat), _pieces(case, weights, rng), x, x @ weights)


def parts(size: int, most: int) -> Sequence[slice]:
    """Ranges that a side of a matrix is cut into: the fewest, and as equal as they can be."""
    count = -(-size // most) if most else 1
    base, longer = divmod(size, count)
    ends = [base * (k + 1) + min(k + 1, longer) for k in range(count)]
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def _pieces(case: Case, weights: Reals, rng: np.random.Generator) -> Iterator[_Piece]:
    for inputs in parts(case.inputs, case.most_inputs):
        for outputs in parts(case.outputs, case.most_outputs):
            part = np.ascontiguousarray(weights[inputs, outputs])
            array, _ = CrossbarArray.program(part, case.preset, _edge(case), case.mapping, rng)
            baseline = calibrate(array.fresh(), rng) if case.compensated else None
            yield _Piece(inputs, outputs, array, baseline)


def _trials(case: Case) -> Iterator[_Trial]:
    for seed in range(case.seeds):
        for repeat in range(case.repeats):
            yield _trial(case, seed, repeat)


@lru_cache(maxsize=1)  # one case after another is asked at several ages
def _programmed(case: Case) -> Sequence[_Trial]:
    return [replace(trial, pieces=list(trial.pieces)) for trial in _trials(case)]


def relative_error(case: Case, age: float) -> float:
    """Root mean square of the error over that of the exact outputs, at an age in seconds.

    The mean over seeds and repeats. A case too large to be kept is programmed anew for each age,
    one array after another: the same numbers, from the same chance.
    """
    errors = []
    small = case.trials * case.inputs * case.outputs <= _MOST_KEPT
    for trial in _programmed(case) if small else _trials(case):
        y = _outputs(case, trial, age)
        scale = float(np.mean(np.square(trial.y), dtype=np.float64))
        errors.append(float(np.mean(np.square(y - trial.y), dtype=np.float64) / scale) ** 0.5)
    return float(np.mean(errors))


def _outputs(case: Case, trial: _Trial, age: float) -> Reals:
    rng = np.random.default_rng([2, *trial.seed, int(age)])
    total = np.zeros_like(trial.y)
    for piece in trial.pieces:
        total[:, piece.outputs] += _part(case, piece, trial.x[:, piece.inputs], age, rng)
    return total


def _part(case: Case, piece: _Piece, x: Reals, age: float, rng: np.random.Generator) -> Reals:
    """The outputs of one array, compensated."""
    if case.fresh_reads:
        reads = (piece.array.at(age, rng, frozen=True).mvm(each[None], rng) for each in x)
        return np.concatenate([y for y, _ in reads])
    snapshot = piece.array.at(age, rng)
    y, _ = snapshot.mvm(x, rng)
    if piece.baseline is not None:
        y *= np.float32(factor(piece.baseline, calibrate(snapshot, rng)))
    return y


@lru_cache(maxsize=64)
def rate(case: Case) -> float:
    """As ``rate_again``, measured once for each case."""
    return rate_again(case, _TIMED_SECONDS)


def rate_again(case: Case, seconds: float) -> float:
    """Multiply-accumulates per second of CPU time of one batch's products, programming apart.

    Measured over at least so many seconds.
    """
    multiply = _multiplier(case)
    calls, spent = 1, 0.0
    while spent < seconds:
        calls *= 2
        start = time.process_time()
        for _ in range(calls):
            multiply()
        spent = time.process_time() - start
    return calls * case.vectors * case.inputs * case.outputs / spent


def _multiplier(case: Case) -> Callable[[], object]:
    """What makes one batch's products."""
    trial = _trial(case, 0, 0)
    if case.fresh_reads:
        kept = replace(trial, pieces=list(trial.pieces))
        return lambda: _outputs(case, kept, 0.0)
    rng = np.random.default_rng(3)
    # Of each array what is multiplied with, and no longer its cells.
    seen = [(each.array.at(0.0, rng), trial.x[:, each.inputs]) for each in trial.pieces]
    return lambda: [snapshot.mvm(x, rng) for snapshot, x in seen]
