"""Frozen values that all parts speak of. No behaviour beyond their own arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, cached_property
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vaccel import bounds

Shape = tuple[int, ...]
Array = NDArray[np.generic]


class DType(StrEnum):
    """Element types that travel. The value is NumPy's name, or that of ``ml_dtypes``.

    On the wire and in device memory an element narrower than a byte has a byte of its own, its bits
    the lowest.
    """

    FLOAT64 = "float64"
    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT64 = "int64"
    INT32 = "int32"
    INT16 = "int16"
    INT8 = "int8"
    UINT64 = "uint64"
    UINT32 = "uint32"
    UINT16 = "uint16"
    UINT8 = "uint8"
    BOOL = "bool"
    STRING = "string"
    COMPLEX64 = "complex64"
    COMPLEX128 = "complex128"
    BFLOAT16 = "bfloat16"
    FLOAT8_E4M3FN = "float8_e4m3fn"
    FLOAT8_E4M3FNUZ = "float8_e4m3fnuz"
    FLOAT8_E5M2 = "float8_e5m2"
    FLOAT8_E5M2FNUZ = "float8_e5m2fnuz"
    FLOAT8_E8M0FNU = "float8_e8m0fnu"
    FLOAT6_E2M3FN = "float6_e2m3fn"
    FLOAT6_E3M2FN = "float6_e3m2fn"
    FLOAT4_E2M1FN = "float4_e2m1fn"
    INT4 = "int4"
    UINT4 = "uint4"
    INT2 = "int2"
    UINT2 = "uint2"

    # Asked several times for every tensor of every call: each member keeps its answers.
    @cached_property
    def bits(self) -> int:
        """Bits that an element has a meaning in; 0 for strings."""
        if self in _NARROW:
            return _NARROW[self]
        return 0 if self is DType.STRING else np.dtype(self.value).itemsize * 8

    @cached_property
    def narrow(self) -> bool:
        """Whether NumPy knows it by ``ml_dtypes`` only."""
        return self in _NARROW

    @cached_property
    def itemsize(self) -> int:
        """Bytes per element, each of its own; 0 for strings."""
        return -(-self.bits // 8)

    @cached_property
    def numpy(self) -> np.dtype[Any]:
        """NumPy's dtype; ``object`` for strings.

        Of narrow types that of ``ml_dtypes``; where that is not installed, unsigned integers that
        hold the bits.
        """
        if self is DType.STRING:
            return np.dtype(object)
        if self not in _NARROW:
            return np.dtype(self.value)
        types = _narrow_types()
        return np.dtype(getattr(types, self.value) if types else f"uint{8 * self.itemsize}")


# Bits of the element types that NumPy itself lacks; ``ml_dtypes`` has them by the same names.
_NARROW: Final[Mapping[DType, int]] = {
    DType.BFLOAT16: 16,
    DType.FLOAT8_E4M3FN: 8,
    DType.FLOAT8_E4M3FNUZ: 8,
    DType.FLOAT8_E5M2: 8,
    DType.FLOAT8_E5M2FNUZ: 8,
    DType.FLOAT8_E8M0FNU: 8,
    DType.FLOAT6_E2M3FN: 6,
    DType.FLOAT6_E3M2FN: 6,
    DType.FLOAT4_E2M1FN: 4,
    DType.INT4: 4,
    DType.UINT4: 4,
    DType.INT2: 2,
    DType.UINT2: 2,
}


@cache
def _narrow_types() -> ModuleType | None:
    """``ml_dtypes``, which a light guest may lack; imported when the first narrow type is met."""
    try:
        import ml_dtypes
    except ImportError:
        return None
    return ml_dtypes


@dataclass(frozen=True, slots=True)
class BufferRange:
    """A place in device memory: a buffer of the context, and bytes from its start."""

    buffer: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor, either with its bytes (little-endian, C order) or at a place in device memory."""

    dtype: DType
    shape: Shape
    data: bytes | memoryview | None = None
    place: BufferRange | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the whole tensor."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Strings:
    """A tensor of strings, in C order."""

    shape: Shape
    items: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Items:
    """A sequence of values."""

    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Nothing:
    """An optional that is empty."""


@dataclass(frozen=True, slots=True)
class Table:
    """A map: keys and values of rank 1, in the same order."""

    keys: Tensor | Strings
    values: Tensor | Strings


