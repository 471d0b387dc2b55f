"""The one thread that kernels run on, beside the event loop, and the watch over what must end.

A call is told to stop where its context closes or whoever asked for it has gone. Most kernels look
at that between two nodes. One that does not end in time would keep the VF from everybody for ever,
and no thread can be ended from outside: then the worker ends itself, which resets the VF.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import onnxruntime as ort

from host_daemon.compiler import sessions
from host_daemon.worker.contexts import Context
from vaccel import bounds
from vaccel.errors import Cancelled

log = logging.getLogger(__name__)
T = TypeVar("T")


def end_process(what: str) -> NoReturn:
    """End the worker at once, as if it were killed: its daemon starts another."""
    log.critical("%s: this worker ends itself, and its VF is reset", what)
    logging.shutdown()
    os._exit(1)


@dataclass(slots=True, eq=False)
class _Work:
    """One call. ``within`` is how long it may go on, in seconds, once it was told to stop."""

    context: Context
    stop: ort.RunOptions
    within: float
    running: Future[Any] | None = None
    timer: asyncio.TimerHandle | None = None


class KernelThread:
    """Belongs to the event loop. ``hung`` is called with what did not stop in time."""

    def __init__(self, hung: Callable[[str], None] = end_process) -> None:
        self._hung = hung
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kernels")
        self._work: list[_Work] = []

    async def run(
        self,
        context: Context,
        call: Callable[[ort.RunOptions], T],
        within: float = bounds.COMPUTE_SECONDS,
    ) -> T:
        """Run a call of a context. Raises Cancelled where it was told to stop before it began.

        What does not look at its options, such as a load, may go on longer than a launch.
        """
        work = _Work(context, sessions.run_options(), within)

        def begin() -> T:
            if work.stop.terminate:
                raise context.closed or Cancelled("stopped before it began")
            return call(work.stop)

        self._work.append(work)
        work.running = self._thread.submit(begin)
        try:
            return await asyncio.wrap_future(work.running)
        except asyncio.CancelledError:
            # Whoever asked has gone: nobody would see the result.
            self._tell(work)
            raise
        finally:
            self._forget(work)

    def stop(self, context: Context) -> None:
        """End what the context has here."""
        for work in self._work:
            if work.context is context:
                self._tell(work)

    async def between(self, call: Callable[[], T]) -> T:
        """Run a call that belongs to no context."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    async def settle(self) -> None:
        """Until what is on the thread now has ended."""
        await self.between(lambda: None)

    def later(self, call: Callable[[], None]) -> None:
        """Run a call behind what runs now, if anything still will."""
        with suppress(RuntimeError):  # the thread has ended, and the device goes with the worker
            self._thread.submit(call)

    def end(self) -> None:
        """Stop everything, and wait for nothing."""
        for work in self._work:
            work.stop.terminate = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _tell(self, work: _Work) -> None:
        work.stop.terminate = True
        if work.timer is None:
            loop = asyncio.get_running_loop()
            work.timer = loop.call_later(work.within, self._late, work)

    def _late(self, work: _Work) -> None:
        # What waits behind another's call will not begin.
        if work.running is not None and work.running.running():
            self._hung(
                f"a call of context {work.context.name} was told to stop {work.within:g} s ago and"
                " runs on"
            )

    def _forget(self, work: _Work) -> None:
        """Once it has ended; until then it is watched."""
        loop = asyncio.get_running_loop()

        def ended(_: Future[Any]) -> None:
            with suppress(RuntimeError):  # the loop is closed, and the process ends
                loop.call_soon_threadsafe(self._forget, work)

        if work.running is not None and not work.running.done():
            work.running.add_done_callback(ended)
            return
        if work.timer is not None:
            work.timer.cancel()
        self._work.remove(work)
