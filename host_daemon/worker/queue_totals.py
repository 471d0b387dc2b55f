"""What went through the queue pairs of a VF: counted in the journal, so that nobody gets rid of it
by having the worker killed.
"""

from __future__ import annotations

from vaccel.aperture.journal import COUNTERS_WORDS


class _Counter:
    """One word of the counters. Its place is part of the journal's layout."""

    def __init__(self, at: int) -> None:
        self._at = at

    def __get__(self, totals: QueueTotals, _kind: type | None = None) -> int:
        return int(totals.words[self._at])

    def __set__(self, totals: QueueTotals, value: int) -> None:
        totals.words[self._at] = value


class QueueTotals:
    """``words`` are a journal's counters; without them it counts for itself, from 0."""

    descriptors = _Counter(0)
    malformed = _Counter(1)
    broken = _Counter(2)
    empty_doorbells = _Counter(3)
    throttled = _Counter(4)

    def __init__(self, words: memoryview | None = None) -> None:
        self.words = words or memoryview(bytearray(8 * COUNTERS_WORDS)).cast("Q")
