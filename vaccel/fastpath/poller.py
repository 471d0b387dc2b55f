"""The one poller of a process: asks the queues for completions while somebody awaits one.

There are no interrupts from a window. It spins for a moment, then sleeps for longer and longer;
with nothing outstanding it does not run at all.
"""

from __future__ import annotations

import asyncio

from vaccel import bounds
from vaccel.fastpath.queue import AppQueue


class Poller:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._queues: set[AppQueue] = set()
        self._task: asyncio.Task[None] | None = None

    def watch(self, queue: AppQueue) -> None:
        """A queue has something outstanding."""
        self._queues.add(queue)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="poller")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        spin_end, pause = loop.time() + bounds.SPIN_SECONDS, bounds.POLL_FIRST_SECONDS
        while self._queues:
            moved = False
            for queue in list(self._queues):
                moved |= queue.reap()
                if not queue.outstanding:
                    self._queues.discard(queue)
            if moved:
                spin_end, pause = loop.time() + bounds.SPIN_SECONDS, bounds.POLL_FIRST_SECONDS
            if loop.time() < spin_end:
                await asyncio.sleep(0)
            else:
                await asyncio.sleep(pause)
                pause = min(2 * pause, bounds.POLL_LAST_SECONDS)


_pollers: dict[asyncio.AbstractEventLoop, Poller] = {}


def poller() -> Poller:
    """The poller of the running loop: a process that uses the SDK has one loop for it."""
    loop = asyncio.get_running_loop()
    for old in [known for known in _pollers if known.is_closed()]:
        del _pollers[old]
    return _pollers.setdefault(loop, Poller())
