"""Whoever lends windows dies and comes back: the SDK goes on by gRPC, and borrows again."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import vaccel
from tests.conformance import models
from tests.conformance.compute_session import affine
from tests.integration.aperture_host import ApertureHost, holds, host, lending, look
from vaccel.aperture.lending import MEMFD, PCI
from vaccel.commands import Nop
from vaccel.errors import Unavailable

X = np.ones((2, 4), np.float32)


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ApertureHost]:
    async with host(tmp_path) as served:
        await served.lender.__aexit__()
        # A register of a PCI function that nobody emulates: somebody looks at the rings instead.
        looking = asyncio.create_task(look(served))
        yield served
        looking.cancel()


@contextmanager
def lender(
    served: ApertureHost, kind: str, loop: asyncio.AbstractEventLoop
) -> Iterator[None]:
    """The same, from another thread than the loop's."""
    made = lending(served, kind)
    asyncio.run_coroutine_threadsafe(made.__aenter__(), loop).result(10)
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(made.__aexit__(None, None, None), loop).result(10)


def until(condition: Callable[[], bool]) -> None:
    end, pause = time.monotonic() + 20, threading.Event()
    while not condition():
        assert time.monotonic() < end
        pause.wait(0.005)


async def test_an_app_borrows_again_under_its_arrays(served: ApertureHost) -> None:
    loop = asyncio.get_running_loop()

    def work() -> None:
        with lender(served, PCI, loop):
            device = vaccel.open(address=served.address, path="aperture")
            model, stream = device.load(models.build("affine")), device.stream()
            staged, buffer = device.staging((1 << 16,), "uint8"), device.buffer(1 << 16)
            staged[:] = 5
            stream.submit(Nop()).wait()
            model(X)
        until(lambda: device.path == "grpc")
        # The window is let go of, for nobody could take it back; what was in the array is not lost.
        assert (staged == 5).all()
        staged[:] = 6
        assert not holds(served, 6)
        buffer.write(staged)
        np.testing.assert_allclose(model(X)["y"], affine(X), rtol=1e-6)
        for fence in (1, 2):
            assert stream.submit(Nop()).wait().fence == fence and stream.fence(fence).done
        with pytest.raises(Unavailable):
            stream.record(Nop())
        for round_ in range(2):
            with lender(served, PCI, loop):
                until(lambda: device.path == "aperture")
                np.testing.assert_allclose(model(X)["y"], affine(X), rtol=1e-6)
                assert stream.submit(Nop()).wait().fence == 1
                # The array is a staging array again, and device memory is what it was.
                assert (staged == 6 + round_).all()
                assert (buffer.read("uint8", (1 << 16,)) == 6 + round_).all()
                staged[:] = 7 + round_
                assert holds(served, 7 + round_)
                buffer.write(staged)
            until(lambda: device.path == "grpc")
        device.close()
        assert served.executor.contexts == []

    await asyncio.to_thread(work)


async def test_a_local_app_keeps_its_window_and_is_known_again(served: ApertureHost) -> None:
    loop = asyncio.get_running_loop()

    def work() -> None:
        with lender(served, MEMFD, loop):
            device = vaccel.open(address=served.address, path="aperture")
            stream = device.stream()
            queue = device._queue
            assert queue is not None
        for _ in range(3):
            stream.submit(Nop()).wait()
        with lender(served, MEMFD, loop):
            loans = device._compute._borrowed  # type: ignore[attr-defined]
            until(lambda: all(loan.socket.fileno() >= 0 for loan in loans.values()))
            assert stream.submit(Nop()).wait().fence == 4
            assert device._queue is queue
            device.close()

    await asyncio.to_thread(work)
