"""How long the calls of a program take, so that nobody looks while they are never done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# The first calls are slow for reasons of their own: what they take is no measure.
_FIRST: Final = 3
# How much of the usual time to let pass without a look.
_QUIET_PART: Final = 0.9
# A call that was done before that came late. One that took longer may have met a busy machine.
_SHRINK: Final = 0.5
_GROWTH: Final = 1.1


@dataclass(frozen=True, slots=True)
class Span:
    """What the fast ones of ``calls`` calls took, in seconds."""

    calls: int = 0
    seconds: float = 0.0

    @property
    def quiet(self) -> float:
        """Seconds from the start of a call in which it is not expected to end."""
        return _QUIET_PART * self.seconds if self.calls >= _FIRST else 0.0

    def after(self, taken: float) -> Span:
        """With one more call."""
        if self.calls < _FIRST:
            seconds = min(taken, self.seconds or taken)
        elif taken < self.quiet + (self.seconds - self.quiet) / 4:
            seconds = self.seconds * _SHRINK
        else:
            seconds = min(taken, self.seconds * _GROWTH)
        return Span(min(self.calls + 1, _FIRST), seconds)
