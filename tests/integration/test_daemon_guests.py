"""The guest endpoint of a real daemon: TLS, tokens, credentials, and what they do not open.

No guest boots for it: while the daemon is away its store is told that VFs wait for an agent, with
tokens that the test knows, and the daemon takes that for its own work.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

import grpc
import pytest

from host_daemon.control.certificates import load_or_make
from host_daemon.control.credentials import digest
from host_daemon.core.records import TokenRecord
from host_daemon.store.sqlite import SqliteStore
from tests.integration.daemon_host import DaemonHost, compute
from vaccel import bounds
from vaccel.errors import (
    Exhausted,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
    Unsupported,
    VaccelError,
)
from vaccel.inventory import VF
from vaccel.rpc.address import Trust, open_channel
from vaccel.rpc.enrol import authorization, enrol
from vaccel.rpc.proxy import GrpcCompute
from vaccel.rpc.rules import SERVICES
from vaccel.rpc.service import Stub
from vaccel.v1 import admin_pb2


@dataclass
class Guests:
    """A daemon with two VFs, and how their agents would reach it."""

    host: DaemonHost
    one: VF
    other: VF
    trust: Trust

    @property
    def address(self) -> str:
        return f"unix:{self.host.folder}/run/guest.sock"

    def plant(self, *vfs: VF) -> dict[str, bytes]:
        """New tokens for the present epochs of VFs; the daemon restarts in between."""
        tokens = {vf.id: f"token of {vf.id}".encode() for vf in vfs}
        self.host.stop()
        store = SqliteStore.open(self.host.folder / "state/vacceld.db", lambda: "", lambda: 0)
        with store.transaction() as tx:
            for vf in vfs:
                tx.put_token(TokenRecord(vf.id, tx.get_vf(vf.id).epoch, digest(tokens[vf.id])))
        store.close()
        self.host.start()
        return tokens

    @asynccontextmanager
    async def channel(self, trust: Trust | None = None) -> AsyncIterator[grpc.aio.Channel]:
        made = open_channel(self.address, trust or self.trust)
        try:
            yield made
        finally:
            await made.close(None)

    @asynccontextmanager
    async def compute(self, credential: str) -> AsyncIterator[GrpcCompute]:
        async with self.channel() as channel:
            client = GrpcCompute(channel, authorization(credential))
            try:
                yield client
            finally:
                await client.close()


@pytest.fixture(scope="module")
def guests() -> Iterator[Guests]:
    with DaemonHost() as host, host.vf("one") as one, host.vf("other") as other:
        ca = (host.folder / "state/tls/ca.pem").read_bytes()
        trust = Trust(ca, f"vacceld.{host.admin.status().host}.internal")
        yield Guests(host, one, other, trust)


def is_told(error: VaccelError, *words: str) -> None:
    assert error.hint and "\n" not in str(error)
    for word in words:
        assert word in str(error)


async def test_a_token_is_good_once_for_one_vf_in_one_epoch(guests: Guests) -> None:
    one, other = guests.one, guests.other
    tokens = guests.plant(one, other)
    good = tokens[one.id]
    bad = {
        "forged": (one.id, one.epoch, b"x" * 32),
        "no": (one.id, one.epoch, b""),
        "huge": (one.id, one.epoch, b"x" * (1 << 20)),
        "other VF's": (one.id, one.epoch, tokens[other.id]),
        "stale epoch": (one.id, one.epoch - 1, good),
        "future epoch": (one.id, one.epoch + 1, good),
        "last epoch": (one.id, (1 << 64) - 1, good),
        "by name": (one.name, one.epoch, good),
        "unknown VF": ("vf-00000000000000000000000000", one.epoch, good),
        "no VF": ("", one.epoch, good),
        "absurd VF": ("x" * 70_000, one.epoch, good),
    }
    async with guests.channel() as channel:
        for what, (vf, epoch, token) in bad.items():
            with pytest.raises(Unauthenticated) as caught:
                await enrol(channel, vf, epoch, token)
            is_told(caught.value, vf[:40]), what
        assert not guests.host.admin.vf(one.id).enrolled
        credential = await enrol(channel, one.id, one.epoch, good)
        assert guests.host.admin.vf(one.id).enrolled
        with pytest.raises(Unauthenticated) as caught:
            await enrol(channel, one.id, one.epoch, good)
        is_told(caught.value, one.id)
    async with guests.compute(credential) as agent:
        assert [device.id for device in await agent.devices()] == [one.id]


async def test_a_credential_opens_its_own_vf_only(guests: Guests) -> None:
    one, other = guests.one, guests.other
    tokens = guests.plant(one, other)
    async with AsyncExitStack() as stack:
        channel = await stack.enter_async_context(guests.channel())
        mine = await enrol(channel, one.id, one.epoch, tokens[one.id])
        its = await enrol(channel, other.id, other.epoch, tokens[other.id])
        agent = await stack.enter_async_context(guests.compute(mine))
        neighbour = await stack.enter_async_context(guests.compute(its))
        context = await neighbour.open_context()
        buffer = await neighbour.allocate(context, 8)
        await neighbour.write(context, buffer, 0, b"private!")
        for call in (
            agent.open_context(other.id),
            agent.open_context(resume=context),
            agent.allocate(context, 8),
            agent.read(context, buffer, 0, 8),
            agent.write(context, buffer, 0, b"mine now"),
            agent.submit(context, 0, 1, []),
            agent.wait(context, 0, 0, 1.0),
        ):
            with pytest.raises(NotFound) as caught:
                await call
            is_told(caught.value)
        await agent.close_context(context)  # nothing of its own, so nothing happens
        assert await neighbour.read(context, buffer, 0, 8) == b"private!"
        for shown in ("", "Bearer", mine[:-1], mine + "0", its[: len(mine) // 2], "x" * 5000):
            async with guests.compute(shown) as stranger:
                with pytest.raises(Unauthenticated) as refused:
                    await stranger.devices()
                is_told(refused.value)
        with pytest.raises(Unauthenticated):
            await GrpcCompute(channel).devices()


async def test_a_credential_ends_with_its_epoch(guests: Guests) -> None:
    with guests.host.vf("brief") as vf:
        tokens = guests.plant(vf)
        async with guests.channel() as channel:
            credential = await enrol(channel, vf.id, vf.epoch, tokens[vf.id])
        async with guests.compute(credential) as agent:
            context = await agent.open_context()
            guests.host.admin.detach_vf(vf.id)
            guests.host.admin.attach_vf(vf.id, local=True)
            for call in (agent.devices(), agent.allocate(context, 8), agent.open_context()):
                with pytest.raises(Unauthenticated) as caught:
                    await call
                is_told(caught.value, "enrol")
        usage = guests.host.admin.vf(vf.id).usage
        assert (usage.contexts, usage.memory_bytes) == (0, 0)


@pytest.mark.parametrize("method", [method.name for method in SERVICES["Admin"].methods])
async def test_a_guest_is_no_operator(guests: Guests, method: str) -> None:
    request = getattr(admin_pb2, SERVICES["Admin"].methods_by_name[method].input_type.name)()
    streams = SERVICES["Admin"].methods_by_name[method].server_streaming
    async with guests.channel() as channel:
        stub = Stub(channel, SERVICES["Admin"], "the daemon")
        with pytest.raises((Unsupported, PermissionDenied)):
            if streams:
                await anext(stub.stream(method, request, bounds.CALL_SECONDS))
            else:
                await stub.unary(method, request, bounds.CALL_SECONDS)


async def test_a_local_user_is_no_operator(guests: Guests) -> None:
    channel = open_channel(guests.one.socket)
    stub = Stub(channel, SERVICES["Admin"], "the daemon")
    with pytest.raises((Unsupported, PermissionDenied)):
        await stub.unary("ListVFs", admin_pb2.ListVFsRequest(), bounds.CALL_SECONDS)
    await channel.close(None)


async def test_only_tls_of_this_host_is_spoken(guests: Guests) -> None:
    folder = guests.host.folder / "other-tls"
    stranger = load_or_make(folder, "host-of-another", lambda: 1_700_000_000_000_000_000)
    other_name = replace(guests.trust, server_name="vacceld.other.internal")
    with guests.host.vf("careful") as vf:
        token = guests.plant(vf)[vf.id]
        for trust in (Trust(stranger.ca_pem, guests.trust.server_name), other_name):
            async with guests.channel(trust) as channel:
                with pytest.raises(Unavailable):
                    await enrol(channel, vf.id, vf.epoch, token)
        plain = open_channel(guests.address)
        with pytest.raises(Unavailable):
            await enrol(plain, vf.id, vf.epoch, token)
        await plain.close(None)
        async with guests.channel() as channel:
            assert await enrol(channel, vf.id, vf.epoch, token)  # nobody else has used it


async def test_guessing_tokens_is_slow(guests: Guests) -> None:
    async with guests.channel() as channel:
        with pytest.raises(Exhausted) as caught:
            for guess in range(bounds.ENROL_ATTEMPTS_PER_MINUTE + 1):
                with_token = enrol(channel, guests.other.id, 1, guess.to_bytes(32, "big"))
                try:
                    await with_token
                except Unauthenticated:
                    continue
        is_told(caught.value, guests.other.id, str(bounds.ENROL_ATTEMPTS_PER_MINUTE))


async def test_contexts_do_not_use_up_the_calls_within_them(guests: Guests) -> None:
    with guests.host.vf("crowded") as vf:
        async with compute(vf.socket) as client:
            contexts = [await client.open_context() for _ in range(bounds.CONTEXTS_PER_VF)]
            with pytest.raises(Exhausted) as caught:
                await client.open_context()
            is_told(caught.value, str(bounds.CONTEXTS_PER_VF))
            buffers = await asyncio.gather(*(client.allocate(c, 8) for c in contexts))
            assert len(buffers) == len(contexts)
            await asyncio.gather(*(client.close_context(c) for c in contexts))
            assert guests.host.admin.vf(vf.id).usage.contexts == 0
            await client.close_context(await client.open_context())
