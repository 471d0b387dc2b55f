"""The worker's status page in the window: for guests to look at, read by nobody on the host.

It has no heartbeat: nothing is written while nothing changes. What the doorbell and the ends of
calls count is written a moment later, so that nobody waits for it and a thousand are one write.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from vaccel import bounds
from vaccel.aperture import layout
from vaccel.aperture.slab import Slab
from vaccel.aperture.window import Window

if TYPE_CHECKING:
    from host_daemon.worker.executor import Executor
    from host_daemon.worker.queues import Queues

_BASE = layout.STATUS_OFFSET // layout.WORD


class StatusPage:
    """Belongs to the event loop. The window stays the caller's, and is open until ``end``."""

    def __init__(
        self, window: Window, executor: Executor, queues: Queues, slabs: Slab
    ) -> None:
        self._window, self._executor = window, executor
        self._queues, self._slabs = queues, slabs
        self._state = layout.NO_WORKER
        self._doorbells = 0
        self._last: tuple[int, ...] = ()
        # Never read back, and larger than whatever a worker of an epoch before wrote.
        self._generation = (executor.epoch << 32) & _U64
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False

    def show(self, state: int) -> None:
        """Write a state, and all else, at once."""
        self._state = state
        self._write()

    def rang(self) -> None:
        """One more doorbell was heard."""
        self._doorbells += 1
        self.touch()

    def touch(self) -> None:
        """Something has changed, or may."""
        if self._timer is None and not self._ended:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(bounds.STATUS_SECONDS, self._look)

    def end(self) -> None:
        """Nobody serves the VF from here on, and what was counted stays. Writes no more."""
        if self._timer is not None:
            self._timer.cancel()
        self.show(layout.NO_WORKER)
        self._ended = True

    def _look(self) -> None:
        self._timer = None
        # What is under way counts when it ends, and rings no doorbell then.
        if self._write() or self._queues.busy:
            self.touch()

    def _write(self) -> bool:
        """Whether anything was another than before."""
        figures = self._figures()
        if figures == self._last:
            return False
        self._last = figures
        words = self._window.words
        words[_BASE + layout.STATUS_GENERATION.word] = self._generation | 1
        for field, value in zip(layout.STATUS_FIELDS[1:], figures, strict=True):
            words[_BASE + field.word] = value & _U64
        self._generation = (self._generation + 2) & _U64
        words[_BASE + layout.STATUS_GENERATION.word] = self._generation
        return True

    def _figures(self) -> tuple[int, ...]:
        """Values of the fields behind the generation, in their order."""
        totals, slabs = self._queues.totals, self._slabs
        pairs = layout.queue_pairs(self._window.size)
        return (
            self._state,
            self._executor.epoch,
            pairs - self._queues.free_pairs,
            pairs,
            slabs.size - slabs.free_bytes,
            slabs.largest_free,
            totals.descriptors,
            totals.malformed,
            totals.broken,
            self._doorbells,
            totals.empty_doorbells,
        )


_U64 = (1 << 64) - 1
