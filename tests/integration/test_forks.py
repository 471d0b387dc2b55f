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
from tests.integration.aperture_host import (
    OWNER,
    WINDOW,
    ApertureHost,
    holds,
    host,
    lending,
    look,
)
from tests.integration.daemon_host import DaemonHost
from tests.integration.guest_window import window_guest
from vaccel import bounds
from vaccel.aperture import layout
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

    @property
    def found(self) -> int:
        """A child that has not been heard of yet; where there is none, the process itself."""
        with contextlib.suppress(OSError):
            mine = self.process.pid
            children = Path(f"/proc/{mine}/task/{mine}/children").read_text().split()
            return int(children[0]) if children else mine
        return self.process.pid

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
        # All that hold its pipes, or its end would not be seen.
        for pid in (app.child or app.found, process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await process.communicate()


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
        # Nor is the doorbell, whose address may soon be another's.
        left = maps(app.process.pid)
        assert "vaccel-window" not in left and "doorbell" not in left


async def test_the_context_after_a_reset_ends_with_its_app(served: ApertureHost) -> None:
    async with lending(served, PCI), forker(served.address, "c") as app:
        await forked(app, "c")
        before = served.executor.contexts
        await served.executor.begin_epoch(4)
        while await app.fill(6) != "parent fine":
            assert served.executor.contexts != before
        assert len(served.executor.contexts) == served.executor.usage().queues == 1
        os.kill(app.process.pid, signal.SIGKILL)
        async with asyncio.timeout(10):
            while True:
                if not served.executor.contexts and not served.executor.usage().queues:
                    break
                await asyncio.sleep(0)
        os.kill(app.child, 0)


@pytest.mark.parametrize("how", ["python", "c"])
async def test_an_agent_frees_what_a_dead_app_held(tmp_path: Path, how: str) -> None:
    async with window_guest(tmp_path) as guest, forker(guest.address, how) as app:
        await forked(app, how)
        assert guest.held == (1, 1)
        assert await app.fill(6) == "parent fine"
        assert holds(guest.served, 6)
        began = time.monotonic()
        os.kill(app.process.pid, signal.SIGKILL)
        await guest.freed(FREED_SECONDS)
        print(f"freed after {time.monotonic() - began:.3f} s")
        os.kill(app.child, 0)
        # The slab is back, too: all slabs of the window are one again.
        whole = WINDOW - layout.slabs_offset(WINDOW)
        await asyncio.to_thread(open_and_close, guest.address, whole)


def open_and_close(address: str, staging_bytes: int) -> None:
    with vaccel.open(address=address, path="aperture", staging_bytes=staging_bytes) as device:
        assert device.staging_bytes == staging_bytes


async def test_an_agent_takes_its_window_back_from_an_app_that_has_forked(tmp_path: Path) -> None:
    async with window_guest(tmp_path) as guest, forker(guest.address, "python") as app:
        await forked(app, "python")
        assert await app.fill(6) == "parent fine"
        await guest.host.recalls.recall("vf", bounds.RECALL_SECONDS)
        assert await app.fill(7) == "parent Detached"
        assert holds(guest.served, 6) and not holds(guest.served, 7)


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
            # The slab is back, too: with it taken there would be no such piece.
            await asyncio.to_thread(open_and_close, vf.socket, 240 << 20)
