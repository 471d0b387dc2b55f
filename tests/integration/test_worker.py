"""Workers as processes: forked, confined, reached over the private link."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from host_daemon.control.processes import descriptors
from host_daemon.devices import registry
from host_daemon.worker.spawn import ForkServer
from host_daemon.worker.spec import Descriptors, WorkerSpec
from tests.conformance import models
from tests.conformance.compute import CHECKS, opened
from vaccel import bounds, ids
from vaccel.aperture.header import Header, encode
from vaccel.aperture.journal import create_journal
from vaccel.aperture.window import Window, create_window
from vaccel.errors import InvalidArgument, NotFound, VaccelError
from vaccel.rpc.link_client import LinkCompute, fetch_window

WINDOW = 1 << 20
CA = b"-----BEGIN CERTIFICATE-----\n"


@dataclass
class Host:
    """A fork server and what a daemon keeps of its workers."""

    server: ForkServer
    folder: Path
    memfd: int
    doorbell: int
    journal: int

    def spec(self) -> WorkerSpec:
        vf = ids.new_id("vf", 1, os.urandom)
        header = encode(Header(1, vf, WINDOW, "10.0.2.100:7443", "vacceld", CA, b"t" * 32))
        card = str(registry.find_card("kcloud-1"))
        return WorkerSpec(vf, 1, card, "npu.1c.6g", 1, header, WINDOW)

    async def spawn(self, spec: WorkerSpec) -> tuple[int, Path]:
        path = self.folder / f"{spec.vf[-8:]}.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen(8)
            fds = Descriptors(self.memfd, self.doorbell, self.journal, listener.fileno())
            pid = await self.server.spawn(spec, fds)
        return pid, path


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    with contextlib.ExitStack() as stack:
        memfd = create_window(WINDOW)
        stack.callback(os.close, memfd)
        doorbell = os.eventfd(0, os.EFD_NONBLOCK)
        stack.callback(os.close, doorbell)
        journal = create_journal(WINDOW)
        stack.callback(os.close, journal)
        made = ForkServer(tmp_path / "workers.log")
        yield Host(made, tmp_path, memfd, doorbell, journal)
        await made.close()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # the latter: it died between open and read
        return False


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110 - another process is what changes
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def linked(
    path: Path, on_lost: Callable[[], None] = lambda: None
) -> AsyncIterator[LinkCompute]:
    link = await LinkCompute.connect(path, on_lost)
    try:
        yield link
    finally:
        await link.close()


async def test_compute_suite_over_the_link(host: Host, subtests: pytest.Subtests) -> None:
    pid, path = await host.spawn(host.spec())
    try:
        async with linked(path) as link:
            for name, check in CHECKS.items():
                with subtests.test(name):
                    await check(link, models.build)
            assert (await link.usage()).memory_bytes == 0
    finally:
        os.kill(pid, signal.SIGKILL)


async def test_life_of_a_worker(host: Host) -> None:
    spec = host.spec()
    pid, path = await host.spawn(spec)
    async with linked(path) as link:
        hello = await link.hello()
        assert (hello.vf, hello.epoch, hello.pid, hello.contexts) == (spec.vf, 1, pid, ())
        fds = await asyncio.to_thread(fetch_window, path)
        window = Window.from_fd(fds[0], WINDOW)
        assert window.read_header().token == b"t" * 32
        await link.erase_token()
        assert window.read_header().token == b""
        context = await link.open_context()
        assert (await link.hello()).contexts == (context,)
        header = encode(Header(2, spec.vf, WINDOW, "10.0.2.100:7443", "vacceld", CA, b"u" * 32))
        await link.begin_epoch(2, header)
        assert window.read_header().epoch == 2
        assert (await link.devices())[0].epoch == 2
        with pytest.raises(NotFound):
            await link.allocate(context, 8)
        window.close()
        for fd in fds:
            os.close(fd)
        await link.shutdown()
    await until(lambda: not alive(pid))


async def test_a_worker_is_confined(host: Host) -> None:
    spec = replace(host.spec(), uid=65534, gid=65534)
    pid, path = await host.spawn(spec)
    try:
        proc = Path(f"/proc/{pid}")
        status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines())
        assert status["NoNewPrivs"] == "1"
        limits = (proc / "limits").read_text()
        assert f"Max open files            {bounds.WORKER_FILES}" in limits
        assert "Max core file size        0 " in limits
        async with linked(path) as link:
            await link.hello()  # it has let go of the pipe by which it said that it is ready
            kinds = list(descriptors(pid).values())
        # stdin, the log twice, window and journal (their mappings hold them too), the doorbell, the
        # listener, the connection, and the event loop's three.
        assert len(kinds) <= 13, "\n".join(kinds)
        own = ("/dev/null", "/memfd:vaccel-", "anon_inode:", "socket:", str(host.folder))
        assert all(kind.startswith(own) for kind in kinds), "\n".join(kinds)
        if os.geteuid() == 0:
            assert status["Uid"].split()[1] == "65534"
            assert status["CapEff"] == "0" * 16
            assert os.readlink(proc / "ns/net") != os.readlink("/proc/self/ns/net")
        assert os.getsid(pid) != os.getsid(0)
        assert "grpc" not in (proc / "maps").read_text()
        async with linked(path) as link, opened(link) as session:
            # Traces need the scratch folder.
            program = await session.load(models.build("affine"))
            assert program.nodes == 2
            await CHECKS["values_that_steer_decide_the_cost"](link, models.build)
    finally:
        os.kill(pid, signal.SIGKILL)


async def test_workers_outlive_fork_server_and_link(host: Host) -> None:
    pid, path = await host.spawn(host.spec())
    try:
        async with linked(path) as link:
            context = await link.open_context()
            buffer = await link.allocate(context, 4)
            await link.write(context, buffer, 0, b"kept")
        first = host.server.pid
        await host.server.close()
        assert host.server.pid is None and first is not None and not alive(first)
        async with linked(path) as link:
            assert await link.open_context(resume=context) == context
            assert await link.read(context, buffer, 0, 4) == b"kept"
    finally:
        os.kill(pid, signal.SIGKILL)


async def test_fork_server_comes_back(host: Host) -> None:
    await host.server.start()
    first = host.server.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: not alive(first))
    pid, _ = await host.spawn(host.spec())
    assert host.server.pid != first
    os.kill(pid, signal.SIGKILL)


async def test_a_killed_worker_is_noticed_and_leaves_neighbours_alone(host: Host) -> None:
    lost = asyncio.Event()
    one, one_path = await host.spawn(host.spec())
    other, other_path = await host.spawn(host.spec())
    try:
        async with linked(one_path, lost.set) as link, linked(other_path) as neighbour:
            context = await neighbour.open_context()
            os.kill(one, signal.SIGKILL)
            async with asyncio.timeout(5):
                await lost.wait()
            with pytest.raises(VaccelError):
                await link.devices()
            assert (await neighbour.hello()).contexts == (context,)
    finally:
        os.kill(other, signal.SIGKILL)


@pytest.mark.parametrize(
    ("change", "kind", "word"),
    [
        ({"profile": "npu.99c"}, NotFound, "npu.99c"),
        ({"card": "/nowhere/card.toml"}, NotFound, "/nowhere/card.toml"),
        ({"window_bytes": 1 << 21}, InvalidArgument, "window"),
        ({"header": b"short"}, InvalidArgument, "header"),
    ],
)
async def test_a_worker_that_cannot_start_says_why(
    host: Host, change: dict[str, object], kind: type[VaccelError], word: str
) -> None:
    with pytest.raises(kind, match=word):
        await host.spawn(replace(host.spec(), **change))
