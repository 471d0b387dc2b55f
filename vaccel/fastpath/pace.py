"""How often to look for a completion: there are no interrupts from a window."""

from __future__ import annotations

from typing import Final

from vaccel import bounds

# A look costs an emulated guest a tenth of a millisecond, of a core that the worker may want;
# waiting on for this part of what was waited so far makes any launch at most so much longer.
_PART: Final = 1 / 16
# The same once the end is known to be near: few looks, and a small part of the whole.
_PART_NEAR: Final = 1 / 128


def pause(waited: float) -> float:
    """Seconds to sleep before the next look, after having waited so many."""
    return _within(waited * _PART)


def pause_near(waited: float, late: float) -> float:
    """The same where the end was expected ``late`` seconds ago, of those that were waited."""
    return _within(max(waited * _PART_NEAR, late * _PART))


def next_look(waited: float, left: float | None) -> float:
    """Seconds to sleep, having waited so many; ``left`` until the end is expected, negative where
    that was before, None where nothing is known of it.
    """
    if left is None:
        return pause(waited)
    if left > 0:
        return min(left, bounds.QUIET_LOOK_SECONDS)
    return pause_near(waited, -left)


def _within(seconds: float) -> float:
    return min(max(bounds.POLL_FIRST_SECONDS, seconds), bounds.POLL_LAST_SECONDS)
