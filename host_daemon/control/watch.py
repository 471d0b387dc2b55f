"""Long operations: they run as tasks of the daemon, and a client only watches.

A client that goes away does not leave an operation half done: the operation ends by itself.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from vaccel.errors import VaccelError
from vaccel.operations import Progress

log = logging.getLogger(__name__)

T = TypeVar("T")

Report = Callable[[str, float], None]


class Tasks:
    """Owns the daemon's background tasks.

    Errors are their watcher's; all of them are logged, because a watcher may have gone.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()

    def start(self, work: Awaitable[T], name: str) -> asyncio.Task[T]:
        """Run something to its end."""

        async def run() -> T:
            return await work

        task = asyncio.create_task(run(), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[T]) -> None:
        self._tasks.discard(task)
        fault = None if task.cancelled() else task.exception()
        if isinstance(fault, VaccelError):
            log.info("%s: %s", task.get_name(), fault)
        elif fault is not None:
            log.error("bug in %s", task.get_name(), exc_info=fault)

    async def close(self) -> None:
        """Cancel what still runs and wait for its undo."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def watch(
    tasks: Tasks, name: str, work: Callable[[Report], Awaitable[T]]
) -> AsyncIterator[Progress | T]:
    """Start ``work(report)``; yield its progress, then its result. Raises what it raises."""
    steps: asyncio.Queue[Progress | None] = asyncio.Queue()

    def report(step: str, fraction: float = -1.0) -> None:
        steps.put_nowait(Progress(step, fraction))

    task = tasks.start(work(report), name)
    task.add_done_callback(lambda _: steps.put_nowait(None))
    while (step := await steps.get()) is not None:
        yield step
    yield await task
