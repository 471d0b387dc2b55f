"""Values on their way into ONNX Runtime and out: NumPy lacks bf16, fp8 and what is narrower.

Narrow tensors go in and out as ``OrtValue``, by their bits. ORT packs elements narrower than a byte
as ONNX does, the first in the lowest bits (https://onnx.ai/onnx/repo-docs/IR.html, int4); here each
has a byte of its own.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, TypeProto, helper

from host_daemon.compiler.signature import FROM_ONNX, TO_ONNX
from vaccel.errors import Unsupported
from vaccel.model import Array, DType

_Bits = NDArray[np.uint8]
# ORT's names of element types, where they are not ONNX's in lower case.
_NAMES: Final[Mapping[str, str]] = {"int64_t": "int64"}
_NARROW: Final = frozenset(dtype.value for dtype in DType if dtype.narrow)
_BY_NAME: Final[Mapping[str, int]] = {
    name.lower(): number for name, number in TensorProto.DataType.items() if number
}


def is_narrow(value: Any) -> bool:
    """Whether a value holds a tensor that ORT takes only as an ``OrtValue``."""
    if isinstance(value, list):
        return any(is_narrow(each) for each in value)
    return isinstance(value, np.ndarray) and value.dtype.name in _NARROW


def feed(name: str, value: Any) -> Any:
    """A value as ``InferenceSession.run`` takes it.

    Raises Unsupported for a sequence of a narrow type.
    """
    if isinstance(value, np.ndarray):
        return to_ort(value) if value.dtype.name in _NARROW else value
    if isinstance(value, list) and is_narrow(value):
        raise Unsupported(f"{name!r} is a sequence of {value[0].dtype.name}")
    return value


def to_ort(array: Array) -> ort.OrtValue:
    """A tensor with an array's values."""
    dtype = DType(array.dtype.name)
    if not dtype.narrow:
        return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
    made = ort.OrtValue.ortvalue_from_shape_and_type(list(array.shape), TO_ONNX[dtype])
    bits = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    packed = np.ascontiguousarray(_packed(bits, dtype.bits))
    if packed.nbytes:
        ctypes.memmove(made.data_ptr(), packed.ctypes.data, packed.nbytes)
    return made


def from_ort(value: ort.OrtValue) -> Any:
    """What an output holds: an array, or None where it is an empty optional."""
    if not value.has_value():
        return None
    if not value.is_tensor():
        raise Unsupported(f"a {value.data_type()} beside tensors of a narrow type")
    dtype = FROM_ONNX.get(value.element_type())
    if dtype is None or not dtype.narrow:
        return value.numpy()
    shape = tuple(value.shape())
    count = math.prod(shape)
    size = -(-count * dtype.bits // 8)
    raw = np.frombuffer(ctypes.string_at(value.data_ptr(), size) if size else b"", np.uint8)
    return _unpacked(raw, dtype.bits, count).view(dtype.numpy).reshape(shape)


def _packed(bits: _Bits, width: int) -> _Bits:
    if width not in (2, 4):
        return bits
    per_byte = 8 // width
    padded = np.zeros(-(-bits.size // per_byte) * per_byte, np.uint8)
    padded[: bits.size] = bits & ((1 << width) - 1)
    shifts = np.arange(per_byte, dtype=np.uint8) * width
    return np.asarray(
        np.bitwise_or.reduce(padded.reshape(-1, per_byte) << shifts, axis=1), np.uint8
    )


def _unpacked(raw: _Bits, width: int, count: int) -> _Bits:
    if width not in (2, 4):
        return raw.copy()
    shifts = np.arange(8 // width, dtype=np.uint8) * width
    every = (raw[:, None] >> shifts) & np.uint8((1 << width) - 1)
    return every.reshape(-1)[:count].copy()


def type_of(text: str) -> TypeProto | None:
    """ONNX's type for ORT's name of one, such as ``seq(tensor(float))``; None where unknown."""
    head, _, rest = text.partition("(")
    inner = rest.removesuffix(")")
    if head == "tensor":
        kind = _BY_NAME.get(_NAMES.get(inner, inner))
        return helper.make_tensor_type_proto(kind, None) if kind else None
    if head in ("seq", "optional"):
        held = type_of(inner)
        if held is None:
            return None
        make = helper.make_sequence_type_proto if head == "seq" else helper.make_optional_type_proto
        return make(held)
    if head == "map":
        key, _, value = inner.partition(",")
        kind, held = _BY_NAME.get(key), type_of(value)
        return helper.make_map_type_proto(kind, held) if kind and held else None
    return None


def is_narrow_type(kind: TypeProto) -> bool:
    """Whether tensors of a type leave ORT only as an ``OrtValue``."""
    dtype = FROM_ONNX.get(kind.tensor_type.elem_type)
    return dtype is not None and dtype.narrow
