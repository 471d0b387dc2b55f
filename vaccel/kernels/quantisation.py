"""Between floats and 8-bit integers."""

from __future__ import annotations

from typing import Final

from vaccel.kernels.declaration import Kernel, Operand, Types
from vaccel.kernels.types import BYTES
from vaccel.model import DType

_F32: Final = (DType.FLOAT32,)

KERNELS: Final = (
    Kernel(
        "quantize",
        "quantisation",
        "Floats as 8-bit integers of one scale and zero point",
        "saturate(round(x / scale) + zero)",
        (Operand("x", "s…"), Operand("scale", ""), Operand("zero", "")),
        (Operand("result", "s…"),),
        (Types(("F", "F", "B"), ("B",), {"F": _F32, "B": BYTES}),),
    ),
    Kernel(
        "dequantize",
        "quantisation",
        "8-bit integers of one scale and zero point as floats",
        "(x - zero) · scale",
        (Operand("x", "s…"), Operand("scale", ""), Operand("zero", "")),
        (Operand("result", "s…"),),
        (Types(("B", "F", "B"), ("F",), {"F": _F32, "B": BYTES}),),
    ),
)
