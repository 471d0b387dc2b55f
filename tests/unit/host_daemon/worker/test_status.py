"""The worker's status page: what is in it, and when it is written."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from host_daemon.worker.executor import Executor
from host_daemon.worker.queues import Queues
from tests.unit.host_daemon.worker.test_queues import App, until
from vaccel.aperture import layout, status
from vaccel.aperture.descriptors import Op
from vaccel.aperture.journal import Journal, create_journal
from vaccel.aperture.status import Status
from vaccel.aperture.window import Window, create_window

SIZE = 8 << 20
PAIRS = layout.queue_pairs(SIZE)
SLABS = SIZE - layout.slabs_offset(SIZE)


@pytest.fixture
async def app(executor: Executor) -> AsyncIterator[App]:
    memfd, doorbell = create_window(SIZE), os.eventfd(0, os.EFD_NONBLOCK)
    window = Window.from_fd(memfd, SIZE)
    journal = Journal(create_journal(SIZE), SIZE)
    assert status.read(window).state_name == "none"
    async with Queues(executor, window, doorbell, journal) as queues:
        assert status.read(window).serving
        context = await executor.open_context()
        lease = await executor.lend_queue(context, 1 << 20)
        yield App(executor, queues, window, doorbell, context, lease)
    assert status.read(window).state_name == "none"
    window.close()
    os.close(memfd)
    os.close(doorbell)


async def shown(app: App, **expected: int) -> Status:
    """The page, once its fields are these."""
    await until(lambda: replace(status.read(app.window), **expected) == status.read(app.window))
    return status.read(app.window)


async def test_queue_pairs_and_slabs_are_counted(app: App) -> None:
    found = await shown(app, queues_lent=1)
    assert (found.epoch, found.queues) == (app.executor.epoch, PAIRS)
    assert (found.slab_bytes_lent, found.slab_bytes_largest) == (1 << 20, SLABS - (1 << 20))
    other = await app.executor.open_context()
    await app.executor.lend_queue(other, 1 << 20)
    assert (await shown(app, queues_lent=2)).slab_bytes_lent == 2 << 20
    await app.executor.close_context(other)
    assert (await shown(app, queues_lent=1)).slab_bytes_lent == 1 << 20


async def test_descriptors_and_doorbells_are_counted(app: App) -> None:
    before = await shown(app, queues_lent=1)
    app.send(Op.NOP, 0, 0, 1, 1, 0, 0, 0, 0)
    await shown(app, descriptors=1, doorbells=before.doorbells + 1)
    app.send(77, 0, 9, 0, 0, 0, 0, 0, 0)
    await shown(app, descriptors=2, malformed=1)
    app.knock()
    await shown(app, doorbells=before.doorbells + 3, doorbells_empty=1)
    app.window.words[(layout.queue_offset(app.lease.queue) + layout.SQ_TAIL.offset) // 8] = 1 << 40
    app.knock()
    found = await shown(app, broken=1)
    assert found.generation > before.generation
    assert not found.generation & 1


async def test_a_reset_shows_the_next_epoch(app: App) -> None:
    before = await shown(app, queues_lent=1)
    await app.executor.begin_epoch(app.executor.epoch + 1)
    found = status.read(app.window)
    assert (found.state_name, found.epoch) == ("serving", before.epoch + 1)
    assert found.queues_lent == 1  # kept for its app
    # Lost, serving: both were written.
    assert found.generation >= before.generation + 4


async def test_nothing_is_written_while_nothing_changes(app: App) -> None:
    app.send(Op.NOP, 0, 0, 1, 1, 0, 0, 0, 0)
    await shown(app, descriptors=1)
    page = app.queues._status
    await until(lambda: page._timer is None)  # it looks once more, and then no more
    generation = status.read(app.window).generation
    assert not page._write()
    assert status.read(app.window).generation == generation


async def test_the_page_is_not_believed(app: App) -> None:
    await shown(app, queues_lent=1)
    start, end = layout.STATUS_OFFSET, layout.STATUS_OFFSET + layout.STATUS_BYTES
    app.window.bytes[start:end] = b"\xff" * (end - start)
    app.send(Op.NOP, 0, 0, 1, 1, 0, 0, 0, 0)
    found = await until_readable(app)
    assert (found.state_name, found.queues_lent, found.descriptors) == ("serving", 1, 1)
    assert app.queues.totals.descriptors == 1


async def until_readable(app: App) -> Status:
    await until(lambda: not app.window.words[layout.STATUS_OFFSET // 8] & 1)
    return status.read(app.window)
