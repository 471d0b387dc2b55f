"""What a product on tiles of memory cells is, and how far it may be off.

Everything is from the card's own documented parameters (docs/devices/nvm.md, analog.md), by laws
that are written down here anew. Weights are scaled by the largest of their column, s; inputs by
the largest of their vector, m: an output is f s m y, where y is a sum of v w with |v|, |w| <= 1,
and f the factor that calibration found. On the way:

cells       A weight is the difference of two cells; one is written to T = |w| span, the other,
            which on a new tile is at its lowest, is left there. A cell that is written ends at
            max(T + sigma(T) N, 0). With age t it is exp(-|nu| log(1 + t / t0)) of
            that, with nu normal for each cell; and a look at it adds noise of its own. Means and
            variances of each step are in closed form: those of a rectified, and of the exponential
            of a folded normal number.
wires       take g / (1 + load), the closed form, of the mean conductances.
DAC, ADC    are off by half a step at most, and by a variance of step^2 / 12.
noise       of a deviation for each output.
halvings    where a sum is beyond the ADC's range the vector is read again at half of the input:
            steps and noise are then twice as large.
factor      f undoes the mean gain 1 / f = sum s^2 w W / sum s^2 w^2, where W is what the cells
            give in the mean. It is measured with 64 normal vectors: by what cells of this matrix
            differ from the mean, by the sample, and by noise it is off by a part whose variance is
            in ``_gain``.

Errors of cells and noise are of chance: the bound takes DEVIATIONS of them, what converters do at
most, and a whole cell for each that the card says it missed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.special import ndtr

from host_daemon.devices.nvm.analog.laws import OneOverF, Polynomial
from host_daemon.devices.nvm.parameters import NvmParameters
from tests.unit.host_daemon.compiler.kernels.roundoff import gamma

# Of normal numbers a billionth is farther out.
DEVIATIONS: Final = 6.0
_VECTORS: Final = 64
# The largest of a few hundred normal numbers, with which calibration fills its inputs, at most.
_LARGEST: Final = 4.5


@dataclass(frozen=True)
class Prediction:
    """Of each output: its mean, its deviation, and how far it may be from the mean."""

    mean: np.ndarray
    deviation: np.ndarray
    bound: np.ndarray

    def __add__(self, other: Prediction) -> Prediction:
        deviation = np.hypot(self.deviation, other.deviation)
        return Prediction(self.mean + other.mean, deviation, self.bound + other.bound)


def product(
    own: NvmParameters, weights: np.ndarray, vectors: np.ndarray, age: float, calibrated: float
) -> Prediction:
    """Of vectors (count, inputs) by a matrix (inputs, outputs), both float64, at an age of the
    cells in seconds, with factors that were found at another. Blocks are summed in float32.
    """
    inputs, outputs = weights.shape
    rows, columns = own.tile.rows, own.tile.columns
    parts: list[list[Prediction]] = []
    for column in range(0, outputs, columns):
        wide = slice(column, column + columns)
        blocks = [
            _block(
                own, weights[row : row + rows, wide], vectors[:, row : row + rows], age, calibrated
            )
            for row in range(0, inputs, rows)
        ]
        parts.append(blocks)
    sums = [sum(blocks[1:], blocks[0]) for blocks in parts]
    rounding = gamma(inputs + 4) * (np.abs(vectors) @ np.abs(weights))
    mean, deviation, bound = (
        np.concatenate([getattr(each, name) for each in sums], axis=1)
        for name in ("mean", "deviation", "bound")
    )
    return Prediction(mean, deviation, bound + 2 * rounding)


def _block(
    own: NvmParameters, weights: np.ndarray, vectors: np.ndarray, age: float, calibrated: float
) -> Prediction:
    """Of one tile."""
    edge = own.periphery
    scale = np.abs(weights).max(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    normal = weights / scale
    seen, variance = cells(own, normal, age)
    span = np.abs(vectors).max(axis=1, keepdims=True)
    span = np.where(span > 0, span, 1.0)
    driven = np.abs(vectors) / span
    dac, adc = edge.dac.step, edge.adc.step
    sums = vectors / span @ seen
    chance = (driven + dac / 2) ** 2 @ variance
    far = (
        np.abs(sums) + DEVIATIONS * np.sqrt(chance + edge.out_noise**2) + dac / 2 * driven.shape[1]
    )
    halvings = np.ceil(np.log2(np.maximum(far.max(axis=1, keepdims=True) / edge.adc.bound, 1)))
    assert halvings.max() <= edge.most_halvings
    twice = 2.0**halvings
    factor, off = _gain(own, normal, scale, calibrated)
    unit = factor * scale * span
    converters = twice**2 * (dac**2 / 12 * (seen**2).sum(axis=0) + adc**2 / 12)
    noise = chance + twice**2 * edge.out_noise**2
    mean = unit * sums
    deviation = np.hypot(unit * np.sqrt(noise + converters), off * mean)
    most = twice * (dac / 2 * np.abs(seen).sum(axis=0) + adc / 2)
    share = DEVIATIONS * off
    assert share < 0.7, "the factor of so few weights says nothing"
    bound = np.abs(mean) * share + unit * (DEVIATIONS * np.sqrt(noise) + most)
    return Prediction(mean, deviation, bound / (1 - share))


def _gain(
    own: NvmParameters, normal: np.ndarray, scale: np.ndarray, age: float
) -> tuple[float, float]:
    """The factor that calibration finds, and the deviation of what it is off by, relative to it.

    With w weights, W what cells give and D their squared distances from w / f, of a column c:

        cells    sum s^4 w^2 var(W) / (sum s^2 w^2)^2
        sample   2 sum_c |s w|^2 |s D| / 64 (sum s^2 w^2)^2
        noise    sum_c |s w|^2 n^2 / 64 (sum s^2 w^2)^2, n the edge's noise in units of the input
    """
    edge = own.periphery
    seen, variance = cells(own, normal, age)
    power = scale**2 * (normal**2).sum(axis=0)
    total = power.sum()
    factor = total / (scale**2 * (normal * seen).sum(axis=0)).sum()
    of_cells = (scale**4 * (normal**2 * variance).sum(axis=0)).sum()
    apart = scale**2 * (variance + (seen - normal / factor) ** 2).sum(axis=0)
    steps = edge.adc.step**2 / 12 + edge.dac.step**2 / 12 * (seen**2).sum(axis=0)
    noise = (2 * _LARGEST * scale) ** 2 * (edge.out_noise**2 + steps)
    sampled = (power * (2 * apart + noise)).sum() / _VECTORS
    return float(factor), float(factor * math.sqrt(of_cells + sampled) / total)


def cells(own: NvmParameters, normal: np.ndarray, age: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of what the pairs of cells of weights within +-1 read as."""
    preset = own.tile.preset
    found = []
    for size in (np.maximum(normal, 0), np.maximum(-normal, 0)):
        target = preset.minimum + size * preset.span
        mean, variance = _read(preset, target, age)
        share = 1 / (1 + _load(mean, own.periphery.wire_ohms))
        found.append((mean * share, variance * share**2))
    (up, over), (down, under) = found
    return (up - down) / preset.span, (over + under) / preset.span**2


