"""Trials of a crossbar: how far its products are from the exact ones, over seeds and ages.

The weights and inputs of a seed are drawn as the measurements in ``tests/oracles/analog`` drew
theirs (NumPy's default generator, seeded 1000 + seed, weights first), so that what is compared is
what the arrays make of the same numbers. Each seed is programmed and read several times, because
the noise of one trial is not that of the reference.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np

from host_daemon.devices.nvm.analog.cells import Preset
from host_daemon.devices.nvm.analog.compensation import Calibration, calibrate, factor
from host_daemon.devices.nvm.analog.converters import Periphery
from host_daemon.devices.nvm.analog.crossbar import CrossbarArray, Mapping
from host_daemon.devices.nvm.analog.reals import Reals

_FIRST_SEED: Final = 1000


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Case:
    """What is tried.

    ``normal`` draws weights and inputs from a normal distribution, else uniformly from -1 to 1;
    ``by_column`` draws inputs one component after another. ``range_deviations`` sets the fixed
    input range to so many standard deviations of the inputs. ``fresh_reads`` draws the cells'
    noise anew for each vector, not once.
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


@dataclass(frozen=True, slots=True)
class _Trial:
    """A programmed array, what it is asked and what would be right."""

    seed: tuple[int, int]
    array: CrossbarArray
    x: Reals
    y: Reals
    baseline: Calibration | None


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
    rng = np.random.default_rng([1, seed, repeat])
    weights, x = _numbers(case, seed)
    array, _ = CrossbarArray.program(weights, case.preset, _edge(case), case.mapping, rng)
    baseline = calibrate(array.fresh(), rng) if case.compensated else None
    return _Trial((seed, repeat), array, x, x @ weights, baseline)


def _trials(case: Case) -> list[_Trial]:
    return [
        _trial(case, seed, repeat) for seed in range(case.seeds) for repeat in range(case.repeats)
    ]


# One case after another is asked at several ages.
_programmed = lru_cache(maxsize=1)(_trials)


def relative_error(case: Case, age: float) -> float:
    """Root mean square of the error over that of the exact outputs, at an age in seconds.

    The mean over seeds and repeats.
    """
    errors = []
    for trial in _programmed(case):
        y = _outputs(case, trial, age)
        scale = float(np.mean(np.square(trial.y), dtype=np.float64))
        errors.append(float(np.mean(np.square(y - trial.y), dtype=np.float64) / scale) ** 0.5)
    return float(np.mean(errors))


def _outputs(case: Case, trial: _Trial, age: float) -> Reals:
    rng = np.random.default_rng([2, *trial.seed, int(age)])
    if case.fresh_reads:
        reads = (trial.array.at(age, rng, frozen=True).mvm(x[None], rng) for x in trial.x)
        return np.concatenate([y for y, _ in reads])
    snapshot = trial.array.at(age, rng)
    y, _ = snapshot.mvm(trial.x, rng)
    if trial.baseline is not None:
        y *= np.float32(factor(trial.baseline, calibrate(snapshot, rng)))
    return y


def rate(case: Case, seconds: float) -> float:
    """Multiply-accumulates per second of CPU time of one batch's products, programming apart.

    Measured over at least so many seconds.
    """
    trial = _trial(case, 0, 0)
    rng = np.random.default_rng(3)
    snapshot = trial.array.at(0.0, rng)
    calls, spent = 1, 0.0
    while spent < seconds:
        calls *= 2
        start = time.process_time()
        for _ in range(calls):
            if case.fresh_reads:
                _outputs(case, trial, 0.0)
            else:
                snapshot.mvm(trial.x, rng)
        spent = time.process_time() - start
    return calls * case.vectors * case.inputs * case.outputs / spent
