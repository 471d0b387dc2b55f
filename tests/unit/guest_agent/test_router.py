from __future__ import annotations

import pytest

from guest_agent.router import Router
from guest_agent.states import State
from tests.unit.guest_agent.fake_host import FakeHost, World
from vaccel.errors import Detached, InvalidArgument, NotFound, Unavailable


async def _router(world: World, *hosts: FakeHost) -> Router:
    router = Router(lambda: world.now)
    for host in hosts:
        upstream = world.start(host, retry_seconds=0.5)
        router.add(upstream)
        await world.until(lambda upstream=upstream: upstream.state is State.READY)  # type: ignore[misc]
    return router


async def test_without_a_vf_the_hint_says_how_to_get_one(world: World) -> None:
    router = await _router(world)
    assert await router.devices() == []
    assert not router.serving
    with pytest.raises(Unavailable, match="vaccelctl vf attach"):
        await router.open_context()


async def test_the_only_vf_needs_no_name(world: World) -> None:
    host = FakeHost()
    router = await _router(world, host)
    assert router.serving
    context = await router.open_context()
    assert host.contexts == {context}
    assert await router.allocate(context, 9) == 9
    await router.close_context(context)
    assert host.contexts == set()
    await router.close_context(context)
    with pytest.raises(NotFound, match=context):
        await router.allocate(context, 9)


async def test_several_vfs_are_listed_and_must_be_named(world: World) -> None:
    first, second = FakeHost("1"), FakeHost("2")
    router = await _router(world, second, first)
    assert {d.id for d in await router.devices()} == {first.header.vf, second.header.vf}
    with pytest.raises(InvalidArgument, match=f"{first.header.vf}, {second.header.vf}"):
        await router.open_context()
    with pytest.raises(NotFound, match=first.header.vf):
        await router.open_context("vf-none")
    context = await router.open_context(second.header.vf)
    assert second.contexts == {context}
    assert first.contexts == set()


async def test_a_vf_that_does_not_answer_is_left_out_of_the_list(world: World) -> None:
    first, second = FakeHost("1"), FakeHost("2")
    router = await _router(world, first, second)
    second.up = False
    assert [d.id for d in await router.devices()] == [first.header.vf]
    first.up = False
    with pytest.raises(Unavailable):
        await router.devices()


async def test_an_app_may_resume_over_an_agent_that_never_opened_it(world: World) -> None:
    first, second = FakeHost("1"), FakeHost("2")
    second.contexts.add("ctx-old")
    router = await _router(world, first, second)
    assert await router.open_context(resume="ctx-old") == "ctx-old"
    assert await router.allocate("ctx-old", 4) == 4
    with pytest.raises(NotFound, match="ctx-none"):
        await router.open_context(resume="ctx-none")


async def test_an_agent_that_ends_leaves_contexts_to_the_next(world: World) -> None:
    host = FakeHost()
    router = await _router(world, host)
    context = await router.open_context()
    router.leave()
    await router.close_context(context)
    assert host.contexts == {context}


async def test_contexts_of_a_vf_that_went_answer_detached(world: World) -> None:
    host = FakeHost()
    router = await _router(world, host)
    context = await router.open_context()
    upstream = router.choose("")
    world.tasks[0].cancel()
    upstream.vanish()
    router.remove(upstream)
    with pytest.raises(Unavailable, match="no VF"):
        await router.open_context()
    with pytest.raises(Detached):
        await router.allocate(context, 1)
    await router.close_context(context)
    with pytest.raises(NotFound):
        await router.allocate(context, 1)
