"""What loading a model does to the heap: large blocks come and go, and should leave nothing behind.

glibc raises the size from which blocks are mapped of their own, up to 32 MiB, whenever one is freed
(mallopt(3), M_MMAP_THRESHOLD). ONNX Runtime's copies of weights then lie in heaps that stay.

Python's collector looks for circles again and again while the objects of a large graph are made, of
which nearly all stay: a tenth of the time, and more of it the larger the graph is.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from vaccel import bounds

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_LOADING: Final = 1 * bounds.MIB
# Where glibc itself ends up after some large blocks: tensors of launches are used again and again.
_RUNNING: Final = 32 * bounds.MIB


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
def _mapped() -> Iterator[None]:
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, _LOADING)
    try:
        yield
    finally:
        libc.mallopt(_M_MMAP_THRESHOLD, _RUNNING)
        libc.mallopt(_M_TRIM_THRESHOLD, 2 * _RUNNING)
        libc.malloc_trim(0)
