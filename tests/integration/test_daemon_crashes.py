"""The daemon is killed at any moment: what it left is put in order, and nobody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
import pytest

import vaccel
from host_daemon.control.processes import descriptors
from tests.conformance import models
from tests.conformance.compute_session import Session, affine
from tests.integration.daemon_host import PROFILE, SECONDS, DaemonHost, alive, channel, compute
from vaccel.admin import AdminClient
from vaccel.commands import Launch, Nop, Result
from vaccel.compute import KernelSource
from vaccel.errors import Detached, DeviceLost
from vaccel.inventory import VF
from vaccel.model import BufferRange, DType, Port, Tensor
from vaccel.rpc.proxy import GrpcCompute

X = np.ones((2, 4), np.float32)
# Where in the course of the operations the daemon is killed: shares of their usual time.
MOMENTS = (0.0, 0.12, 0.25, 0.37, 0.5, 0.62, 0.75, 0.87, 0.97)


def is_consistent(host: DaemonHost) -> None:
    """Every VF at rest, each with its worker and its socket, and nothing else."""
    vfs = host.admin.vfs()
    assert all(vf.state in ("ready", "attached") for vf in vfs), [(v.state, v.reason) for v in vfs]
    assert sorted(host.workers()) == sorted(vf.worker_pid for vf in vfs)
    names = sorted(vf.id for vf in vfs)
    run = host.folder / "run"
    assert sorted(path.stem for path in (run / "workers").glob("*.sock")) == names
    assert sorted(path.stem for path in (run / "workers").glob("*.pid")) == names
    attached = {vf.socket for vf in vfs if vf.socket}
    windows = {f"{socket}.window" for socket in attached}
    assert {f"unix:{path}" for path in (run / "local").iterdir()} == attached | windows
    status = host.admin.status()
    assert status.vfs == len(vfs) and not status.warnings
    store = f"file:{host.folder}/state/vacceld.db?mode=ro"
    with contextlib.closing(sqlite3.connect(store, uri=True)) as db:
        assert db.execute("SELECT count(*) FROM intent").fetchone() == (0,)


def is_usable(host: DaemonHost, vf: VF) -> None:
    """A program runs on it."""
    if not vf.socket:
        vf = host.admin.attach_vf(vf.id, local=True)
    with vaccel.open(address=vf.socket) as device:
        np.testing.assert_allclose(device.run("matmul", X, X.T), X @ X.T)


@dataclass
class Neighbour:
    """A tenant whose memory and program must outlive whatever happens to others."""

    vf: VF
    context: str
    buffer: int
    program: int
    fence: int = 0

    @classmethod
    async def settle(cls, host: DaemonHost) -> Neighbour:
        vf = host.create("neighbour", local=True)
        async with compute(vf.socket) as client:
            session = Session(client, await client.open_context())
            program = await session.load(models.build("affine"))
            buffer = await session.buffer(b"still here")
            # Its daemon dies before this client does: a client that leaves frees its context.
            host.kill()
        host.start()
        return cls(vf, session.context, buffer, program.id)

    @contextlib.asynccontextmanager
    async def back(self) -> AsyncIterator[GrpcCompute]:
        async with compute(self.vf.socket) as client:
            assert await client.open_context(resume=self.context) == self.context
            yield client

    async def is_unharmed(self, host: DaemonHost) -> None:
        """It resumes its context, finds what it wrote, and its program runs."""
        now = host.admin.vf(self.vf.id)
        assert (now.epoch, now.worker_pid) == (self.vf.epoch, self.vf.worker_pid)
        async with self.back() as client:
            assert await client.read(self.context, self.buffer, 0, 10) == b"still here"
            self.fence += 1
            x = Tensor(DType.FLOAT32, (2, 4), data=X.tobytes())
            launch = Launch(self.program, {"x": x})
            session = Session(client, self.context)
            (done,) = [
                c for c in await session.run(launch, first=self.fence) if c.fence == self.fence
            ]
            assert done.error is None
            host.kill()
        host.start()


Operation = Callable[[AdminClient, str], object]
# What is under way when the daemon dies: on one VF each, all at once.
OPERATIONS: dict[str, Operation] = {
    "create": lambda admin, name: admin.create_vf(PROFILE, name=name),
    "attach": lambda admin, name: admin.attach_vf(name, local=True),
    "detach": lambda admin, name: admin.detach_vf(name),
    "destroy": lambda admin, name: admin.destroy_vf(name, force=True),
}


def begin(host: DaemonHost, pool: ThreadPoolExecutor) -> list[Future[object]]:
    """Start every operation on a VF of its own."""
    host.create("attach")
    host.create("detach", local=True)
    host.create("destroy", local=True)
    return [pool.submit(run, host.admin, name) for name, run in OPERATIONS.items()]


async def test_the_daemon_is_killed_at_any_moment() -> None:
    with DaemonHost() as host, ThreadPoolExecutor(len(OPERATIONS)) as pool:
        neighbour = await Neighbour.settle(host)
        began = time.monotonic()
        wait(begin(host, pool))
        usual = time.monotonic() - began
        for moment in MOMENTS:
            for vf in host.admin.vfs():
                if vf.name != "neighbour":
                    is_usable(host, vf)
                    host.admin.destroy_vf(vf.id, force=True)
            work = begin(host, pool)
            wait(work, usual * moment)
            host.kill()
            wait(work, SECONDS)
            host.start()
            is_consistent(host)
            names = {vf.name for vf in host.admin.vfs()}
            assert {"neighbour", "attach", "detach"} <= names <= {"neighbour", *OPERATIONS}
        await neighbour.is_unharmed(host)
        is_consistent(host)


async def test_the_daemon_is_killed_during_launches() -> None:
    with DaemonHost() as host, host.vf("busy") as vf:
        for _ in range(3):
            async with compute(vf.socket) as client:
                session = Session(client, await client.open_context())
                program = await session.load(models.build("affine"))
                buffer = await session.buffer(bytes(24))
                x = Tensor(DType.FLOAT32, (2, 4), data=X.tobytes())
                into = (Result("y", BufferRange(buffer)),)
                await session.submit(*[Launch(program.id, {"x": x}, into)] * 500)
                host.kill()
            host.start()
            async with compute(vf.socket) as client:
                assert await client.open_context(resume=session.context) == session.context
                # What was accepted is done, whatever became of the daemon.
                done = await Session(client, session.context).wait(500)
                assert [c.error for c in done if c.error] == []
                got = np.frombuffer(await client.read(session.context, buffer, 0, 24), np.float32)
                np.testing.assert_allclose(got.reshape(2, 3), affine(X), rtol=1e-6)
                await client.close_context(session.context)
            usage = host.admin.vf(vf.id).usage
            assert (usage.contexts, usage.buffers, usage.memory_bytes) == (0, 0, 0)
        is_consistent(host)


async def test_a_request_that_waits_for_the_fork_server_dies_with_its_daemon() -> None:
    with DaemonHost() as host, ThreadPoolExecutor(1) as pool:
        servers = children(host.pid)
        work = pool.submit(host.admin.create_vf, PROFILE)
        wait([work], 0.02)  # its fork server still loads its libraries
        host.kill()
        host.start()
        for pid in servers:
            await until(lambda pid=pid: not alive(pid))
        is_consistent(host)


CLIENT = """
import sys, vaccel
device = vaccel.open(address=sys.argv[1], path="aperture")
device.buffer(4096)
print("open", flush=True)
sys.stdin.read()
"""


# What a program held that was killed is back by then.
FREED_SECONDS = 1.0


def held(host: DaemonHost, vf: VF) -> tuple[int, int]:
    """Contexts and queue pairs."""
    usage = host.admin.vf(vf.id).usage
    return usage.contexts, usage.queues


async def test_a_killed_program_leaves_nothing() -> None:
    pipe = asyncio.subprocess.PIPE
    with DaemonHost() as host, host.vf("shared") as vf, vaccel.open(address=vf.socket) as device:
        kept = device.buffer(X)
        client = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CLIENT, vf.socket, stdin=pipe, stdout=pipe
        )
        assert client.stdout is not None and await client.stdout.readline() == b"open\n"
        assert held(host, vf) == (2, 2)
        client.kill()
        await client.communicate()
        await until(lambda: held(host, vf) == (1, 1), FREED_SECONDS)
        # The slab is back, too: with it taken there would be no such piece.
        largest = device.info.limits.slabs_bytes - device.staging_bytes
        with vaccel.open(address=vf.socket, path="aperture", staging_bytes=largest) as other:
            assert other.staging_bytes == largest
        assert host.admin.vf(vf.id).usage.memory_bytes == kept.size
        np.testing.assert_array_equal(kept.read("float32", (2, 4)), X)


class Watched(GrpcCompute):
    """Tells when a context was taken up again."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super().__init__(channel, keeps=True)
        self.resumed: asyncio.Queue[str] = asyncio.Queue()

    async def _open(self, device: str, resume: str) -> tuple[str, AsyncIterator[object]]:
        opened = await super()._open(device, resume)
        self.resumed.put_nowait(resume)
        return opened


