"""How long the worker takes for calls of a kind, so that nobody looks while they are never done.

The worker says what each call took it: the caller's own clock would count how late it looked, and
then look as late the next time.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from vaccel.fastpath.oldest import make_room

# The fastest of so many calls is what the next is expected to take at least.
_KEPT: Final = 4
# How much of that to let pass without a look. Kernels vary by a few percent from call to call, but
# each look takes a core from them for a moment, and one that comes late is late by little.
_QUIET_PART: Final = 0.985
# Kinds of calls that are remembered; the oldest goes first.
_KINDS: Final = 256

Kind = tuple[int, int]


class Spans:
    """What calls took, by kind: their program, and the bytes of their arguments."""

    def __init__(self) -> None:
        self._served: dict[Kind, deque[int]] = {}

    def quiet(self, kind: Kind) -> float:
        """Seconds from the start of a call in which it is not expected to end; 0 if unknown."""
        served = self._served.get(kind)
        return _QUIET_PART * min(served) * 1e-9 if served else 0.0

    def note(self, kind: Kind, served_ns: int) -> None:
        """One more call, and what it took the worker."""
        served = self._served.get(kind)
        if served is None:
            make_room(self._served, _KINDS)
            served = self._served[kind] = deque(maxlen=_KEPT)
        served.append(served_ns)
