"""The one poller of an event loop: looks at the queues while somebody awaits something of them.

There are no interrupts from a window. It spins for a moment, then sleeps for longer and longer;
with nothing outstanding it does not run at all.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from vaccel import bounds
from vaccel.fastpath.pace import pause
from vaccel.fastpath.queue import AppQueue


@dataclass(frozen=True, slots=True)
class _Awaited:
    """A fence that somebody awaits."""

    queue: AppQueue
    stream: int
    fence: int
    future: asyncio.Future[None]

    def settled(self) -> bool:
        """Whether nobody needs to look any more: reached, given up, or never to come."""
        if self.future.done():
            return True
        if self.queue.fence_settled(self.stream, self.fence):
            self.future.set_result(None)
            return True
        return False


class Poller:
    """Belongs to one event loop."""

    def __init__(self) -> None:
        self._queues: set[AppQueue] = set()
        self._awaited: list[_Awaited] = []
        self._task: asyncio.Task[None] | None = None

    def watch(self, queue: AppQueue) -> None:
        """A queue has something outstanding."""
        self._queues.add(queue)
        self._start()

    async def settled(self, queue: AppQueue, stream: int, fence: int) -> None:
        """Until a fence is reached, or is known never to be."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._awaited.append(_Awaited(queue, stream, fence, future))
        self._start()
        await future

    def _start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="poller")

    def _look(self) -> bool:
        """Whether anything moved."""
        moved = False
        for queue in list(self._queues):
            moved |= queue.reap()
            if not queue.outstanding:
                self._queues.discard(queue)
        left = [one for one in self._awaited if not one.settled()]
        moved |= len(left) < len(self._awaited)
        self._awaited = left
        return moved

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        while self._queues or self._awaited:
            if self._look():
                start = loop.time()
            waited = loop.time() - start
            await asyncio.sleep(0 if waited < bounds.SPIN_SECONDS else pause(waited))


_pollers: dict[asyncio.AbstractEventLoop, Poller] = {}


def poller() -> Poller:
    """The poller of the running loop."""
    loop = asyncio.get_running_loop()
    for old in [known for known in _pollers if known.is_closed()]:
        del _pollers[old]
    return _pollers.setdefault(loop, Poller())
