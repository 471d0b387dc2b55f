"""The Compute suite over a queue pair: app, rings and slab, a VF's executor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
import pytest_asyncio

from tests.conformance import models
from tests.conformance.compute import CHECKS, Check
from tests.integration.aperture_host import ApertureHost, app, host
from vaccel.fastpath.compute import ApertureCompute

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class Route:
    """Both ends of the way."""

    app: ApertureCompute
    host: ApertureHost


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def route(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Route]:
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(host(tmp_path_factory.mktemp("aperture")))
        yield Route(await stack.enter_async_context(app(served.address)), served)


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
async def test_compute_over_a_queue_pair(route: Route, check: Check) -> None:
    await check(route.app, models.build)
    assert route.host.executor.contexts == []
    usage = route.host.executor.usage()
    assert (usage.memory_bytes, usage.queues, usage.broken_queues) == (0, 0, 0)


async def test_it_did_travel_through_the_rings(route: Route) -> None:
    before = route.host.queues.totals.descriptors
    context = await route.app.open_context()
    buffer = await route.app.allocate(context, 100)
    await route.app.write(context, buffer, 1, b"abc")
    assert await route.app.read(context, buffer, 0, 5) == b"\0abc\0"
    await route.app.close_context(context)
    assert route.host.queues.totals.descriptors == before + 2
