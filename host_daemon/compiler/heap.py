"""What loading a model does to the heap: large blocks come and go, and should leave nothing behind.

glibc raises the size from which blocks are mapped of their own, up to 32 MiB, whenever one is freed
(mallopt(3), M_MMAP_THRESHOLD). ONNX Runtime's copies of weights then lie in heaps that stay.

A block of its own costs a fault for each 4 KiB at its ends that fill no huge page, the heap next to
none; but holes in the heap are as good as lost until the load ends. So the heap gets the smaller
blocks of a model as long as they are a small part of it.

Python's collector looks for circles again and again while the objects of a large graph are made, of
which nearly all stay: a tenth of the time, and more of it the larger the graph is.
"""

from __future__ import annotations

import ctypes
import gc
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Final

from vaccel import bounds

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_LOADING: Final = 1 * bounds.MIB
# Where glibc itself ends up after some large blocks: tensors of launches are used again and again.
_RUNNING: Final = 32 * bounds.MIB
# What the heap may get of a model's weights, at most: what that can add to the load's peak.
_SHARE: Final = 0.3
_STEPS: Final = tuple(bounds.MIB << shift for shift in range(4, 0, -1))

_tidying: Final = threading.Event()


@contextmanager
def tidied(size: int) -> Iterator[None]:
    """Blocks of weights go back to the host as they are freed, while a model of a size is loaded.

    One load at a time. Small models are left alone, but for the collector, which waits.
    """
    with _uncollected():
        if size < _LOADING:
            yield
            return
        with _mapped():
            yield


@contextmanager
def _uncollected() -> Iterator[None]:
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@contextmanager
def opening(sizes: Collection[int]) -> Iterator[None]:
    """While a session over weights of such sizes is opened. Outside ``tidied`` it does nothing."""
    if not _tidying.is_set():
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, threshold(sizes))
    try:
        yield
    finally:
        libc.mallopt(_M_MMAP_THRESHOLD, _LOADING)


def threshold(sizes: Collection[int]) -> int:
    """From which size blocks are mapped of their own."""
    most = _SHARE * sum(sizes)
    for step in _STEPS:
        if sum(size for size in sizes if size < step) <= most:
            return step
    return _LOADING


@contextmanager
def _mapped() -> Iterator[None]:
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, _LOADING)
    _tidying.set()
    try:
        yield
    finally:
        _tidying.clear()
        libc.mallopt(_M_MMAP_THRESHOLD, _RUNNING)
        libc.mallopt(_M_TRIM_THRESHOLD, 2 * _RUNNING)
        libc.malloc_trim(0)
