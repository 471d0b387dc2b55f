"""Activation functions in the banks.

Published (D. Kwon et al., JSSC 2023, abstract): a look-up table in a reserved row of each bank, for
GELU, sigmoid and tanh as well as ReLU and leaky ReLU. Entries, range and interpolation are not in
what is freely readable. Taken here: one row of 1,024 bf16 values is 512 pairs of value and slope
over [-8, 8), so that a segment is 1/32 wide; beyond it the function's limits hold; both ReLUs are
exact. The input is the MAC register in bf16; value + slope * distance is computed in float32, and
rounded to bf16.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from host_daemon.devices.pim.aim.arithmetic import Floats, rounded

SEGMENTS: Final = 512
LOW: Final = -8.0
_PER_UNIT: Final = SEGMENTS / 16


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-x)))


def _gelu(x: NDArray[np.float64]) -> NDArray[np.float64]:
    from math import erf, sqrt

    return np.asarray([0.5 * each * (1 + erf(each / sqrt(2))) for each in x])


_TABLES: Final[Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = {
    "Sigmoid": _sigmoid,
    "Tanh": np.tanh,
    "Gelu": _gelu,
}
# By ONNX's names.
FUNCTIONS: Final = frozenset((*_TABLES, "Relu", "LeakyRelu"))


@cache
def table(name: str) -> tuple[Floats, Floats]:
    """Values at the left of each segment, and slopes, both bf16 in float32, (512,)."""
    edges = LOW + np.arange(SEGMENTS + 1) / _PER_UNIT
    values = _TABLES[name](edges)
    return rounded(values[:-1]), rounded(np.diff(values) * _PER_UNIT)


def activate(name: str, values: NDArray[Any], alpha: float = 0.01) -> Floats:
    """The function of bf16 values, in bf16. ``alpha`` is the slope of a leaky ReLU."""
    x = rounded(values)
    with np.errstate(invalid="ignore", over="ignore"):
        if name == "Relu":
            return np.asarray(np.where(x < 0, np.float32(0), x))
        if name == "LeakyRelu":
            return rounded(np.where(x < 0, x * rounded(np.asarray(alpha)), x))
        base, slope = table(name)
        inside = (x >= LOW) & (x < -LOW)
        index = np.where(inside, (x - np.float32(LOW)) * np.float32(_PER_UNIT), 0).astype(np.int32)
        left = np.float32(LOW) + index.astype(np.float32) / np.float32(_PER_UNIT)
        found = base[index] + slope[index] * (x - left)
        return rounded(np.where(inside, found, _limits(name, x)))


def _limits(name: str, x: Floats) -> Floats:
    """What holds outside the table. NaN stays NaN."""
    high = x if name == "Gelu" else np.ones_like(x)
    low = np.float32(-1 if name == "Tanh" else 0)
    return np.where(np.isnan(x), x, np.where(x < 0, low, high)).astype(np.float32)
