"""Short floating-point formats: float32 kernels with rounding at stated points.

1. Each operand is rounded to the format as it enters the array. 2. Products and sums are float32
(the array's accumulator); the order of additions is the kernel's. 3. Each result is rounded once
as it leaves: bf16 and fp16 to themselves, both fp8 formats to bf16.

Rounding is to nearest, ties to even, subnormals kept, as ``ml_dtypes`` does it. NaN stays NaN.
Beyond the range, bf16, fp16 and fp8_e5m2 give infinity; fp8_e4m3 has none and gives NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_TYPES: Final[Mapping[str, Any]] = {
    "bf16": ml_dtypes.bfloat16,
    "fp16": np.float16,
    "fp8_e4m3": ml_dtypes.float8_e4m3fn,
    "fp8_e5m2": ml_dtypes.float8_e5m2,
}
_RESULTS: Final[Mapping[str, str]] = {
    "bf16": "bf16",
    "fp16": "fp16",
    "fp8_e4m3": "bf16",
    "fp8_e5m2": "bf16",
}


def rounds(name: str) -> bool:
    """Whether an arithmetic is one of those here."""
    return name in _TYPES


def operand(values: NDArray[Any], name: str) -> Floats:
    """Point 1: an operand as the array sees it, in float32."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(values.astype(_TYPES[name]).astype(np.float32))


def result(values: Floats, name: str) -> Floats:
    """Point 3: a result as it leaves the array, in float32."""
    return operand(values, _RESULTS[name])