Value = Tensor | Strings | Items | Nothing | Table
# What wraps the tensors of a port, the outermost first; a map names its keys' type behind it.
SEQUENCE: Final = "sequence"
OPTIONAL: Final = "optional"
MAP: Final = "map of "


def leaves(value: Value) -> Iterator[Tensor | Strings]:
    """The tensors of a value, in order."""
    match value:
        case Tensor() | Strings():
            yield value
        case Items(values=values):
            for each in values:
                yield from leaves(each)
        case Table(keys=keys, values=values):
            yield keys
            yield values
        case Nothing():
            return


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a program. A dimension is a number, a symbol, or None where unknown.

    ``containers`` wrap the tensors that ``dtype`` and ``shape`` describe, the outermost first:
    ``("optional", "sequence")``. A map's tensors are its values.
    """

    name: str
    dtype: DType
    shape: tuple[int | str | None, ...] | None
    optional: bool = False
    containers: tuple[str, ...] = ()

    def __str__(self) -> str:
        known = ("?" if dim in (None, "") else str(dim) for dim in self.shape or ())
        dims = "…" if self.shape is None else ", ".join(known)
        around = "".join(f"{each} {'to' if MAP in each else 'of'} " for each in self.containers)
        return f"{self.name}: {around}{self.dtype.value}[{dims}]"

    @property
    def inner(self) -> Port:
        """The port of what its outermost container holds."""
        return Port(self.name, self.dtype, self.shape, False, self.containers[1:])


@dataclass(frozen=True, slots=True)
class Profile:
    """A named size of VF."""

    name: str
    kind: str
    cores: int
    memory_bytes: int
    bandwidth_bytes_per_second: int
    window_bytes: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What a device takes at most: of one submission, and of the fast path, with 0 for none.

    ``inline_bytes`` and ``commands`` are a submission's, ``chunk_bytes`` those of one message of
    data. A window has ``queue_pairs``, for one context each, and ``slabs_bytes`` to stage in, of
    which a context gets ``slab_bytes`` where it asks for no size. ``descriptors`` (submitted, and
    not taken yet) and ``recordings`` are a queue pair's.
    """

    inline_bytes: int = bounds.INLINE_BYTES
    chunk_bytes: int = bounds.CHUNK_BYTES
    commands: int = bounds.COMMANDS_PER_SUBMIT
    queue_pairs: int = 0
    slabs_bytes: int = 0
    slab_bytes: int = 0
    descriptors: int = 0
    recordings: int = 0


@dataclass(frozen=True, slots=True)
class Device:
    """What a device says of itself to a program."""

    id: str
    kind: str
    card: str
    profile: Profile
    epoch: int
    memory_free_bytes: int
    arithmetic: tuple[str, ...]
    clock_hz: float
    limits: Limits = Limits()


@dataclass(frozen=True, slots=True)
class Cost:
    """What work would have cost the device.

    ``cycles`` are busy cycles per unit (array, vector, dma), which overlap; ``critical_cycles`` run
    from start to end on the device's clock. ``start_ns`` and ``end_ns`` are device time since the
    VF's creation.
    """

    cycles: Mapping[str, int] = field(default_factory=dict)
    bytes: Mapping[str, int] = field(default_factory=dict)
    joules: Mapping[str, float] = field(default_factory=dict)
    nodes: Mapping[str, int] = field(default_factory=dict)
    critical_cycles: int = 0
    start_ns: int = 0
    end_ns: int = 0

    @property
    def device_ns(self) -> int:
        """Device time from start to end."""
        return self.end_ns - self.start_ns

    @property
    def total_joules(self) -> float:
        """Joules over all components."""
        return math.fsum(self.joules.values())


# A cost that is read when somebody asks for it.
Costing = Callable[[], Cost]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a VF holds and has done."""

    contexts: int = 0
    buffers: int = 0
    programs: int = 0
    memory_bytes: int = 0
    launches: int = 0
    device_ns: int = 0
    joules: float = 0.0
    errors: int = 0
    # What the VF drew while it had nothing to do: its idle power over wall time less device time.
    idle_joules: float = 0.0
    queues: int = 0
    descriptors: int = 0
    malformed: int = 0
    broken_queues: int = 0
    empty_doorbells: int = 0
    throttled: int = 0
