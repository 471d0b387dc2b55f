"""Element types that go together, as the tables of kernels use them."""

from __future__ import annotations

from typing import Final

from vaccel.kernels.declaration import Types
from vaccel.model import DType

FLOATS: Final = (DType.FLOAT32, DType.FLOAT16)
BYTES: Final = (DType.INT8, DType.UINT8)
SIGNED: Final = (DType.INT8, DType.INT32, DType.INT64)
WIDE: Final = (DType.INT32, DType.INT64)
INTEGERS: Final = (*BYTES, *WIDE)
NUMBERS: Final = (*FLOATS, *INTEGERS)
ALL: Final = (*NUMBERS, DType.BOOL)
INDICES: Final = (DType.INT64, DType.INT32)


def same(
    types: tuple[DType, ...], operands: int = 1, results: int = 1, result: str = "T"
) -> tuple[Types, ...]:
    """All operands of one type; all results too, or of the type ``result``."""
    return (Types(("T",) * operands, (result,) * results, {"T": types}),)
