"""The one event loop of the blocking SDK.

A daemon thread per process, started when first needed.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from vaccel.errors import WrongState

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_owner = 0


def _get() -> asyncio.AbstractEventLoop:
    global _loop, _owner
    with _lock:
        if _loop is None or _owner != os.getpid():  # a forked child needs a loop of its own
            _loop = asyncio.new_event_loop()
            _owner = os.getpid()
            threading.Thread(target=_loop.run_forever, name="vaccel", daemon=True).start()
        return _loop


def start(work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
    """Run a coroutine there, and do not wait for it; cancelling the future cancels it."""
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
