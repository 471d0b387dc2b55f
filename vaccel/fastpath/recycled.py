"""Memory of results whose owner has let go of them, for the next results.

Fresh pages cost a guest under TCG three times as much as what is copied into them, and an
allocator gives large pieces back to the system as soon as it can.
"""

from __future__ import annotations

import sys
import threading
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vaccel import bounds

Bytes = NDArray[np.uint8]


class Recycled:
    """Arrays that were handed out, until they are too many. Any thread may take some.

    Each view of an array keeps it alive, so one that nobody but this list holds is free. It counts
    the holders as CPython does; a count that says more than there are only costs a fresh array.
    """

    def __init__(self, most_bytes: int = bounds.RESULTS_KEPT_BYTES) -> None:
        self._most = most_bytes
        self._lock = threading.Lock()
        self._known: list[Bytes] = []

    def take(self, nbytes: int) -> Bytes:
        """An array of so many bytes, with any contents, that nobody else holds."""
        if not bounds.RESULTS_KEPT_LEAST <= nbytes <= self._most:
            return np.empty(nbytes, np.uint8)
        with self._lock:
            found = self._free(nbytes)
            if found is None:
                found = np.empty(nbytes, np.uint8)
                self._make_room(nbytes)
            self._known.append(found)
            return found

    def _free(self, nbytes: int) -> Bytes | None:
        for index in range(len(self._known)):
            array = self._known.pop(index)
            if array.nbytes == nbytes and sys.getrefcount(array) <= _ALONE:
                return array
            self._known.insert(index, array)
        return None

    def _make_room(self, nbytes: int) -> None:
        while self._known and sum(each.nbytes for each in self._known) + nbytes > self._most:
            del self._known[0]


def _alone() -> int:
    """How many holders an array has that one name holds."""
    array = np.empty(1, np.uint8)
    return sys.getrefcount(array)


_ALONE: Final = _alone()
