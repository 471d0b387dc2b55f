"""The status page of a window, as a guest reads it: what the worker says of itself.

For people and for monitoring. Whoever can map the window can write there too, so nothing is decided
by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vaccel.aperture import layout
from vaccel.aperture.window import Window
from vaccel.errors import Unavailable

_BASE: Final = layout.STATUS_OFFSET // layout.WORD
_STATES: Final = {layout.NO_WORKER: "none", layout.SERVING: "serving", layout.RECOVERING: "lost"}
# A worker needs microseconds; a reader that finds it at work this often gives up for now.
_READ_ATTEMPTS: Final = 64


@dataclass(frozen=True, slots=True)
class Status:
    """Fields as ``layout.status_table`` has them, in its order."""

    generation: int
    state: int
    epoch: int
    queues_lent: int
    queues: int
    slab_bytes_lent: int
    slab_bytes_largest: int
    descriptors: int
    malformed: int
    broken: int
    doorbells: int
    doorbells_empty: int

    @property
    def serving(self) -> bool:
        """Whether a worker says that it serves the VF."""
        return self.state == layout.SERVING

    @property
    def state_name(self) -> str:
        """none, serving, lost; a number that is none of these as it is."""
        return _STATES.get(self.state, str(self.state))


def read(window: Window) -> Status:
    """A copy of the page. Raises Unavailable where a worker is writing, or was killed in it."""
    words, first = window.words, _BASE + layout.STATUS_GENERATION.word
    for _ in range(_READ_ATTEMPTS):
        generation = words[first]
        found = Status(*(words[_BASE + field.word] for field in layout.STATUS_FIELDS))
        if not generation & 1 and generation == words[first] == found.generation:
            return found
    raise Unavailable(
        f"the status page is being written (generation {generation})", hint="read it again"
    )
