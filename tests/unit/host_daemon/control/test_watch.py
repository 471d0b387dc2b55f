"""Long operations run to their end, watched or not."""

from __future__ import annotations

import asyncio
import logging

import pytest

from host_daemon.control.watch import Report, Tasks, watch
from vaccel.errors import WrongState
from vaccel.operations import Progress


async def test_progress_comes_first_and_the_result_last() -> None:
    async def work(report: Report) -> str:
        report("half way", 0.5)
        report("almost", -1.0)
        return "done"

    events = [event async for event in watch(Tasks(), "work", work)]
    assert events == [Progress("half way", 0.5), Progress("almost", -1.0), "done"]


async def test_an_error_is_the_watchers() -> None:
    async def work(report: Report) -> str:
        report("begun", 0.0)
        raise WrongState("VF x is attached")

    seen = []
    with pytest.raises(WrongState, match="attached"):
        async for event in watch(Tasks(), "work", work):
            seen.append(event)
    assert seen == [Progress("begun", 0.0)]


async def test_it_goes_on_when_nobody_watches_any_more() -> None:
    tasks, go_on, ended = Tasks(), asyncio.Event(), asyncio.Event()

    async def work(report: Report) -> str:
        report("begun", 0.0)
        await go_on.wait()
        ended.set()
        return "done"

    watching = watch(tasks, "work", work)
    await anext(watching)
    await watching.aclose()  # type: ignore[attr-defined]
    go_on.set()
    await ended.wait()


async def test_an_error_that_nobody_watches_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    tasks, go_on = Tasks(), asyncio.Event()

    async def work(report: Report) -> str:
        report("begun", 0.0)
        await go_on.wait()
        raise WrongState("VF x is attached")

    watching = watch(tasks, "attach x", work)
    await anext(watching)
    await watching.aclose()  # type: ignore[attr-defined]
    (task,) = tasks._tasks
    go_on.set()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert "attach x" in caplog.text and "VF x is attached" in caplog.text


async def test_closing_cancels_and_waits_for_the_undo() -> None:
    tasks, undone = Tasks(), []

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            undone.append("undone")

    tasks.start(work(), "work")
    await asyncio.sleep(0)
    await tasks.close()
    assert undone == ["undone"]
    await tasks.close()
