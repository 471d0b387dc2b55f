"""Staging arrays: NumPy arrays in the slab, which the worker copies to and from device memory."""

from __future__ import annotations

import contextlib
import math
import weakref
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from vaccel.aperture.descriptors import Op
from vaccel.errors import Exhausted
from vaccel.fastpath import pages
from vaccel.fastpath.queue import AppQueue
from vaccel.model import Array, BufferRange


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
    skipped = pages.begin(0, size)
    if skipped:
        with contextlib.suppress(Exhausted):
            return queue.allocate(skipped + size, pages.alignment(size)), skipped
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
