"""How long to wait before trying again."""

from __future__ import annotations

from collections.abc import Callable

from vaccel import bounds


class Backoff:
    """Pauses that double, with full jitter, so that many guests do not return in step.

    The n-th pause is uniform between the first bound and ``min(last, first * 2**n)``; see
    "Exponential Backoff And Jitter", M. Brooker, AWS Architecture Blog, 2015. ``random()`` is
    uniform in [0, 1).
    """

    def __init__(
        self,
        random: Callable[[], float],
        first: float = bounds.BACKOFF_FIRST_SECONDS,
        last: float = bounds.BACKOFF_LAST_SECONDS,
    ) -> None:
        self._random = random
        self._first = first
        self._last = last
        self._ceiling = first

    def next(self) -> float:
        """Seconds to wait now."""
        self._ceiling = min(self._last, self._ceiling * 2)
        return self._first + (self._ceiling - self._first) * self._random()

    def reset(self) -> None:
        """It worked: begin again with short pauses."""
        self._ceiling = self._first
