"""What runs on the kernels' thread is told to stop, and watched until it has."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import onnxruntime as ort
import pytest

from host_daemon.worker.contexts import Context
from host_daemon.worker.kernel_thread import KernelThread
from host_daemon.worker.memory import DeviceMemory
from vaccel.errors import Cancelled, NotFound

SOON = 0.05
LATE = 60.0


class Hung:
    """Who hears of what did not stop."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.event = asyncio.Event()

    def __call__(self, what: str) -> None:
        self.heard.append(what)
        self.event.set()


class Deaf:
    """A kernel that never looks whether it is to stop, until it is let go."""

    def __init__(self) -> None:
        self.begun, self.free = threading.Event(), threading.Event()

    def __call__(self, _: ort.RunOptions) -> None:
        self.begun.set()
        assert self.free.wait(LATE)


@pytest.fixture
async def hung() -> Hung:
    return Hung()


@pytest.fixture
async def thread(hung: Hung) -> AsyncIterator[KernelThread]:
    made = KernelThread(hung)
    yield made
    made.end()


@pytest.fixture
def deaf() -> Iterator[Deaf]:
    made = Deaf()
    yield made
    made.free.set()


def context(name: str) -> Context:
    return Context(name, DeviceMemory(1 << 20))


async def begun(kernel: Deaf) -> None:
    assert await asyncio.to_thread(kernel.begun.wait, LATE)


async def test_what_does_not_stop_in_time_is_told_of(
    thread: KernelThread, hung: Hung, deaf: Deaf
) -> None:
    one = context("ctx-one")
    call = asyncio.create_task(thread.run(one, deaf, SOON))
    await begun(deaf)
    assert not hung.heard  # nobody told it to stop
    thread.stop(one)
    await asyncio.wait_for(hung.event.wait(), LATE)
    assert hung.heard == ["a call of context ctx-one was told to stop 0.05 s ago and runs on"]
    deaf.free.set()
    await call


async def test_so_is_one_whose_deadline_is_over(
    thread: KernelThread, hung: Hung, deaf: Deaf
) -> None:
    call = asyncio.create_task(thread.run(context("ctx-one"), deaf, SOON))
    await begun(deaf)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await asyncio.wait_for(hung.event.wait(), LATE)


async def test_what_stops_is_let_be(thread: KernelThread, hung: Hung, deaf: Deaf) -> None:
    one = context("ctx-one")
    for end in (thread.stop, None):
        call = asyncio.create_task(thread.run(one, deaf, SOON))
        await begun(deaf)
        if end:
            end(one)
        else:
            call.cancel()
        deaf.free.set()
        await asyncio.gather(call, return_exceptions=True)
        await thread.settle()
        # Longer than its bound: this is the time in which nothing may happen.
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(hung.event.wait(), 4 * SOON)
        deaf.begun.clear()
        deaf.free.clear()


async def test_only_who_was_told_to_stop_is_watched(
    thread: KernelThread, hung: Hung, deaf: Deaf
) -> None:
    one, other = context("ctx-one"), context("ctx-other")
    call = asyncio.create_task(thread.run(one, deaf, SOON))
    await begun(deaf)
    ran: list[str] = []
    waiting = asyncio.create_task(thread.run(other, lambda _: ran.append("other"), SOON))
    await asyncio.sleep(0)
    # It waits behind one that nobody told to stop: no fault of its own, and no reason to end.
    thread.stop(other)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(hung.event.wait(), 4 * SOON)
    deaf.free.set()
    await call
    with pytest.raises(Cancelled):
        await waiting
    assert not ran


async def test_who_never_began_hears_why_its_context_closed(
    thread: KernelThread, deaf: Deaf
) -> None:
    one, other = context("ctx-one"), context("ctx-other")
    call = asyncio.create_task(thread.run(one, deaf))
    await begun(deaf)
    waiting = asyncio.create_task(thread.run(other, lambda _: None))
    await asyncio.sleep(0)
    other.close(NotFound("context 'ctx-other' was closed"))
    thread.stop(other)
    deaf.free.set()
    await call
    with pytest.raises(NotFound, match="ctx-other"):
        await waiting
