"""Contexts live as long as a stream holds them, and a grace longer."""

from __future__ import annotations

import asyncio

import pytest

from vaccel.errors import DeviceLost
from vaccel.rpc.server import ContextHolder


class Freed:
    """The part of Compute that frees contexts."""

    def __init__(self) -> None:
        self.contexts: asyncio.Queue[str] = asyncio.Queue()

    async def close_context(self, context: str) -> None:
        self.contexts.put_nowait(context)
        if context == "lost":
            raise DeviceLost("its VF was reset")


@pytest.fixture
def freed() -> Freed:
    return Freed()


async def test_the_last_stream_frees(freed: Freed) -> None:
    holder = ContextHolder(0)
    holder.hold("ctx")
    holder.hold("ctx")
    holder.let_go("ctx", freed)  # type: ignore[arg-type]
    assert not holder._freeing
    holder.let_go("ctx", freed)  # type: ignore[arg-type]
    assert await freed.contexts.get() == "ctx"


async def test_one_that_comes_back_within_the_grace_keeps_it(freed: Freed) -> None:
    holder = ContextHolder(60)
    holder.hold("ctx")
    holder.let_go("ctx", freed)  # type: ignore[arg-type]
    (task,) = holder._freeing.values()
    holder.hold("ctx")
    await asyncio.wait([task])
    assert task.cancelled() and freed.contexts.empty()


async def test_holders_that_share_count_together(freed: Freed) -> None:
    agents = ContextHolder(60)
    local = agents.sharing(0)
    agents.expire("adopted", freed)  # type: ignore[arg-type]
    (task,) = agents._freeing.values()
    local.hold("adopted")
    await asyncio.wait([task])
    assert task.cancelled()
    agents.hold("adopted")
    local.let_go("adopted", freed)  # type: ignore[arg-type]
    assert not local._freeing  # the agent still has it
    local.hold("other")
    local.let_go("other", freed)  # type: ignore[arg-type]
    assert await freed.contexts.get() == "other"  # by its own grace
    await agents.close()


async def test_a_daemon_that_leaves_frees_nothing(freed: Freed) -> None:
    holder = ContextHolder(0)
    local = holder.sharing(0)
    local.hold("ctx")
    holder.expire("adopted", freed)  # type: ignore[arg-type]
    await holder.close()
    local.let_go("ctx", freed)  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert freed.contexts.empty() and not local._freeing


async def test_a_context_whose_client_left_too_early_is_freed(freed: Freed) -> None:
    holder = ContextHolder(0)
    opening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    failing: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    holder.orphan(opening, freed)  # type: ignore[arg-type]
    holder.orphan(failing, freed)  # type: ignore[arg-type]
    failing.set_exception(DeviceLost("reset"))
    opening.set_result("late")
    assert await freed.contexts.get() == "late"
    assert freed.contexts.empty()


async def test_a_context_that_is_gone_already_is_no_error(freed: Freed) -> None:
    holder = ContextHolder(0)
    holder.expire("lost", freed)  # type: ignore[arg-type]
    (task,) = holder._freeing.values()
    await task
    assert await freed.contexts.get() == "lost"
