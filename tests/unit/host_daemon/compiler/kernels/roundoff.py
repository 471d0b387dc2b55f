"""How far a result may be from the exact one, from the arithmetic that it was computed in.

A format rounds x to x(1 + d) + e with |d| <= u and |e| <= eta: u is half a unit in the last place,
eta half the distance of subnormals. A sum of n products in any order, fused or not, is within
gamma(n) = n u / (1 - n u) of the sum of their sizes (Higham, Accuracy and Stability of Numerical
Algorithms, 2nd ed., section 3.1). Everything below follows from these two.

Elementary functions (exp, tanh, ...) are polynomials of the lanes, for which no arithmetic gives a
bound: they are taken as ELEMENTARY units in the last place of float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

ELEMENTARY: Final = 16.0


@dataclass(frozen=True)
class Format:
    u: float
    eta: float


FORMATS: Final = {
    "float32": Format(2.0**-24, 2.0**-150),
    "float16": Format(2.0**-11, 2.0**-25),
    "bf16": Format(2.0**-8, 2.0**-134),
    "fp16": Format(2.0**-11, 2.0**-25),
    "fp8_e4m3": Format(2.0**-4, 2.0**-10),
    "fp8_e5m2": Format(2.0**-3, 2.0**-17),
}
# What a product leaves the arrays in: see docs/devices/npu.md.
RESULTS: Final = {"bf16": "bf16", "fp16": "fp16", "fp8_e4m3": "bf16", "fp8_e5m2": "bf16"}
F32: Final = FORMATS["float32"]
U: Final = F32.u


def gamma(n: float) -> float:
    """Relative error of n operations in float32."""
    assert n * U < 0.5
    return n * U / (1 - n * U)


def stored(exact: np.ndarray, error: np.ndarray | float, kind: str) -> np.ndarray:
    """The error of a float32 result after it was rounded to its own format.

    |fl(y) - exact| <= error + u (|exact| + error) + eta
    """
    own = FORMATS[kind]
    rounding = own.u * (np.abs(exact) + error) + own.eta if kind != "float32" else 0.0
    return np.asarray(error + rounding + F32.eta)


def product(
    a: np.ndarray, b: np.ndarray, exact: np.ndarray, multiply, arithmetic: str, depth: int
) -> np.ndarray:
    """The error of sums of ``depth`` products of operands that were rounded to an arithmetic.

    With A = |a|, B = |b|, and operands of their own format where ``arithmetic`` is a type's name:

        |fl(a) fl(b) - a b| <= (2u + u^2) AB + (1 + u) eta (A + B) + eta^2
        sum in float32      <= gamma(depth) sum (A (1 + u) + eta) (B (1 + u) + eta)
        result              as ``stored`` in the arithmetic's result format

    ``multiply`` is the exact bilinear operation, on sizes.
    """
    a, b = np.abs(a), np.abs(b)
    short = FORMATS[arithmetic] if arithmetic in RESULTS else Format(0.0, 0.0)
    u, eta = short.u, short.eta
    one_a, one_b = np.ones_like(a), np.ones_like(b)
    sizes = multiply(a, b)
    ones = multiply(a, one_b) + multiply(one_a, b)
    error = (2 * u + u * u) * sizes + (1 + u) * eta * ones + eta * eta * multiply(one_a, one_b)
    wide = multiply(a * (1 + u) + eta, b * (1 + u) + eta)
    error = error + gamma(depth) * wide
    return stored(exact, error, RESULTS.get(arithmetic, arithmetic))
