"""Calls that are made again while the peer is away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from vaccel import bounds, errors

T = TypeVar("T")

# How long a call is tried again while the peer is away: as long as the peer may be away without a
# loss. A daemon is back within a second, an agent in an emulated guest of a busy host in 20.
_RETRY_SECONDS: Final = bounds.CONTEXT_GRACE_SECONDS


async def patiently(
    call: Callable[[], Awaitable[T]], *also: type[errors.VaccelError]
) -> T:
    """Repeat an idempotent call while the peer is away, or while it says one of ``also``.

    Raises that after a while.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _RETRY_SECONDS
    pause = bounds.BACKOFF_FIRST_SECONDS
    while True:
        try:
            return await call()
        except errors.VaccelError as fault:
            if not isinstance(fault, (errors.Unavailable, *also)):
                raise
            if loop.time() + pause > deadline:
                raise
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - jitter
            pause = min(2 * pause, bounds.BACKOFF_LAST_SECONDS)
