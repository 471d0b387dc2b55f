"""The slab of a lease as its app gives it out: to calls, to staging arrays, and to lent results.

Safe for threads. What goes back may come from the collector, at any point of any thread.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Final

from vaccel.aperture.slab import Slab

# The part of a slab that lent results may hold: the rest is for staging, and for calls under way.
_LENT_PART: Final = 2


class Pieces:
    """Bytes from ``offset`` of the window, ``size`` of them."""

    def __init__(self, offset: int, size: int) -> None:
        self._lock = threading.Lock()
        self._slab = Slab(offset, size)
        self._most_lent = size // _LENT_PART
        self._garbage: deque[int] = deque()
        self._lent: dict[int, int] = {}
        self._lent_bytes = 0

    @property
    def held(self) -> tuple[tuple[int, int], ...]:
        """Offset and size of each piece that is given out, and not back. Takes no lock."""
        pieces = self._slab.pieces
        garbage = frozenset(self._garbage)
        return tuple(piece for piece in pieces if piece[0] not in garbage)

    def allocate(self, size: int, alignment: int) -> int:
        """Offset in the window of a new piece. Raises Exhausted."""
        with self._lock:
            self._collect()
            return self._slab.allocate(size, alignment)

    def free(self, offset: int) -> None:
        """Give a piece back. Takes no lock: the collector may have interrupted who holds it."""
        self._garbage.append(offset)

    def lend(self, offset: int, size: int) -> bool:
        """Let a piece outlive its call, as the result that lies in it; whether there is room."""
        with self._lock:
            self._collect()
            if self._lent_bytes + size > self._most_lent:
                return False
            self._lent[offset] = size
            self._lent_bytes += size
            return True

    def forked(self) -> None:
        """In a forked child, into which no thread has come that may hold the lock."""
        self._lock = threading.Lock()

    def _collect(self) -> None:
        while self._garbage:
            offset = self._garbage.popleft()
            self._slab.free(offset)
            self._lent_bytes -= self._lent.pop(offset, 0)

