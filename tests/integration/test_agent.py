from __future__ import annotations

import asyncio
import fcntl
import grp
import os
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.integration.agent_host import (
    SERVER_NAME,
    Authority,
    Guest,
    Host,
    MemoryDevice,
    make_authority,
)
from vaccel.aperture.header import encode
from vaccel.commands import Nop
from vaccel.errors import Detached, InvalidArgument, NotFound, Unavailable

VF = "vf-00000000000000000000000001"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return make_authority()


@pytest_asyncio.fixture
async def host(authority: Authority) -> AsyncIterator[Host]:
    host = Host(MemoryDevice(VF), VF, authority)
    await host.start()
    yield host
    await host.stop()


@contextmanager
def sealed_against_maps(path: Path) -> Iterator[None]:
    """A file that the kernel maps for nobody who would write, with EPERM: as under lockdown."""
    fd = os.memfd_create("bar", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, path.read_bytes())
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    path.unlink()
    path.symlink_to(f"/proc/{os.getpid()}/fd/{fd}")
    try:
        yield
    finally:
        os.close(fd)


def _device(host: Host) -> MemoryDevice:
    assert isinstance(host.compute, MemoryDevice)
    return host.compute


async def test_an_app_reaches_the_vf_through_enrolment(host: Host, tmp_path: Path) -> None:
    guest = Guest(tmp_path)
    guest.plug(host.header)
    async with guest.agent(), guest.app() as app:
        assert stat.S_IMODE((tmp_path / "agent.sock").stat().st_mode) == 0o666
        context = await app.open_context()
        assert [device.id for device in await app.devices()] == [VF]
        buffer = await app.allocate(context, 1 << 20)
        data = bytes(range(256)) * 4096
        await app.write(context, buffer, 0, data)
        assert await app.read(context, buffer, 0, len(data)) == data
        with pytest.raises(InvalidArgument, match="beyond 1048576"):
            await app.write(context, buffer, 1, data)
        await app.submit(context, 1, 1, [Nop(), Nop()])
        assert (await app.wait(context, 1, 2, 5.0)).reached == 2
        await app.close_context(context)
        assert _device(host).contexts == {}
    assert host.enrolments == 1
    assert not (tmp_path / "agent.sock").exists()
    (kept,) = (tmp_path / "state").iterdir()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600


async def test_its_sockets_are_for_a_group_alone(host: Host, tmp_path: Path) -> None:
    group = grp.getgrgid(1 if os.geteuid() == 0 else os.getgid())
    guest = Guest(tmp_path)
    guest.config = replace(guest.config, socket_mode="0660", socket_group=group.gr_name)
    guest.plug(host.header)
    async with guest.agent(), guest.app():
        for name in ("agent.sock", "agent.sock.window"):
            found = (tmp_path / name).stat()
            assert (stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, group.gr_gid)


async def test_what_a_dead_app_held_is_freed_at_once(host: Host, tmp_path: Path) -> None:
    guest = Guest(tmp_path)
    guest.plug(host.header)
    async with guest.agent(), guest.app() as survivor:
        kept = await survivor.open_context()
        async with guest.app() as app:
            dead = {await app.open_context(), await app.open_context()}
            assert set(_device(host).contexts) == {kept, *dead}
        await _device(host).until(lambda: set(_device(host).contexts) == {kept})


async def test_a_host_that_restarts_loses_nothing(host: Host, tmp_path: Path) -> None:
    guest = Guest(tmp_path)
    guest.plug(host.header)
    async with guest.agent(), guest.app() as app:
        context = await app.open_context()
        buffer = await app.allocate(context, 4)
        await app.write(context, buffer, 0, b"kept")
        await app.submit(context, 1, 1, [Nop()])
        waiting = asyncio.create_task(app.wait(context, 1, 2, 20.0))
        await asyncio.sleep(0)
        await host.stop()
        await host.start()
        assert await app.read(context, buffer, 0, 4) == b"kept"
        await app.submit(context, 1, 2, [Nop()])
        assert (await waiting).reached == 2
    assert host.enrolments == 1


async def test_an_agent_that_restarts_needs_no_token(host: Host, tmp_path: Path) -> None:
    guest = Guest(tmp_path)
    guest.plug(host.header)
    async with guest.agent(), guest.app() as app:
        context = await app.open_context()
    guest.sysfs.write(guest.ADDRESS, encode(replace(host.header, token=b"")))
    async with guest.agent(), guest.app() as app:
        assert await app.open_context(resume=context) == context
        assert await app.allocate(context, 8) == 1
        with pytest.raises(NotFound):
            await app.open_context(resume="ctx-99")
    assert host.enrolments == 1


async def test_a_host_of_another_authority_is_never_told_the_token(
    host: Host, tmp_path: Path
) -> None:
    guest = Guest(tmp_path)
    guest.plug(replace(host.header, ca_pem=make_authority().ca_pem))
    async with guest.agent(retry_seconds=0.0), guest.app() as app:
        await guest.lines.until(VF, "no answer from the host's daemon")
        with pytest.raises(Unavailable, match=VF):
            await app.open_context()
    assert host.enrolments == 0


