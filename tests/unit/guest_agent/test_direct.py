"""The agent's own queue pairs: taken on the first hot call, and left to an app that asks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from guest_agent.direct import DirectCompute
from guest_agent.rings import Rings
from tests.integration.aperture_host import WINDOW, ApertureHost, host
from vaccel.aperture import lending
from vaccel.commands import Nop
from vaccel.errors import Unavailable
from vaccel.rpc.address import open_channel


@asynccontextmanager
async def direct(
    served: ApertureHost, monkeypatch: pytest.MonkeyPatch, rings: Rings | None = None
) -> AsyncIterator[DirectCompute]:
    # A local VF's doorbell in the place of a PCI function's: a descriptor like any other.
    monkeypatch.setattr("guest_agent.direct.PCI", lending.MEMFD)
    channel = open_channel(served.address)
    compute = DirectCompute(channel, (), "host", rings or Rings(lambda: lent(served)))
    yield compute
    await compute.close()
    await channel.close(None)


def lent(served: ApertureHost) -> tuple[int, int, int]:
    return os.dup(served.memfd), os.dup(served.doorbell), WINDOW


async def test_hot_calls_go_through_the_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with host(tmp_path) as served, direct(served, monkeypatch) as compute:
        context = await compute.open_context()
        buffer = await compute.allocate(context, 8)
        assert served.queues.totals.descriptors == 0
        await asyncio.gather(
            *(compute.write(context, buffer, at, bytes([at])) for at in range(8))
        )
        assert await compute.read(context, buffer, 0, 8) == bytes(range(8))
        await compute.run(context, 1, 1, [Nop()], 10)
        assert served.queues.totals.descriptors == 10
        assert len(served.queues) == 1
        await compute.close_context(context)


async def test_an_app_that_asks_gets_the_queue_pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with host(tmp_path) as served, direct(served, monkeypatch) as compute:
        context = await compute.open_context()
        buffer = await compute.allocate(context, 8)
        await compute.write(context, buffer, 0, b"x")
        lease = await compute.lend_queue(context)
        before = served.queues.totals.descriptors
        await compute.write(context, buffer, 1, b"y")
        assert served.queues.totals.descriptors == before
        assert await compute.lend_queue(context) == lease
        assert await compute.read(context, buffer, 0, 2) == b"xy"


async def test_another_connection_leaves_an_apps_queue_pair_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with host(tmp_path) as served:
        rings = Rings(lambda: lent(served))
        async with direct(served, monkeypatch, rings) as compute:
            context = await compute.open_context()
            await compute.lend_queue(context)
            async with direct(served, monkeypatch, rings) as again:
                buffer = await again.allocate(context, 8)
                await again.write(context, buffer, 0, b"x")
                assert served.queues.totals.descriptors == 0


async def test_without_a_window_grpc_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone() -> tuple[int, int, int]:
        raise Unavailable("PCI function has gone")

    async with host(tmp_path) as served, direct(served, monkeypatch, Rings(gone)) as compute:
        context = await compute.open_context()
        buffer = await compute.allocate(context, 8)
        await compute.write(context, buffer, 0, b"hello")
        assert await compute.read(context, buffer, 0, 5) == b"hello"


async def test_a_queue_pair_that_goes_at_any_moment_of_a_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with host(tmp_path) as served, direct(served, monkeypatch) as compute:
        context = await compute.open_context()
        buffer = await compute.allocate(context, 8)
        outcomes = set()
        for turns in range(40):
            await compute.write(context, buffer, 0, b"there")  # it has a queue pair
            reading = asyncio.create_task(compute.read(context, buffer, 0, 5))
            for _ in range(turns):
                await asyncio.sleep(0)
            compute._drop(context)
            try:
                assert await reading == b"there"
                outcomes.add("read")
            except Unavailable:
                outcomes.add("asked again")
        assert outcomes == {"read", "asked again"}