def _read(preset: Any, target: np.ndarray, age: float) -> tuple[np.ndarray, np.ndarray]:
    """Of cells that were written to a target, in microsiemens."""
    written, variance = _rectified(target, _sigma(preset.programming, target))
    lowest = target == preset.minimum
    written, variance = np.where(lowest, target, written), np.where(lowest, 0, variance)
    mean = written
    if preset.drift is not None:
        law = preset.drift
        logarithm = np.log(np.maximum(target / law.maximum, 1e-7))
        nu, spread = (_line(logarithm, each) for each in (law.mean, law.deviation))
        stretch = math.log1p(age / law.first_seconds)
        once, squared = (_folded(nu, spread, times * stretch) for times in (1, 2))
        mean, variance = mean * once, (variance + mean**2) * squared - (mean * once) ** 2
    law = preset.fluctuation
    if law is None:
        return mean, variance
    if not isinstance(law, OneOverF):
        return mean, variance + _sigma(law.spread, mean) ** 2
    ratio = np.maximum(written / law.maximum, 1e-7)
    grown = math.log((age + law.first_seconds + law.read_seconds) / (2 * law.read_seconds))
    relative = np.minimum(law.amplitude * ratio**-law.power, law.highest) * math.sqrt(grown)
    one, spread = _rectified(np.ones_like(mean), relative)
    # A cell and what a look adds to it are independent: moments of both are multiplied.
    return mean * one, (variance + mean**2) * (spread + one**2) - (mean * one) ** 2


def _rectified(mean: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of max(mean + sigma N, 0)."""
    z = mean / np.maximum(sigma, 1e-30)
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    first = mean * ndtr(z) + sigma * density
    second = (mean**2 + sigma**2) * ndtr(z) + mean * sigma * density
    return first, second - first**2


def _folded(mean: np.ndarray, sigma: np.ndarray, times: float) -> np.ndarray:
    """The mean of exp(-times |mean + sigma N|)."""
    half = (times * sigma) ** 2 / 2
    near = np.exp(half - times * mean) * ndtr(mean / sigma - times * sigma)
    return np.asarray(near + np.exp(half + times * mean) * ndtr(-mean / sigma - times * sigma))


def _sigma(law: Any, g: np.ndarray) -> np.ndarray:
    """c0 + c1 g + c2 g^2, or a (1 - exp(-g / b))."""
    if isinstance(law, Polynomial):
        return np.maximum(sum(c * g**power for power, c in enumerate(law.coefficients)), 0)
    return np.asarray(law.amplitude * (1 - np.exp(-g / law.scale)))


def _line(logarithm: np.ndarray, law: tuple[float, float, float, float]) -> np.ndarray:
    return np.clip(law[0] * logarithm + law[1], law[2], law[3])


def _load(g: np.ndarray, ohms: float) -> np.ndarray:
    """r (sum_m g_im min(j, m) + sum_k g_kj min(n+1-i, n+1-k)), of microsiemens."""
    rows, columns = (np.arange(1, size + 1) for size in g.shape)
    across = np.minimum(columns[:, None], columns)
    down = np.minimum(rows[:, None], rows)[::-1, ::-1]
    return np.asarray(ohms * 1e-6 * (g @ across + down @ g))
