"""How a matrix of weights lies in the banks, there and back.

Output ``o`` of pass ``t`` lies in one bank: ``o = t * 16 * channels + channel * 16 + bank``. Its
inputs fill rows of 1,024 from the left; row ``t * chunks + c`` holds inputs from ``1024 * c``. What
is missing to full banks and rows is zero, which adds nothing.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from host_daemon.devices.pim.aim.gemv import BANKS, ROW, Gemv
from vaccel.errors import InvalidArgument


def to_banks(weights: NDArray[Any], channels: int) -> NDArray[Any]:
    """(outputs, inputs) to bf16 (channels, 16 banks, rows, 1024)."""
    if weights.ndim != 2:
        raise InvalidArgument(f"weights of shape {list(weights.shape)} are not a matrix")
    gemv = Gemv(weights.shape[0], weights.shape[1], channels)
    full = np.zeros((gemv.passes * channels * BANKS, gemv.chunks * ROW), ml_dtypes.bfloat16)
    full[: gemv.outputs, : gemv.inputs] = weights
    turned = full.reshape(gemv.passes, channels, BANKS, gemv.chunks, ROW)
    return np.ascontiguousarray(
        turned.transpose(1, 2, 0, 3, 4).reshape(channels, BANKS, gemv.passes * gemv.chunks, ROW)
    )


def from_banks(banks: NDArray[Any], outputs: int, inputs: int) -> NDArray[Any]:
    """The matrix of ``to_banks``, (outputs, inputs) in bf16.

    Raises InvalidArgument where the banks hold another matrix, or are laid out otherwise.
    """
    gemv = Gemv(outputs, inputs, banks.shape[0] if banks.ndim == 4 and banks.shape[0] else 1)
    expected = (gemv.channels, BANKS, gemv.passes * gemv.chunks, ROW)
    if banks.shape != expected or banks.dtype != ml_dtypes.bfloat16:
        raise InvalidArgument(
            f"banks of {banks.dtype}{list(banks.shape)} do not hold {outputs}x{inputs} weights",
            hint=f"they lie in bfloat16{list(expected)}: channels, banks, rows, columns",
        )
    turned = banks.reshape(gemv.channels, BANKS, gemv.passes, gemv.chunks, ROW)
    full = turned.transpose(2, 0, 1, 3, 4).reshape(-1, gemv.chunks * ROW)
    return np.ascontiguousarray(full[:outputs, :inputs])
