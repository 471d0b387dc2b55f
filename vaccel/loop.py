"""The one event loop of the blocking SDK.

A daemon thread per process, started when first needed. A forked child needs one of its own.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from vaccel import forks
from vaccel.errors import WrongState

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
# Those of parents, never freed: their selectors are shared with the parents.
_old: list[asyncio.AbstractEventLoop | None] = []


def _get() -> asyncio.AbstractEventLoop:
    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="vaccel", daemon=True).start()
        return _loop


def _begin() -> None:
    global _lock, _loop
    _old.append(_loop)
    _lock, _loop = threading.Lock(), None


os.register_at_fork(after_in_child=_begin)


def start(work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
    """Run a coroutine there, and do not wait for it; cancelling the future cancels it.

    Raises WrongState in a forked child whose parent had opened a device.
    """
    try:
        forks.check()
    except WrongState:
        work.close()
        raise
    return asyncio.run_coroutine_threadsafe(work, _get())


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine there and wait for it. Ctrl-C cancels it."""
    if threading.current_thread().name == "vaccel":
        work.close()
        raise WrongState("the blocking SDK was called from its own event loop")
    future = start(work)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise
