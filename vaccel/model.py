"""Frozen values that all parts speak of. No behaviour beyond their own arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]
Array = NDArray[np.generic]


class DType(StrEnum):
    """Element types that travel. The value is NumPy's name where it has one."""

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

    @property
    def itemsize(self) -> int:
        """Bytes per element; 0 for strings."""
        return 0 if self is DType.STRING else np.dtype(self.value).itemsize

    @property
    def numpy(self) -> np.dtype[np.generic]:
        """NumPy's dtype; ``object`` for strings."""
        return np.dtype(object if self is DType.STRING else self.value)


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


Value = Tensor | Strings


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a program. A dimension is a number, a symbol, or None where unknown."""

    name: str
    dtype: DType
    shape: tuple[int | str | None, ...] | None
    optional: bool = False

    def __str__(self) -> str:
        dims = "…" if self.shape is None else ", ".join(str(d or "?") for d in self.shape)
        return f"{self.name}: {self.dtype.value}[{dims}]"


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
