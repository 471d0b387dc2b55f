"""Staging arrays: NumPy arrays in the slab, which the worker copies to and from device memory."""

from __future__ import annotations

import contextlib
import math
import weakref
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vaccel.aperture.descriptors import Op
from vaccel.errors import Exhausted
from vaccel.fastpath.queue import AppQueue
from vaccel.model import Array, BufferRange

# Large arrays of NumPy begin 16 bytes into a page: glibc's malloc maps blocks from 128 KiB on
# (M_MMAP_THRESHOLD of mallopt(3)) and puts its two words before them. In an emulated guest a copy
# whose target lies slightly further into its page than its source is 5 to 15 % slower than one at
# equal offsets, between ordinary arrays too: measured with np.copyto.
_LARGE_BYTES: Final = 128 << 10
_MALLOC_BYTES: Final = 16
_PAGE_BYTES: Final = 4 << 10


def make(queue: AppQueue, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """An array in the slab, freed with its last view. Raises Exhausted."""
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    place, skipped = _allocate(queue, size)
    # Not by np.ndarray, which refers to the map and holds no buffer of it: closing the window would
    # then unmap what an array shows. All views of an array have this one as their base.
    flat = np.frombuffer(queue.window.bytes, np.uint8, max(size, 1), place + skipped)
    weakref.finalize(flat, queue.free, place)
    array: NDArray[Any] = flat[:size].view(kind).reshape(shape)
    return array


def _allocate(queue: AppQueue, size: int) -> tuple[int, int]:
    """A piece of the slab, and where in it the array begins. Raises Exhausted."""
    if size >= _LARGE_BYTES:
        with contextlib.suppress(Exhausted):
            return queue.allocate(size + _MALLOC_BYTES, _PAGE_BYTES), _MALLOC_BYTES
    return queue.allocate(size), 0


def place_of(queue: AppQueue, array: Array) -> int | None:
    """Where in the window an array is, if it is in this slab as one piece in C order."""
    if not array.flags.c_contiguous or array.dtype.hasobject:
        return None
    base = np.frombuffer(queue.window.bytes, np.uint8).ctypes.data
    place = int(array.ctypes.data) - base
    start, size = queue.lease.slab_offset, queue.lease.slab_bytes
    return place if start <= place and place + array.nbytes <= start + size else None


def write(queue: AppQueue, place: int, target: BufferRange, length: int) -> None:
    """From the slab to device memory; blocking. Raises its error."""
    queue.call(Op.WRITE, (place, target.buffer, target.offset, length))


def read(queue: AppQueue, place: int, source: BufferRange, length: int) -> None:
    """From device memory to the slab; blocking. Raises its error."""
    queue.call(Op.READ, (place, source.buffer, source.offset, length))