async def test_a_program_keeps_its_context_over_restarts() -> None:
    with DaemonHost() as host, host.vf("patient") as vf:
        with vaccel.open(address=vf.socket) as device:
            model = device.load(models.build("affine"))
            async with channel(vf.socket) as line:
                client = Watched(line)
                context = await client.open_context()
                await client.resumed.get()
                for end in (host.kill, host.stop):
                    end()
                    host.start()
                    assert host.admin.vf(vf.id).worker_pid == vf.worker_pid
                    np.testing.assert_allclose(model(X)["y"], affine(X), rtol=1e-6)
                    async with asyncio.timeout(SECONDS):
                        assert await client.resumed.get() == context
                assert host.admin.vf(vf.id).usage.contexts == 2
                await client.close()
            # It was held again: its end is noticed at once, long before the grace of a restart.
            await until(lambda: host.admin.vf(vf.id).usage.contexts == 1)
            np.testing.assert_allclose(model(X)["y"], affine(X), rtol=1e-6)
            # Calls over the window did not notice the restarts: this one waits for the daemon.
            device.buffer(16).free()
        await until(lambda: host.admin.vf(vf.id).usage.memory_bytes == 0)
        is_consistent(host)


async def test_a_killed_worker_is_replaced_and_a_neighbour_does_not_notice() -> None:
    with (
        DaemonHost() as host,
        host.vf("victim") as vf,
        host.vf("neighbour") as other,
        vaccel.open(address=other.socket) as device,
    ):
        model = device.load(models.build("affine"))
        async with compute(vf.socket) as client:
            session = Session(client, await client.open_context())
            launch = await long_launch(session)
            running = asyncio.create_task(client.run(session.context, 0, 1, [launch], SECONDS))
            await until(lambda: host.admin.vf(vf.id).usage.buffers == 2)
            os.kill(vf.worker_pid, signal.SIGKILL)
            began = time.monotonic()
            with pytest.raises(DeviceLost):
                await running
            await until(lambda: host.admin.vf(vf.id).worker_pid != vf.worker_pid)
            with pytest.raises(DeviceLost, match="reset"):
                await client.allocate(session.context, 8)
        is_usable(host, host.admin.vf(vf.id))
        # How soon it is, on a machine that has time for it, is measured in test_keeper.
        assert time.monotonic() - began < SECONDS
        fresh = host.admin.vf(vf.id)
        assert (fresh.state, fresh.epoch) == ("attached", vf.epoch + 1)
        np.testing.assert_allclose(model(X)["y"], affine(X), rtol=1e-6)
        assert host.admin.vf(other.id).epoch == other.epoch
        is_consistent(host)


