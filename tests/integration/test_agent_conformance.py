"""The Compute suite over the whole of a guest's path: app, agent, TLS, a VF's executor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from host_daemon.worker.executor import Executor
from tests.conformance import models
from tests.conformance.compute import CHECKS, Check
from tests.integration.agent_host import Guest, Host, make_authority
from tests.unit.host_daemon.worker.conftest import make_vf
from vaccel.compute import Compute

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True)
class Route:
    """Both ends of the way."""

    app: Compute
    executor: Executor


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def route(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Route]:
    folder: Path = tmp_path_factory.mktemp("agent")
    vf = make_vf(folder)
    async with AsyncExitStack() as stack:
        executor = await stack.enter_async_context(Executor(vf))
        host = Host(executor, vf.id, make_authority())
        await host.start()
        stack.push_async_callback(host.stop)
        guest = Guest(folder)
        guest.plug(host.header)
        await stack.enter_async_context(guest.agent())
        app = await stack.enter_async_context(guest.app())
        yield Route(app, executor)


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
async def test_compute_through_the_agent(route: Route, check: Check) -> None:
    await check(route.app, models.build)
    assert route.executor.contexts == []
    assert route.executor.usage().memory_bytes == 0
