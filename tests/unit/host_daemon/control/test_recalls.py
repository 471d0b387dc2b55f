"""Recalls, without a wire."""

from __future__ import annotations

import asyncio

from host_daemon.control.recalls import Recalls


async def test_without_an_agent_there_is_nothing_to_wait_for() -> None:
    assert await Recalls().recall("vf-1", 10.0)


async def test_a_recall_waits_until_every_agent_has_let_go() -> None:
    recalls, asked = Recalls(), asyncio.Event()

    async def agent(vf: str) -> None:
        watch = recalls.watch(vf)
        await anext(watch)
        asked.set()
        await may_go.wait()
        await watch.aclose()

    may_go = asyncio.Event()
    other = asyncio.create_task(agent("vf-2"))
    listening = asyncio.create_task(agent("vf-1"))
    await asyncio.sleep(0)
    recall = asyncio.create_task(recalls.recall("vf-1", 10.0))
    await asked.wait()
    assert not recall.done()
    may_go.set()
    assert await recall
    await listening
    assert not other.done()
    other.cancel()
    await asyncio.gather(other, return_exceptions=True)
    assert await recalls.recall("vf-2", 10.0)


async def test_an_agent_that_hangs_holds_up_nobody_for_long() -> None:
    recalls = Recalls()
    watch = recalls.watch("vf-1")
    hangs = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    assert not await recalls.recall("vf-1", 0.01)
    await hangs
    await watch.aclose()
