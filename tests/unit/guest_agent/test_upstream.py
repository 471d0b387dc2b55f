from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest

from guest_agent.states import State
from guest_agent.upstream import Upstream
from tests.unit.guest_agent.fake_host import FakeHost, World
from vaccel.compute import Compute
from vaccel.errors import Detached, DeviceLost, Unavailable


async def _ready(world: World, upstream: Upstream) -> None:
    await world.until(lambda: upstream.state is State.READY)


def _allocate(context: str, size: int = 1) -> object:
    async def call(compute: Compute) -> int:
        return await compute.allocate(context, size)

    return call


async def test_enrols_once_and_keeps_the_credential(world: World) -> None:
    host = FakeHost()
    upstream = world.start(host)
    assert upstream.state is State.FOUND
    await _ready(world, upstream)
    assert upstream.vf == host.header.vf
    assert world.credentials.load(upstream.vf, 1) == host.credential
    assert world.pauses == []


async def test_a_restarted_agent_needs_no_token(world: World) -> None:
    host = FakeHost()
    await _ready(world, world.start(host))
    await world.end()
    assert host.header.token == b""
    upstream = world.start(host)
    await _ready(world, upstream)
    assert upstream.state is State.READY


async def test_a_host_that_is_away_is_tried_again_with_growing_pauses(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    host = FakeHost()
    host.up = False
    with caplog.at_level(logging.WARNING):
        upstream = world.start(host)
        await world.until(lambda: len(world.pauses) > 9)
    assert upstream.state is State.FOUND
    assert world.pauses[:3] == pytest.approx([0.1, 0.2, 0.4])
    assert world.pauses[8] == pytest.approx(5.0)
    assert len(caplog.records) == 1
    assert all(connection.closed for connection in host.connections[:-1])
    host.up = True
    await _ready(world, upstream)
    assert upstream.reason == ""


async def test_contexts_are_resumed_when_the_connection_comes_back(world: World) -> None:
    host = FakeHost()
    upstream = world.start(host)
    context = await upstream.open_context()
    other = await upstream.open_context()
    await upstream.close_context(other)
    assert host.contexts == {context}
    host.break_connections()
    assert await upstream.ask(_allocate(context, 7), context) == 7
    assert host.resumed == [context]
    assert len(host.connections) == 2
    assert host.connections[0].closed


async def test_a_context_closed_while_the_host_is_away_is_closed_when_it_is_back(
    world: World,
) -> None:
    host = FakeHost()
    upstream = world.start(host)
    context, kept = await upstream.open_context(), await upstream.open_context()
    host.up = False
    host.break_connections()
    await world.until(lambda: upstream.state is State.RECONNECTING)
    await upstream.close_context(context)
    assert host.contexts == {context, kept}
    host.up = True
    await _ready(world, upstream)
    assert host.contexts == {kept}
    assert host.resumed == [kept]


async def test_a_call_waits_for_a_host_that_is_away_but_not_for_ever(world: World) -> None:
    host = FakeHost()
    upstream = world.start(host)
    context = await upstream.open_context()
    host.up = False
    with pytest.raises(Unavailable, match="no answer from the host"):
        await upstream.ask(_allocate(context), context)
    assert 8.0 <= world.now < 9.0
    calls = world.run(upstream.ask(_allocate(context, 3), context))
    await asyncio.sleep(0)
    host.up = True
    assert await calls == 3


async def test_what_is_not_connected_says_why(world: World) -> None:
    host = FakeHost()
    host.up = False
    upstream = world.start(host, retry_seconds=0.0)
    await world.until(lambda: upstream.reason != "")
    with pytest.raises(Unavailable, match=f"VF {host.header.vf} is found: no answer"):
        await upstream.open_context()


async def test_a_new_epoch_enrols_anew_and_names_lost_contexts(world: World) -> None:
    host = FakeHost()
    upstream = world.start(host)
    context = await upstream.open_context()
    host.begin_epoch()
    with pytest.raises(DeviceLost, match=context):
        await upstream.ask(_allocate(context), context)
    assert upstream.state is State.READY
    assert world.credentials.load(upstream.vf, 1) is None
    assert world.credentials.load(upstream.vf, 2) == host.credential
    fresh = await upstream.open_context()
    assert await upstream.ask(_allocate(fresh, 5), fresh) == 5


async def test_an_idle_vf_notices_a_new_epoch_by_itself(world: World) -> None:
    host = FakeHost()
    upstream = world.start(host)
    await _ready(world, upstream)
    world.looks.set()
    await world.until(lambda: not world.looks.is_set())
    assert upstream.state is State.READY
    host.begin_epoch()
    world.looks.set()
    await world.until(lambda: world.credentials.load(upstream.vf, 2) is not None)
    await _ready(world, upstream)


async def test_a_context_that_the_host_forgot_is_lost_alone(world: World) -> None:
    host = FakeHost()
    upstream = world.start(host)
    forgotten, kept = await upstream.open_context(), await upstream.open_context()
    host.contexts.discard(forgotten)
    host.break_connections()
    assert await upstream.ask(_allocate(kept, 2), kept) == 2
    with pytest.raises(DeviceLost, match=forgotten):
        await upstream.ask(_allocate(forgotten), forgotten)


async def test_a_used_token_without_a_credential_says_what_to_do(world: World) -> None:
    host = FakeHost()
    host.header = replace(host.header, token=b"")
    upstream = world.start(host)
    await world.until(lambda: upstream.reason != "")
    assert "detach the VF and attach it again" in upstream.reason
    assert upstream.state is State.FOUND
    host.begin_epoch()
    await _ready(world, upstream)


async def test_a_stale_token_is_refused_until_the_header_changes(world: World) -> None:
    host = FakeHost()
    host.token = b"another"
    upstream = world.start(host)
    await world.until(lambda: len(world.pauses) > 3)
    assert (upstream.state, upstream.reason) == (State.FOUND, "token is stale")
    host.begin_epoch()
    await _ready(world, upstream)


async def test_a_refused_credential_gives_way_to_a_token_of_the_same_epoch(world: World) -> None:
    host = FakeHost()
    world.credentials.keep(host.header.vf, 1, "of a host that was set up again")
    upstream = world.start(host)
    await _ready(world, upstream)
    assert world.credentials.load(upstream.vf, 1) == host.credential


async def test_another_vf_at_the_same_function_is_not_taken_for_it(world: World) -> None:
    host = FakeHost()
    upstream = world.start(host)
    await _ready(world, upstream)
    host.header = FakeHost("1").header
    host.break_connections()
    await world.until(lambda: "now shows" in upstream.reason)
    assert upstream.vf == "vf-" + "0" * 26


async def test_calls_end_as_detached_when_the_function_goes(world: World) -> None:
    host = FakeHost()
    upstream = world.start(host)
    context = await upstream.open_context()
    host.up = False
    waiting = world.run(upstream.ask(_allocate(context), context))
    await asyncio.sleep(0)
    upstream.vanish()
    world.tasks[0].cancel()
    with pytest.raises(Detached, match="taken away"):
        await waiting
    with pytest.raises(Detached, match=host.header.vf):
        await upstream.ask(_allocate(context), context)
    assert upstream.state is State.GONE
    assert world.credentials.load(upstream.vf, 1) is None
    await upstream.close_context(context)


async def test_an_end_from_outside_is_not_mistaken_for_a_broken_connection(world: World) -> None:
    upstream = world.start(FakeHost())
    await _ready(world, upstream)

    async def call(compute: Compute) -> None:
        await asyncio.get_running_loop().create_future()

    waiting = world.run(upstream.ask(call))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_recall_is_answered_when_no_app_has_the_window_any_more(world: World) -> None:
    host, gone, told = FakeHost(), asyncio.Event(), asyncio.Event()
    upstream = world.start(host)

    async def take_back() -> None:
        told.set()
        await gone.wait()

    upstream.on_recall = take_back
    await _ready(world, upstream)
    assert not told.is_set()
    host.recall.set()
    await told.wait()
    assert not host.connections[0].answered.is_set()
    gone.set()
    await host.connections[0].answered.wait()
    # The VF is still there, and so is its connection.
    assert upstream.state is State.READY
    assert await upstream.open_context()


async def test_a_reset_that_follows_a_recall_is_the_end_and_no_loss(world: World) -> None:
    host = FakeHost()
    upstream = world.start(host)
    context = await upstream.open_context()

    async def reset(_: Compute) -> None:
        raise DeviceLost("context ended when its VF was reset")

    with pytest.raises(DeviceLost, match="its VF was reset"):
        await upstream.ask(reset, context)
    host.recall.set()
    await host.connections[0].answered.wait()
    with pytest.raises(Detached, match="taken away"):
        await upstream.ask(reset, context)
    # Attached anew it is another life, in which that context is lost.
    host.recall.clear()
    host.begin_epoch()
    with pytest.raises(DeviceLost, match=context):
        await upstream.ask(_allocate(context), context)


async def test_a_context_that_is_closed_while_the_connection_closes_holds_nobody_up(
    world: World,
) -> None:
    host = FakeHost()
    upstream = world.start(host)
    context = await upstream.open_context()
    host.closing.set()
    closing = world.run(upstream.close_context(context))
    await asyncio.sleep(0)
    upstream.vanish()
    host.closed.set()
    await closing
