"""Apps that fork: a child keeps nothing of a window, and hides nothing from whoever lent it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import vaccel
from tests.integration.aperture_host import OWNER, ApertureHost, holds, host, lending, look
from tests.integration.daemon_host import DaemonHost
from vaccel.aperture.lending import PCI
from vaccel.errors import Detached
from vaccel.inventory import VF

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("forker.py")
# What a dead app held is back by then.
FREED_SECONDS = 1.0
CHILD = "child {5} {'WrongState'} {9}"


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ApertureHost]:
    async with host(tmp_path) as served:
        await served.lender.__aexit__()
        looking = asyncio.create_task(look(served))
        yield served
        looking.cancel()


class Forker:
    """A process of ``forker.py``, and its child."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.child = 0

    async def line(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            return (await self.process.stdout.readline()).decode().strip()

    async def fill(self, value: int) -> str:
        """Have the parent fill its array, and use the device; what comes of that."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"%d\n" % value)
        return await self.line()


@asynccontextmanager
async def forker(address: str, how: str) -> AsyncIterator[Forker]:
    pipe = asyncio.subprocess.PIPE
    environment = {k: v for k, v in os.environ.items() if k != "GRPC_ENABLE_FORK_SUPPORT"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        SCRIPT,
        address,
        how,
        stdin=pipe,
        stdout=pipe,
        env={**environment, "PYTHONPATH": str(ROOT)},
    )
    app = Forker(process)
    try:
        yield app
    finally:
        for pid in filter(None, (process.pid, app.child)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await process.wait()


async def forked(app: Forker, how: str) -> None:
    """Until there is a child, which has said what it found."""
    lines = {await app.line() for _ in range(2 if how == "python" else 1)}
    (parent,) = (line for line in lines if line.startswith("parent "))
    app.child = int(parent.split()[1])
    assert lines == {parent} if how == "c" else {parent, CHILD}


def maps(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.parametrize("how", ["python", "c"])
async def test_a_recall_reaches_an_app_that_has_forked(served: ApertureHost, how: str) -> None:
    async with lending(served, PCI) as lender, forker(served.address, how) as app:
        await forked(app, how)
        assert await app.fill(6) == "parent fine"
        assert holds(served, 6) and not holds(served, 9)
        if how == "python":  # nothing of it is left there: no window, no doorbell
            assert "vaccel-window" in maps(app.process.pid)
            assert "vaccel-window" not in maps(app.child) and "doorbell" not in maps(app.child)
        # One that is not seen to let go would be killed.
        await lender.recall(OWNER, Detached("VF was taken away"), 30.0)
        assert await app.fill(7) == "parent Detached"
        assert holds(served, 6) and not holds(served, 7)
        assert "vaccel-window" not in maps(app.process.pid)


async def test_forks_while_threads_are_at_work(served: ApertureHost) -> None:
    async with lending(served, PCI), forker(served.address, "busy") as app:
        assert await app.line() == f"{ {(0, CHILD)} } fine aperture"
        assert await app.process.wait() == 0
    assert served.executor.usage().broken_queues == 0


@pytest.fixture(scope="module")
def daemon() -> Iterator[DaemonHost]:
    with DaemonHost() as host:
        yield host


async def test_a_process_that_is_forked_first_opens_its_own(daemon: DaemonHost) -> None:
    with daemon.vf("first") as vf:
        async with forker(vf.socket, "first") as app:
            assert await app.line() == "True"
            assert await app.process.wait() == 0


def usage(daemon: DaemonHost, vf: VF) -> tuple[int, int]:
    found = daemon.admin.vf(vf.id).usage
    assert found is not None
    return found.contexts, found.queues


@pytest.mark.parametrize("how", ["python", "c"])
async def test_what_a_dead_app_held_is_back_though_its_child_lives(
    daemon: DaemonHost, how: str
) -> None:
    with daemon.vf(f"dead-{how}") as vf:
        async with forker(vf.socket, how) as app:
            await forked(app, how)
            assert usage(daemon, vf) == (1, 1)
            began = time.monotonic()
            os.kill(app.process.pid, signal.SIGKILL)
            while usage(daemon, vf) != (0, 0):
                assert time.monotonic() < began + FREED_SECONDS
                await asyncio.sleep(0)
            print(f"freed after {time.monotonic() - began:.3f} s")
            os.kill(app.child, 0)  # it lives
            # The whole window can be lent again.
            with vaccel.open(address=vf.socket, path="aperture", staging_bytes=240 << 20) as device:
                assert device.path == "aperture"
