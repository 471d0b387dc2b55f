"""How often to look for a completion: there are no interrupts from a window."""

from __future__ import annotations

from typing import Final

from vaccel import bounds

# A look costs an emulated guest tens of microseconds, of a core that the worker may want; waiting
# on for this part of what was waited so far makes any launch at most so much longer.
_PART: Final = 1 / 16


def pause(waited: float) -> float:
    """Seconds to sleep before the next look, after having waited so many."""
    return min(max(bounds.POLL_FIRST_SECONDS, waited * _PART), bounds.POLL_LAST_SECONDS)
