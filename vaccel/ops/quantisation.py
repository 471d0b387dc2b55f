"""Between floats and 8-bit integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaccel.ops.calls import Given, kernel, result

if TYPE_CHECKING:
    from vaccel.client import Device
    from vaccel.model import Array


@kernel
def quantize(device: Device, x: Given, scale: Given, zero: Given) -> Array:
    """Floats as 8-bit integers, of the zero point's type.

    >>> print(ops.quantize(device, np.float32([-1, 0.5, 99]), np.float32(0.5), np.int8(0)))
    [ -2   1 127]
    """
    return result(device, "quantize", {"x": x, "scale": scale, "zero": zero})


@kernel
def dequantize(device: Device, x: Given, scale: Given, zero: Given) -> Array:
    """8-bit integers as floats.

    >>> print(ops.dequantize(device, np.uint8([126, 130]), np.float32(0.5), np.uint8(128)))
    [-1.  1.]
    """
    return result(device, "dequantize", {"x": x, "scale": scale, "zero": zero})
