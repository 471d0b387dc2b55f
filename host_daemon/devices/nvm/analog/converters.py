"""Converters at the edge of a crossbar: from numbers to voltages and from currents to numbers.

Values are normalised: 1 is the largest input, and the largest weight times that is an output of 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from host_daemon.devices.nvm.analog.reals import Reals
from vaccel.errors import InvalidArgument


class InputRange(StrEnum):
    """What the full scale of the DAC stands for."""

    MAXIMUM = "maximum"  # the largest absolute input of each vector ("noise management")
    FIXED = "fixed"  # one number, larger inputs are clipped
    CALIBRATED = "calibrated"  # likewise, and the number is from data


@dataclass(frozen=True, slots=True)
class Converter:
    """A uniform symmetric converter with a level at zero: ``clip(round(v / step), +-bound)``.

    A step of 0 is a range without levels.
    """

    bound: float
    step: float

    @staticmethod
    def of(bits: int, bound: float = 1.0) -> Converter:
        """With 2^bits - 1 levels, so ``step = 2 bound / (2^bits - 2)``.

        Raises InvalidArgument naming what is out of range.
        """
        if not 2 <= bits <= 24:
            raise InvalidArgument(f"converter of {bits} bits", hint="2 to 24 bits")
        if not 0 < bound < float("inf"):
            raise InvalidArgument(f"converter range {bound}", hint="a positive number")
        return Converter(bound, 2 * bound / (2**bits - 2))

    @property
    def top(self) -> float:
        """The bound in units."""
        return self.bound / self.unit

    @property
    def unit(self) -> float:
        """What a digital 1 stands for: the step, or 1 where there are no levels."""
        return self.step or 1.0


@dataclass(frozen=True, slots=True)
class Periphery:
    """Converters, noise and range management of an array's edge. None: ideal.

    ``out_noise`` is the deviation of each output before its ADC; ``weight_noise`` scales noise
    of each read that is referred to the output: ``weight_noise sqrt(sum_j |w_ij| x_j^2)``.
    ``bound_management`` halves an input and reads again while an output saturates, at most
    ``most_halvings`` times.

    Wires of ``wire_ohms`` a segment take their share by the closed form of ``wires.effective``, or
    exactly where ``exact_wires`` is set. ``drop`` scales aihwkit's form of the same instead (see
    ``wires.column_drop``), of wires with ``drop_ratio`` times a cell's largest conductance.
    """

    dac: Converter | None = None
    adc: Converter | None = None
    input_range: InputRange = InputRange.MAXIMUM
    fixed_range: float = 1.0
    bound_management: bool = False
    most_halvings: int = 4
    out_noise: float = 0.0
    weight_noise: float = 0.0
    wire_ohms: float = 0.0
    exact_wires: bool = False
    drop: float = 0.0
    drop_ratio: float = 1 / 0.35 / 5e-6

    def __post_init__(self) -> None:
        for name in ("out_noise", "weight_noise", "wire_ohms", "drop", "most_halvings"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                raise InvalidArgument(f"{name} = {value}", hint="a finite number, 0 or more")
        for name in ("fixed_range", "drop_ratio"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise InvalidArgument(f"{name} = {value}", hint="a finite number above 0")

    @property
    def passes_all(self) -> bool:
        """Whether nothing of the edge acts on inputs and outputs. Wires act on the cells."""
        quantises = self.dac is not None and self.dac.step > 0
        adds = self.out_noise or self.weight_noise or self.drop
        clips = self.input_range is InputRange.FIXED or self.adc is not None
        return not (quantises or adds or clips)


@dataclass(frozen=True, slots=True)
class ReadCounts:
    """What reading took, and where it met a limit.

    ``passes`` are analog reads of a whole array, repeats of bound management included;
    ``clipped`` counts inputs beyond a fixed range, ``saturated`` outputs at the end of the ADC's
    range in the result.
    """

    vectors: int = 0
    passes: int = 0
    clipped: int = 0
    saturated: int = 0

    def __add__(self, other: ReadCounts) -> ReadCounts:
        return ReadCounts(
            self.vectors + other.vectors,
            self.passes + other.passes,
            self.clipped + other.clipped,
            self.saturated + other.saturated,
        )


def calibrated(samples: Reals, percentile: float = 99.995) -> float:
    """A fixed range from data: that percentile of absolute values. Raises InvalidArgument."""
    if samples.size == 0 or not np.isfinite(samples).all():
        raise InvalidArgument("calibration data is empty or not finite")
    bound = float(np.percentile(np.abs(samples), percentile))
    if bound <= 0:
        raise InvalidArgument("calibration data is all zero")
    return bound
