"""Laws of a memory cell: how far programming misses, how it drifts, how it fluctuates.

Conductances are in microsiemens, as float32 arrays of any shape; ages in seconds since the
cell was programmed, one number or an array that broadcasts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from host_daemon.devices.nvm.analog.normals import normals
from host_daemon.devices.nvm.analog.reals import Reals

DAY: Final = 86_400.0
_SMALLEST: Final = 1e-7


class Spread(Protocol):
    """A standard deviation that depends on the conductance."""

    def sigma(self, conductance: Reals) -> Reals:
        """In microsiemens, never negative, same shape."""


@dataclass(frozen=True, slots=True)
class Polynomial:
    """``sigma = c0 + c1 g + c2 g^2 ...``, all in microsiemens."""

    coefficients: Sequence[float]

    def sigma(self, conductance: Reals) -> Reals:
        """See ``Spread``."""
        total = np.full_like(conductance, self.coefficients[-1])
        for coefficient in reversed(self.coefficients[:-1]):
            total *= conductance
            total += np.float32(coefficient)
        return np.maximum(total, 0, out=total)


@dataclass(frozen=True, slots=True)
class Saturating:
    """``sigma = amplitude (1 - exp(-g / scale))``, both in microsiemens."""

    amplitude: float
    scale: float

    def sigma(self, conductance: Reals) -> Reals:
        """See ``Spread``."""
        return np.maximum(-self.amplitude * np.expm1(-conductance / np.float32(self.scale)), 0)


class Drift(Protocol):
    """How a mean conductance moves with age. What differs between cells is one number of each."""

    def draw(self, target: Reals, error: Reals, rng: np.random.Generator) -> Reals:
        """The number that each cell keeps until it is programmed again, float32.

        ``error`` is what programming missed the target by, in standard deviations.
        """

    def at(self, target: Reals, programmed: Reals, kept: Reals, age: Reals | float) -> Reals:
        """The conductance at an age, from what was programmed and the kept number."""


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """``g(t) = g ((t + t0) / t0)^-nu`` with an exponent of each cell.

    Its mean and deviation fall with the logarithm of the relative target: (slope, offset, lowest,
    highest) each. Nandakumar et al., ICECS 2019; Joshi et al., Nature Communications 11 (2020).
    """

    maximum: float  # the conductance that relative targets are of
    first_seconds: float  # t0, from programming to the first read
    mean: tuple[float, float, float, float]
    deviation: tuple[float, float, float, float]

    def draw(self, target: Reals, error: Reals, rng: np.random.Generator) -> Reals:
        """The exponent nu."""
        logarithm = np.log(np.maximum(target / np.float32(self.maximum), np.float32(_SMALLEST)))
        nu = normals(rng, target.shape)
        nu *= _line(logarithm, self.deviation)
        nu += _line(logarithm, self.mean)
        return np.abs(nu, out=nu)

    def at(self, target: Reals, programmed: Reals, kept: Reals, age: Reals | float) -> Reals:
        """See ``Drift``."""
        stretch = np.log1p(np.asarray(age, np.float64) / self.first_seconds).astype(np.float32)
        return programmed * np.exp(-kept * stretch)


def _line(logarithm: Reals, law: tuple[float, float, float, float]) -> Reals:
    slope, offset, lowest, highest = law
    return np.clip(slope * logarithm + np.float32(offset), lowest, highest)


class Fluctuation(Protocol):
    """What a read adds to a conductance."""

    def sigma(self, conductance: Reals, programmed: Reals, age: Reals | float) -> Reals:
        """Standard deviation in microsiemens of a read at an age, of the conductance then."""


@dataclass(frozen=True, slots=True)
class White:
    """Noise of a spread that does not depend on age."""

    spread: Spread

    def sigma(self, conductance: Reals, programmed: Reals, age: Reals | float) -> Reals:
        """See ``Fluctuation``."""
        return self.spread.sigma(conductance)


@dataclass(frozen=True, slots=True)
class OneOverF:
    """Noise of spectrum 1/f, accumulated since programming.

    ``sigma = g min(q / (g_p / maximum)^p, highest) sqrt(ln((t + t0 + tr) / (2 tr)))`` where g_p
    is the conductance as programmed. Nandakumar et al., ICECS 2019.
    """

    maximum: float
    amplitude: float
    power: float
    highest: float
    read_seconds: float
    first_seconds: float

    def sigma(self, conductance: Reals, programmed: Reals, age: Reals | float) -> Reals:
        """See ``Fluctuation``."""
        ratio = np.maximum(np.abs(programmed) / np.float32(self.maximum), np.float32(_SMALLEST))
        amplitude = np.minimum(self.amplitude * ratio ** np.float32(-self.power), self.highest)
        seconds = np.asarray(age, np.float64) + self.first_seconds
        grown = np.sqrt(np.log((seconds + self.read_seconds) / (2 * self.read_seconds)))
        amplitude *= grown.astype(np.float32)
        amplitude *= np.abs(conductance)
        return np.asarray(amplitude)
