"""Waiting for an answer from something that may end before it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from vaccel import bounds
from vaccel.errors import Unavailable, VaccelError

T = TypeVar("T")
# Done once the thing has ended. How is its result, not its exception: nobody need fetch it.
End = asyncio.Future[VaccelError]


async def unless(end: End, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``; raises what ``end`` says where that comes first.

    A process that dies closes its sockets a moment before it is seen to have ended: where ``work``
    finds nobody there, it is the end that says why.
    """
    task = asyncio.ensure_future(work)
    try:
        ends: set[asyncio.Future[Any]] = {task, end}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            if isinstance(task.exception(), Unavailable):
                await asyncio.wait({end}, timeout=bounds.VM_END_SECONDS)
                if end.done():
                    raise end.result()
            return task.result()
        raise end.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
