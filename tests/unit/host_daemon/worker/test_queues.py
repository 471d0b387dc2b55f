"""The worker's side of queue pairs, against an app that writes whatever it likes."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from host_daemon.worker.executor import Executor
from host_daemon.worker.queue import Queue
from host_daemon.worker.queues import Queues
from vaccel import bounds
from vaccel.aperture import descriptors, layout, ring
from vaccel.aperture.descriptors import DESCRIPTOR, Completion, Op
from vaccel.aperture.journal import Journal, create_journal
from vaccel.aperture.window import Window, create_window
from vaccel.compute import Lease
from vaccel.errors import Exhausted, InvalidArgument, NotFound

SIZE = 8 << 20


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while True:
            if condition():
                return
            await asyncio.sleep(0)


@dataclass
class App:
    """An app with raw access to its window."""

    executor: Executor
    queues: Queues
    window: Window
    doorbell: int
    context: str
    lease: Lease

    def __post_init__(self) -> None:
        views = self.window.bytes, self.window.words
        self.poster = ring.Producer(*views, ring.submission(self.lease.queue))
        self.taker = ring.Consumer(*views, ring.completion(self.lease.queue))

    @property
    def queue(self) -> Queue:
        """What the worker has of it."""
        return self.queues._queues[self.context]

    def knock(self) -> None:
        os.write(self.doorbell, (1).to_bytes(8, "little"))

    def send(self, *fields: int) -> None:
        self.poster.put(DESCRIPTOR.pack(*fields))
        self.knock()

    async def answers(self, count: int) -> list[Completion]:
        found: list[Completion] = []
        async with asyncio.timeout(10):
            while len(found) < count:
                raw = self.taker.take(count)
                found += [
                    descriptors.decode(raw[at : at + layout.CQ_ENTRY])
                    for at in range(0, len(raw), layout.CQ_ENTRY)
                ]
                await asyncio.sleep(0)
        return found

    async def fence(self, stream: int, value: int) -> None:
        word = (layout.queue_offset(self.lease.queue) + layout.FENCES.offset) // 8 + stream
        await until(lambda: self.window.words[word] >= value)


@pytest.fixture
async def app(executor: Executor) -> AsyncIterator[App]:
    memfd, doorbell = create_window(SIZE), os.eventfd(0, os.EFD_NONBLOCK)
    window = Window.from_fd(memfd, SIZE)
    journal = Journal(create_journal(SIZE), SIZE)
    async with Queues(executor, window, doorbell, journal) as queues:
        context = await executor.open_context()
        lease = await executor.lend_queue(context, 1 << 20)
        yield App(executor, queues, window, doorbell, context, lease)
    window.close()
    os.close(memfd)
    os.close(doorbell)


async def test_null_commands_reach_their_fences(app: App) -> None:
    for first in range(1, 1000, 100):
        entries = [
            DESCRIPTOR.pack(Op.NOP, 0, 0, 5, n, 0, 0, 0, 0) for n in range(first, first + 100)
        ]
        app.poster.put(b"".join(entries))
        app.knock()
        await app.fence(5, first + 99)
    assert app.queues.totals.descriptors == 1000
    assert app.taker.waiting == 0


async def test_data_goes_both_ways(app: App) -> None:
    buffer = await app.executor.allocate(app.context, 4 << 20)
    start = app.lease.slab_offset
    app.window.bytes[start : start + 5] = b"hello"
    app.send(Op.WRITE, 0, 1, 0, 0, start, buffer, 7, 5)
    app.send(Op.READ, 0, 2, 0, 0, start + 64, buffer, 6, 7)
    done = await app.answers(2)
    assert [(one.tag, one.error) for one in done] == [(1, None), (2, None)]
    assert bytes(app.window.bytes[start + 64 : start + 71]) == b"\0hello\0"


U64 = (1 << 64) - 1
BUFFER = 3_000_000_001  # the first of epoch 3


@pytest.mark.parametrize(
    ("fields", "kind", "word"),
    [
        ((0, 0, 9, 0, 0, 0, 0, 0, 0), InvalidArgument, "op 0"),
        ((77, 0, 9, 0, 0, 0, 0, 0, 0), InvalidArgument, "op 77"),
        ((Op.NOP, 1, 9, 0, 1, 0, 0, 0, 0), InvalidArgument, "flags"),
        ((Op.NOP, 0, 9, 0, 5, 0, 0, 0, 0), InvalidArgument, "first fence 5"),
        ((Op.NOP, 0, 9, 0, 0, 0, 0, 0, 0), InvalidArgument, "first fence 0"),
        ((Op.WRITE, 0, 9, 0, 0, 0, BUFFER, 0, 8), InvalidArgument, "outside the slab"),
        ((Op.WRITE, 0, 9, 0, 0, layout.RINGS_OFFSET, BUFFER, 0, 8), InvalidArgument, "outside"),
        ((Op.WRITE, 0, 9, 0, 0, U64, BUFFER, 0, U64), InvalidArgument, "outside the slab"),
        ((Op.READ, 0, 9, 0, 0, -1, BUFFER, 0, 8), InvalidArgument, "outside the slab"),
        ((Op.READ, 0, 9, 0, 0, 0, BUFFER, U64, 8), InvalidArgument, "outside buffer"),
        ((Op.READ, 0, 9, 0, 0, 0, 99, 0, 8), NotFound, "buffer 99"),
        ((Op.RUN, 0, 9, 0, 0, 0, 8, U64, 8), InvalidArgument, "outside the slab"),
        ((Op.RUN, 0, 9, 0, 0, U64, 8, 0, 8), InvalidArgument, "outside the slab"),
        ((Op.RECORD, 0, 9, 0, 0, 0, 0, 0, 0), InvalidArgument, "no command"),
        ((Op.REPLAY, 0, 9, 0, 1, 3, 0, 0, 0), NotFound, "recording 3"),
    ],
)
async def test_what_is_malformed_gets_an_error(
    app: App, fields: tuple[int, ...], kind: type, word: str
) -> None:
    buffer = await app.executor.allocate(app.context, 64)
    assert buffer == BUFFER
    given = list(fields)
    start = app.lease.slab_offset
    if fields[0] in (Op.READ, Op.RUN, Op.RECORD) and given[5] in (0, -1):
        given[5] += start
    app.send(*given)
    (done,) = await app.answers(1)
    assert done.tag == 9
    assert type(done.error) is kind
    assert word in str(done.error)
    assert app.queues.totals.malformed == 1
    app.send(Op.NOP, 0, 0, 1, 1, 0, 0, 0, 0)
    await app.fence(1, 1)


async def test_noise_harms_nobody(app: App) -> None:
    other = await app.executor.open_context()
    kept = await app.executor.allocate(other, 64)
    await app.executor.write(other, kept, 0, b"k" * 64)
    chance = random.Random(11)
    buffer = await app.executor.allocate(app.context, 256)
    for _ in range(100):
        for _ in range(30):
            small = [
                chance.choice((0, 1, 7, buffer, app.lease.slab_offset, U64, 300)) for _ in "7654321"
            ]
            app.poster.put(
                DESCRIPTOR.pack(chance.randrange(2, 11), chance.choice((0, 0, 1)), *small)
            )
        app.knock()
        async with asyncio.timeout(10):
            while not app.poster.idle:
                app.taker.take(1000)
                app.knock()
                await asyncio.sleep(0)
    assert app.queues.totals.broken == 0
    assert await app.executor.read(other, kept, 0, 64) == b"k" * 64


@pytest.mark.parametrize("tail", [U64, 300, 1 << 40])
async def test_a_jumping_index_breaks_that_queue_alone(app: App, tail: int) -> None:
    other = await app.executor.open_context()
    lease = await app.executor.lend_queue(other, 4096)
    base = layout.queue_offset(app.lease.queue) // 8
    app.window.words[base + layout.SQ_TAIL.word] = tail
    app.knock()
    await until(lambda: app.window.words[base + layout.QUEUE_STATE.word] == 1)
    assert app.queues.totals.broken == 1
    neighbour = App(app.executor, app.queues, app.window, app.doorbell, other, lease)
    neighbour.send(Op.NOP, 0, 0, 1, 1, 0, 0, 0, 0)
    await neighbour.fence(1, 1)
    # Lent again, it works again, with the same slab.
    again = await app.executor.lend_queue(app.context)
    assert again == app.lease
    reset = App(app.executor, app.queues, app.window, app.doorbell, app.context, again)
    reset.send(Op.NOP, 0, 0, 1, 1, 0, 0, 0, 0)
    await reset.fence(1, 1)


@pytest.mark.parametrize("head", [2, 1 << 40, 1 << 63, U64])
async def test_completions_that_were_taken_before_they_were_posted(app: App, head: int) -> None:
    app.send(77, 0, 1, 0, 0, 0, 0, 0, 0)
    await app.answers(1)
    base = layout.queue_offset(app.lease.queue) // 8
    app.window.words[base + layout.CQ_HEAD.word] = head
    app.send(77, 0, 1, 0, 0, 0, 0, 0, 0)
    await until(lambda: app.window.words[base + layout.QUEUE_STATE.word] == layout.BROKEN)
    assert app.executor.usage().broken_queues == 1


async def test_what_the_worker_says_of_itself_is_never_read_back(app: App) -> None:
    base = layout.queue_offset(app.lease.queue) // 8
    app.poster.put(DESCRIPTOR.pack(Op.NOP, 0, 0, 1, 1, 0, 0, 0, 0))
    for field in (layout.SQ_HEAD, layout.CQ_TAIL, layout.QUEUE_STATE):
        app.window.words[base + field.word] = U64
    app.knock()
    await app.fence(1, 1)
    await until(lambda: app.window.words[base + layout.SQ_HEAD.word] == 1)
    assert app.queues.totals.broken == 0


async def test_completions_that_find_no_room_hold_descriptors_back(app: App) -> None:
    for _ in range(layout.CQ_ENTRIES + 50):
        app.send(77, 0, 1, 0, 0, 0, 0, 0, 0)
    assert len(await app.answers(layout.CQ_ENTRIES)) == layout.CQ_ENTRIES
    app.knock()
    assert len(await app.answers(50)) == 50
    assert app.queues.totals.broken == 0


async def test_a_storm_of_doorbells_goes_unheard_for_a_while(app: App) -> None:
    totals = app.queues.totals
    async with asyncio.timeout(10):
        while not totals.throttled:
            app.knock()
            await asyncio.sleep(0)
    heard = totals.empty_doorbells
    for _ in range(100):
        app.knock()
        await asyncio.sleep(0)
    assert totals.empty_doorbells == heard
    app.send(Op.NOP, 0, 0, 1, 1, 0, 0, 0, 0)
    await app.fence(1, 1)


async def test_slabs_and_queues_come_back_with_their_context(app: App) -> None:
    pairs = layout.queue_pairs(SIZE)
    contexts = [await app.executor.open_context() for _ in range(pairs)]
    for context in contexts[:-1]:
        await app.executor.lend_queue(context, 4096)
    with pytest.raises(Exhausted, match=f"all {pairs} queue pairs"):
        await app.executor.lend_queue(contexts[-1])
    await app.executor.close_context(contexts[0])
    await until(lambda: len(app.queues) < pairs and app.queues.free_pairs == 1)
    assert (await app.executor.lend_queue(contexts[-1], 4096)).slab_bytes == 4096


async def test_a_queue_is_lent_again_when_nothing_of_before_touches_its_slab(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    transfer = app.executor.transfer

    async def slow(*arguments: Any) -> None:
        begun.set()
        await go_on.wait()
        await transfer(*arguments)

    monkeypatch.setattr(app.executor, "transfer", slow)
    buffer = await app.executor.allocate(app.context, 64)
    monkeypatch.setattr(bounds, "CHUNK_BYTES", 0)  # even a small copy is one beside the loop
    start = app.lease.slab_offset
    app.window.bytes[start : start + 8] = b"k" * 8
    app.send(Op.READ, 0, 1, 0, 0, start, buffer, 0, 8)
    await begun.wait()
    lending = asyncio.create_task(app.executor.lend_queue(app.context))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not lending.done() and bytes(app.window.bytes[start : start + 8]) == b"k" * 8
    go_on.set()
    assert await lending == app.lease
    assert bytes(app.window.bytes[start : start + 8]) == bytes(8)  # it was done, before
    assert app.taker.waiting == 0


async def test_a_slab_larger_than_what_is_left_says_so(app: App) -> None:
    context = await app.executor.open_context()
    with pytest.raises(Exhausted, match="largest free block"):
        await app.executor.lend_queue(context, SIZE)
    assert (await app.executor.lend_queue(context)).slab_bytes >= bounds.SLAB_BYTES_LEAST


async def test_a_new_epoch_takes_queues_back(app: App) -> None:
    await app.executor.begin_epoch(4)
    assert len(app.queues) == 0
    app.knock()
    await asyncio.sleep(0)


async def test_a_new_epoch_tells_apps_and_keeps_their_slabs(app: App) -> None:
    app.window.bytes[app.lease.slab_offset : app.lease.slab_offset + 4] = b"kept"
    await app.executor.begin_epoch(4)
    state = (layout.queue_offset(app.lease.queue) + layout.QUEUE_STATE.offset) // 8
    assert app.window.words[state] == layout.LOST
    other = await app.executor.lend_queue(await app.executor.open_context(), 1 << 20)
    assert other.slab_offset != app.lease.slab_offset
    fresh = await app.executor.open_context()
    assert await app.executor.lend_queue(fresh, 1 << 20, app.context) == app.lease
    assert app.window.words[state] == 0
    assert app.window.bytes[app.lease.slab_offset : app.lease.slab_offset + 4] == b"kept"


async def test_what_a_lost_context_left_is_taken_where_there_is_no_more(app: App) -> None:
    await app.executor.begin_epoch(4)
    left = SIZE - layout.slabs_offset(SIZE)
    lease = await app.executor.lend_queue(await app.executor.open_context(), left)
    assert lease.slab_bytes == left
    fresh = await app.executor.open_context()
    with pytest.raises(Exhausted):
        await app.executor.lend_queue(fresh, 1 << 20, app.context)