async def long_launch(session: Session) -> Launch:
    """Seconds of work, on operands that need not travel."""
    side = 4096
    ports = (Port("a", DType.FLOAT32, (side, side)), Port("b", DType.FLOAT32, (side, side)))
    program = await session.compute.load_program(session.context, KernelSource("matmul", ports))
    places = [await session.compute.allocate(session.context, 4 * side * side) for _ in ports]
    return Launch(
        program.id,
        {
            port.name: Tensor(DType.FLOAT32, (side, side), place=BufferRange(place))
            for port, place in zip(ports, places, strict=True)
        },
    )


def test_a_worker_that_keeps_dying_stays_dead_and_is_named() -> None:
    with (
        DaemonHost() as host,
        host.vf("doomed") as vf,
        vaccel.open(address=vf.socket, path="aperture") as device,
    ):
        fence = device.stream().submit(Nop())
        while (now := host.admin.vf(vf.id)).state != "failed":
            if now.worker_pid and alive(now.worker_pid):
                os.kill(now.worker_pid, signal.SIGKILL)
        assert "died" in now.reason
        assert any("doomed" in warning for warning in host.admin.status().warnings)
        assert host.workers() == []
        with pytest.raises((DeviceLost, Detached)):
            fence.wait(SECONDS)
            # It came through before the first death: the next one finds out.
            device.stream().submit(Nop()).wait(SECONDS)


def test_a_second_daemon_on_the_same_state_refuses_by_name() -> None:
    with DaemonHost() as host, host.vf("only") as vf:
        second = host.spawn()
        assert second.wait(SECONDS) == 10
        last = host.log.strip().splitlines()[-1]
        assert last.startswith("vacceld: ") and f"in use by process {host.pid}" in last
        is_usable(host, vf)
        is_consistent(host)


def test_workers_hold_their_own_vf_and_nothing_else() -> None:
    with DaemonHost() as host, host.vf("one") as one, host.vf("other") as other:
        windows = set()
        for vf in (one, other):
            is_usable(host, vf)
            proc = Path(f"/proc/{vf.worker_pid}")
            links = descriptors(vf.worker_pid)
            windows.add(only(os.stat(proc / f"fd/{fd}").st_ino for fd in memfds(links)))
            sockets = [link for link in links.values() if link.startswith("socket:")]
            assert len(sockets) <= 4, links  # its listener, the daemon, its event loop's pair
            maps = (proc / "maps").read_text()
            mapped = {line.split()[4] for line in maps.splitlines() if ":vaccel-window" in line}
            assert len(mapped) <= 1 and "grpc" not in maps
            status = dict(
                line.split(":\t", 1) for line in (proc / "status").read_text().splitlines()
            )
            assert status["NoNewPrivs"] == "1"
            if os.geteuid() == 0:
                assert set(status["Uid"].split()) == {"65534"}
                assert set(status["Gid"].split()) == {"65534"}
        assert len(windows) == 2


def memfds(links: Mapping[int, str]) -> Iterator[int]:
    """One descriptor of each window: it is mapped by a second one."""
    windows = {link: fd for fd, link in links.items() if link.startswith("/memfd:vaccel-window")}
    return iter(windows.values())


def only(items: Iterable[int]) -> int:
    (item,) = set(items)
    return item


def children(pid: int) -> list[int]:
    """Processes that a process started."""
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def until(true: Callable[[], bool], seconds: float = SECONDS) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - another process is what changes
            await asyncio.sleep(0.005)
