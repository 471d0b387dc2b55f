"""A queue pair that breaks under an app is lent again, and the app's device stays open."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vaccel
from tests.conformance import models
from tests.conformance.compute_session import affine
from tests.integration.aperture_host import ApertureHost, host
from vaccel.aperture import layout
from vaccel.commands import Fill, Nop
from vaccel.errors import VaccelError, WrongState
from vaccel.fastpath.queue import AppQueue

X = np.ones((2, 4), np.float32)
# Indices that the app must not write, or not so.
PLACES = {
    "a tail that runs ahead": (layout.SQ_TAIL, 1 << 40),
    "a head that runs ahead": (layout.CQ_HEAD, 1 << 40),
    "completions that never were": (layout.CQ_TAIL, 1 << 40),
}


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ApertureHost]:
    async with host(tmp_path) as served:
        yield served


async def with_device(served: ApertureHost, work: Callable[[vaccel.Device], Any]) -> Any:
    def use() -> Any:
        with vaccel.open(address=served.address, path="aperture") as device:
            return work(device)

    return await asyncio.to_thread(use)


def queue_of(device: vaccel.Device) -> AppQueue:
    queue = device._queue
    assert queue is not None
    return queue


def spoil(queue: AppQueue, field: layout.Field, value: int) -> None:
    """What a wild pointer of the app might do. Its worker sees it, save where that only writes."""
    base, words = layout.queue_offset(queue.lease.queue) // layout.WORD, queue.window.words
    words[base + field.word] = value
    queue._ring_bell()
    end = time.monotonic() + 10
    while field is not layout.CQ_TAIL and not words[base + layout.QUEUE_STATE.word]:
        assert time.monotonic() < end


def broken(device: vaccel.Device, field: layout.Field, value: int) -> WrongState:
    """Spoil an index, and work on until that is told, once."""
    stream, queue = device.stream(), queue_of(device)
    spoil(queue, field, value)
    with pytest.raises(WrongState) as told:
        while True:
            stream.submit(Nop()).wait(10)
    assert queue.dead is told.value
    return told.value


@pytest.mark.parametrize("what", sorted(PLACES))
async def test_the_device_goes_on_with_another_queue_pair(served: ApertureHost, what: str) -> None:
    def work(device: vaccel.Device) -> None:
        model, stream = device.load(models.build("affine")), device.stream()
        staged, buffer = device.staging(4096, "uint8"), device.buffer(4096)
        staged[:] = 7
        buffer.write(staged)
        recording, lost = stream.record(Nop(), Nop()), stream.submit(Nop())
        lost.wait(10)
        queue = queue_of(device)
        error = broken(device, *PLACES[what])
        assert "recordings are gone" in error.hint
        # What was of the queue pair says so; the rest is where it was.
        for old in (recording.replay, lost.wait):
            with pytest.raises(WrongState):
                old()
        assert stream.submit(Nop(), Nop()).wait(10).fence == 2
        assert device.path == "aperture" and queue_of(device) is not queue
        assert (staged == 7).all()
        assert (buffer.read("uint8", (4096,)) == 7).all()
        staged[:] = 8
        buffer.write(staged)
        assert (buffer.read_into(device.staging(4096, "uint8")) == 8).all()
        np.testing.assert_allclose(model(X)["y"], affine(X), rtol=1e-6)
        assert stream.record(Nop(), Nop(), Nop()).replay().wait(10).fence == 5

    await with_device(served, work)
    assert served.executor.contexts == []
    assert served.executor.usage().memory_bytes == 0


async def test_calls_and_buffers_alone_get_over_it_too(served: ApertureHost) -> None:
    def work(device: vaccel.Device) -> None:
        model = device.load(models.build("affine"))
        for round_ in range(5):
            queue = queue_of(device)
            spoil(queue, layout.SQ_TAIL, 1 << 40)
            try:
                model(X)
            except WrongState:
                model(X)
            assert queue_of(device) is not queue, round_
            buffer = device.buffer(X)
            assert np.array_equal(buffer.read("float32", X.shape), X)
        usage = served.executor.usage()
        assert (usage.broken_queues, usage.queues, usage.contexts) == (5, 1, 1)

    await with_device(served, work)


async def test_many_threads_have_it_lent_again_once(served: ApertureHost) -> None:
    def work(device: vaccel.Device) -> None:
        lends = 0
        lend = served.queues.lend

        def counted(*arguments: Any) -> Any:
            nonlocal lends
            lends += 1
            return lend(*arguments)

        served.queues.lend = counted  # type: ignore[method-assign]
        broken(device, layout.SQ_TAIL, 1 << 40)
        faults: list[BaseException] = []
        ready = threading.Barrier(8)

        def run() -> None:
            try:
                ready.wait(10)
                device.stream().submit(Nop()).wait(10)
            except BaseException as fault:
                faults.append(fault)

        threads = [threading.Thread(target=run) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not faults and lends == 1

    await with_device(served, work)


async def test_where_it_is_not_lent_again_grpc_goes_on(
    served: ApertureHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: Any) -> None:
        raise VaccelError("no")

    def work(device: vaccel.Device) -> None:
        stream, buffer = device.stream(), device.buffer(8)
        broken(device, layout.SQ_TAIL, 1 << 40)
        with monkeypatch.context() as patch:
            patch.setattr(served.queues, "lend", refuse)
            stream.submit(Fill(buffer.at(), 8, b"a")).wait(10)
            assert device.path == "grpc"
        assert buffer.read("uint8", (8,)).tobytes() == b"a" * 8
        assert queue_of(device).dead is None and device.path == "aperture"

    await with_device(served, work)


async def test_a_closed_device_stays_closed(served: ApertureHost) -> None:
    def work() -> None:
        device = vaccel.open(address=served.address, path="aperture")
        stream = device.stream()
        broken(device, layout.SQ_TAIL, 1 << 40)
        device.close()
        for _ in range(2):
            with pytest.raises(WrongState, match="closed"):
                stream.submit(Nop())

    await asyncio.to_thread(work)
    assert served.executor.contexts == []