async def test_a_certificate_of_another_name_is_refused(host: Host, tmp_path: Path) -> None:
    guest = Guest(tmp_path)
    guest.plug(replace(host.header, server_name="other" + SERVER_NAME))
    async with guest.agent(retry_seconds=0.0), guest.app() as app:
        await guest.lines.until(VF, "no answer from the host's daemon")
        with pytest.raises(Unavailable, match=VF):
            await app.open_context()
    assert host.enrolments == 0


async def test_vfs_come_and_go_under_a_running_agent(
    host: Host, authority: Authority, tmp_path: Path
) -> None:
    other = "vf-00000000000000000000000002"
    guest = Guest(tmp_path)
    async with AsyncExitStack() as stack:
        second = Host(MemoryDevice(other), other, authority)
        await second.start()
        stack.push_async_callback(second.stop)
        await stack.enter_async_context(guest.agent())
        app = await stack.enter_async_context(guest.app())
        with pytest.raises(Unavailable, match="vaccelctl vf attach"):
            await app.open_context()
        guest.plug(host.header)
        guest.plug(second.header, "0000:00:06.0")
        await guest.lines.until(VF, "ready")
        await guest.lines.until(other, "ready")
        assert {device.id for device in await app.devices()} == {VF, other}
        with pytest.raises(InvalidArgument, match=f"{VF}, {other}"):
            await app.open_context()
        context = await app.open_context(VF)
        guest.sysfs.unplug(guest.ADDRESS)
        await guest.lines.until(VF, "gone")
        with pytest.raises(Detached, match=VF):
            await app.allocate(context, 1)
        assert [device.id for device in await app.devices()] == [other]
        assert await app.open_context() in _device(second).contexts
    assert list((tmp_path / "state").glob(f"{VF}.*")) == []


async def test_a_window_that_may_not_be_mapped_is_told_to_everybody(
    host: Host, tmp_path: Path
) -> None:
    guest = Guest(tmp_path)
    guest.plug(host.header)
    with sealed_against_maps(guest.sysfs.devices / guest.ADDRESS / "resource2"):
        async with guest.agent(retry_seconds=0.0), guest.app() as app:
            told = ("locked down (Secure Boot)", "turn Secure Boot off in this guest")
            await guest.lines.until(guest.ADDRESS, *told)
            with pytest.raises(Unavailable, match=r"can be used: .*Secure Boot") as refused:
                await app.open_context()
            # Another VF would be no better.
            assert guest.ADDRESS in refused.value.message and "attach" not in str(refused.value)
            async with grpc.aio.insecure_channel(guest.config.socket) as channel:
                asked = health_pb2.HealthCheckRequest(service="vaccel.v1.Compute")
                reply = await health_pb2_grpc.HealthStub(channel).Check(asked, timeout=5)
                assert reply.status == health_pb2.HealthCheckResponse.NOT_SERVING
        config = tmp_path / "agent.toml"
        config.write_text(f'sysfs = "{guest.sysfs.root}"\n')
        command = [sys.executable, "-m", "guest_agent.main", "--config", str(config), "--once"]
        pipe = asyncio.subprocess.PIPE
        once = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
        out, err = (said.decode() for said in await once.communicate())
        assert once.returncode == 8
        assert out.startswith(guest.ADDRESS) and all(part in out for part in told)
        assert "no VF in this VM can be used" in err and "attach" not in err
    assert host.enrolments == 0


async def test_health_follows_the_vf(host: Host, tmp_path: Path) -> None:
    guest = Guest(tmp_path)
    async with (
        guest.agent(),
        guest.app(),
        grpc.aio.insecure_channel(guest.config.socket) as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)

        async def check(service: str) -> int:
            reply = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
            return int(reply.status)

        assert await check("") == health_pb2.HealthCheckResponse.SERVING
        assert await check("vaccel.v1.Compute") == health_pb2.HealthCheckResponse.NOT_SERVING
        guest.plug(host.header)
        await guest.lines.until(VF, "ready")
        assert await check("vaccel.v1.Compute") == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await check("other")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_the_program_ends_cleanly_and_is_alone(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text(
        f'socket = "unix:{tmp_path}/agent.sock"\nsysfs = "{tmp_path}/sys"\n'
        f'state_dir = "{tmp_path}/state"\n'
    )
    command = [sys.executable, "-m", "guest_agent.main", "--config", str(config)]
    first = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    try:
        assert first.stderr is not None
        assert b"serving apps on unix:" in await first.stderr.readline()
        second = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        _, said = await second.communicate()
        assert second.returncode == 10
        assert b"another vaccel-agent serves unix:" in said
        first.terminate()
        said = await first.stderr.read()
        assert await first.wait() == 0
        assert said.count(b"\n") == 1 and b"stopped" in said
        assert not (tmp_path / "agent.sock").exists()
    finally:
        if first.returncode is None:
            first.kill()
            await first.wait()
