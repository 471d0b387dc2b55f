"""A worker is killed between any two of its stores: each descriptor is answered, once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from host_daemon.worker.executor import Executor
from host_daemon.worker.queues import Queues
from host_daemon.worker.recovery import end_lost
from vaccel.aperture import descriptors, journal, layout, ring
from vaccel.aperture.descriptors import DESCRIPTOR, Completion, Op
from vaccel.aperture.journal import Journal, create_journal
from vaccel.aperture.slab import Slab
from vaccel.aperture.window import Window, create_window
from vaccel.commands import Nop
from vaccel.compute import Lease
from vaccel.errors import DeviceLost
from vaccel.rpc import ring_calls

SIZE = 1 << 20
STREAM = 1
NOPS = 5


class Watched:
    """Memory that tells of every store, before it is made."""

    def __init__(self, memory: memoryview, told: Callable[[], None]) -> None:
        self._memory, self._told = memory, told

    def __getitem__(self, at: Any) -> Any:
        return self._memory[at]

    def __setitem__(self, at: Any, value: Any) -> None:
        self._told()
        self._memory[at] = value

    def release(self) -> None:
        self._memory.release()


@dataclass(frozen=True)
class Shared:
    """Window and journal of one VF."""

    memfd: int
    journal_fd: int
    window: Window
    journal: Journal

    def copy(self) -> tuple[bytes, bytes]:
        end = layout.slabs_offset(SIZE)
        return os.pread(self.memfd, end, 0), os.pread(self.journal_fd, 1 << 20, 0)


@contextmanager
def shared(window: bytes = b"", record: bytes = b"") -> Iterator[Shared]:
    memfd, journal_fd = create_window(SIZE), create_journal(SIZE)
    os.pwrite(memfd, window, 0)
    os.pwrite(journal_fd, record, 0)
    made = Shared(memfd, journal_fd, Window.from_fd(memfd, SIZE), Journal(journal_fd, SIZE))
    try:
        yield made
    finally:
        made.window.close()
        made.journal.close()
        os.close(memfd)
        os.close(journal_fd)


def watch(memory: Shared, told: Callable[[], None]) -> None:
    window: Any = memory.window
    window.bytes, window.words = Watched(window.bytes, told), Watched(window.words, told)
    for number in range(layout.queue_pairs(SIZE)):
        record: Any = memory.journal.queue(number)
        record.words, record._bytes = Watched(record.words, told), Watched(record._bytes, told)


def submitted(memory: Shared, lease: Lease, app: ring.Producer) -> set[int]:
    """Descriptors of all kinds, at once; the tags that are owed an answer."""
    call = ring_calls.to_submission(2, 1, [Nop(), Nop()])
    wrong = ring_calls.to_submission(3, 9, [Nop()])
    at = lease.slab_offset
    memory.window.bytes[at : at + len(call)] = call
    memory.window.bytes[at + 512 : at + 512 + len(wrong)] = wrong
    entries = [
        (77, 0, 1, 0, 0, 0, 0, 0, 0),
        *((Op.NOP, 0, 0, STREAM, n, 0, 0, 0, 0) for n in range(1, NOPS)),
        (Op.RECORD, 0, 2, 0, 0, at, len(call), 0, 0),
        (Op.RUN, 0, 3, 0, 0, at, len(call), at + 4096, 1024),
        (Op.NOP, 0, 0, STREAM, NOPS, 0, 0, 0, 0),
        (Op.SUBMIT, 0, 4, 0, 0, at + 512, len(wrong), at + 8192, 1024),
        (Op.FORGET, 0, 5, 0, 0, 99, 0, 0, 0),
        (Op.REPLAY, 0, 6, 4, 1, 12345, 0, 0, 0),
    ]
    app.put(b"".join(DESCRIPTOR.pack(*one) for one in entries))
    return {one[2] for one in entries if one[2]}


def completions(memory: Shared, queue: int) -> list[Completion]:
    taker = ring.Consumer(memory.window.bytes, memory.window.words, ring.completion(queue))
    raw = taker.copy(layout.CQ_ENTRIES)
    entries = (raw[at : at + layout.CQ_ENTRY] for at in range(0, len(raw), layout.CQ_ENTRY))
    return [descriptors.decode(entry) for entry in entries]


def word(memory: Shared, queue: int, field: layout.Field, more: int = 0) -> int:
    at = (layout.queue_offset(queue) + field.offset) // layout.WORD + more
    return int(memory.window.words[at])


Submit = Callable[[Shared, Lease, ring.Producer], set[int]]


async def run_and_record(
    executor: Executor, submit: Submit = submitted
) -> tuple[list[tuple[bytes, bytes]], set[int], str]:
    """Everything that is seen between two stores of a worker, from the lending on."""
    moments: list[tuple[bytes, bytes]] = []
    with shared() as memory:
        doorbell = os.eventfd(0, os.EFD_NONBLOCK)
        async with Queues(executor, memory.window, doorbell, memory.journal):
            context = await executor.open_context()
            lease = await executor.lend_queue(context, 1 << 16)
            views = memory.window.bytes, memory.window.words
            tags = submit(memory, lease, ring.Producer(*views, ring.submission(lease.queue)))
            watch(memory, lambda: moments.append(memory.copy()))
            os.write(doorbell, (1).to_bytes(8, "little"))
            async with asyncio.timeout(10):
                while word(memory, 0, layout.CQ_TAIL) < len(tags):  # noqa: ASYNC110
                    await asyncio.sleep(0)
            moments.append(memory.copy())
        os.close(doorbell)
    return moments, tags, context


async def test_each_descriptor_is_answered_once_whenever_the_worker_is_killed(
    executor: Executor,
) -> None:
    moments, tags, context = await run_and_record(executor)
    assert len(moments) > 60
    lost = 0
    for number, (window, record) in enumerate(moments):
        with shared(window, record) as memory:
            seen = word(memory, 0, layout.CQ_TAIL)
            before = completions(memory, 0)
            left = end_lost(memory.window, memory.journal, Slab(0, SIZE))
            assert list(left) == [context]
            after = completions(memory, 0)
            answered = [one.tag for one in after if one.tag]
            assert sorted(answered) == sorted(tags), f"killed before store {number}"
            assert after[:seen] == before or [one.tag for one in before] == answered[:seen]
            assert word(memory, 0, layout.QUEUE_STATE) == layout.LOST
            assert word(memory, 0, layout.FENCES, STREAM) == NOPS
            # A fence that was not reached before is not reached now without a word.
            if journal_word(record, journal.REACHED + STREAM) < NOPS:
                assert any(
                    isinstance(one.error, DeviceLost) and one.stream == STREAM for one in after
                )
            lost += sum(isinstance(one.error, DeviceLost) for one in after)
            # Whoever is killed while it does that is followed by one that finds no more to do.
            again = len(after)
            end_lost(memory.window, memory.journal, Slab(0, SIZE))
            assert len([one for one in completions(memory, 0)[again:] if one.tag]) == 0
    assert lost > len(moments)


U64 = (1 << 64) - 1
# Null commands that are refused: fences of the past and of the future, and streams without a word.
CLAIMS = [
    (STREAM, U64),
    (STREAM, 0),
    (STREAM, NOPS + 2),
    (9, 2),
    (9, U64),
    (layout.FENCE_WORDS, 1),
    (U64, 1),
    (U64, U64),
]


def claimed(memory: Shared, lease: Lease, app: ring.Producer) -> set[int]:
    """Null commands, good ones among those that claim what is not so."""
    entries = [(Op.NOP, 0, 0, STREAM, n, 0, 0, 0, 0) for n in range(1, NOPS + 1)]
    for tag, (stream, fence) in enumerate(CLAIMS, 1):
        entries.insert(tag % NOPS, (Op.NOP, 0, tag, stream, fence, 0, 0, 0, 0))
    app.put(b"".join(DESCRIPTOR.pack(*one) for one in entries))
    return set(range(1, len(CLAIMS) + 1))


async def test_a_fence_that_was_only_claimed_is_never_reached(executor: Executor) -> None:
    moments, tags, _ = await run_and_record(executor, claimed)
    assert len(moments) > 40
    for number, (window, record) in enumerate(moments):
        assert journal_word(record, journal.ACCEPTED + STREAM) <= NOPS
        with shared(window, record) as memory:
            end_lost(memory.window, memory.journal, Slab(0, SIZE))
            fences = [word(memory, 0, layout.FENCES, n) for n in range(layout.FENCE_WORDS)]
            reached = {stream: fence for stream, fence in enumerate(fences) if fence}
            assert reached == {STREAM: NOPS}, f"killed before store {number}"
            answered = [one.tag for one in completions(memory, 0) if one.tag]
            assert sorted(answered) == sorted(tags), f"killed before store {number}"


async def test_a_null_command_behind_others_of_its_stream_is_answered(executor: Executor) -> None:
    """Whether it will be accepted is known only when those before it were."""

    def behind(memory: Shared, lease: Lease, app: ring.Producer) -> set[int]:
        payload = ring_calls.to_recording([Nop()] * 3)
        at = lease.slab_offset
        memory.window.bytes[at : at + len(payload)] = payload
        first = executor.epoch * 10**9 + 1
        entries = [
            (Op.RECORD, 0, 1, 0, 0, at, len(payload), 0, 0),
            (Op.REPLAY, 0, 0, STREAM, 1, first, 0, 0, 0),
            *((Op.NOP, 0, 0, STREAM, n, 0, 0, 0, 0) for n in range(4, NOPS + 1)),
            (77, 0, 2, 0, 0, 0, 0, 0, 0),
        ]
        app.put(b"".join(DESCRIPTOR.pack(*one) for one in entries))
        return {1, 2}

    moments, _, _ = await run_and_record(executor, behind)
    for number, (window, record) in enumerate(moments):
        with shared(window, record) as memory:
            before = word(memory, 0, layout.FENCES, STREAM)
            end_lost(memory.window, memory.journal, Slab(0, SIZE))
            after = completions(memory, 0)
            assert before <= word(memory, 0, layout.FENCES, STREAM)
            lost = {one.fence for one in after if isinstance(one.error, DeviceLost)}
            reached = word(memory, 0, layout.FENCES, STREAM)
            for fence in (1, *range(4, NOPS + 1)):
                assert fence in lost or fence <= reached, f"killed before store {number}"
    assert reached == NOPS


async def test_counters_go_on_where_the_worker_before_was_killed(executor: Executor) -> None:
    with shared() as memory:
        doorbell = os.eventfd(0, os.EFD_NONBLOCK)
        for worker in range(1, 4):
            async with Queues(executor, memory.window, doorbell, memory.journal) as queues:
                lease = await executor.lend_queue(await executor.open_context(), 1 << 16)
                views = memory.window.bytes, memory.window.words
                app = ring.Producer(*views, ring.submission(lease.queue))
                app.put(DESCRIPTOR.pack(77, 0, 1, 0, 0, 0, 0, 0, 0))
                os.write(doorbell, (1).to_bytes(8, "little"))
                async with asyncio.timeout(10):
                    while queues.totals.malformed < worker:  # noqa: ASYNC110
                        await asyncio.sleep(0)
                for at in (layout.SQ_TAIL, layout.CQ_HEAD):
                    memory.window.words[(layout.queue_offset(lease.queue) + at.offset) // 8] = U64
                os.write(doorbell, (1).to_bytes(8, "little"))
                async with asyncio.timeout(10):
                    while queues.totals.broken < worker:  # noqa: ASYNC110
                        await asyncio.sleep(0)
                counted = executor.usage()
                assert counted.descriptors == counted.malformed == counted.broken_queues == worker
                moment = memory.copy()[1]
            os.pwrite(memory.journal_fd, moment, 0)  # as a worker leaves it that is killed now
        os.close(doorbell)


def journal_word(record: bytes, at: int) -> int:
    start = journal.RECORDS_OFFSET + 8 * at
    return int.from_bytes(record[start : start + 8], "little")


async def test_a_recovery_that_is_killed_is_finished_by_the_next(executor: Executor) -> None:
    moments, tags, _ = await run_and_record(executor)
    for window, record in moments:
        stages: list[tuple[bytes, bytes]] = []
        with shared(window, record) as memory:
            watch(memory, lambda memory=memory, stages=stages: stages.append(memory.copy()))
            end_lost(memory.window, memory.journal, Slab(0, SIZE))
        for half in stages:
            with shared(*half) as memory:
                end_lost(memory.window, memory.journal, Slab(0, SIZE))
                answered = [one.tag for one in completions(memory, 0) if one.tag]
                assert sorted(answered) == sorted(tags)
                assert word(memory, 0, layout.QUEUE_STATE) == layout.LOST


async def test_a_slab_stays_with_its_app_whenever_the_worker_is_killed_while_it_lends(
    executor: Executor,
) -> None:
    moments: list[tuple[bytes, bytes]] = []
    with shared() as memory:
        doorbell = os.eventfd(0, os.EFD_NONBLOCK)
        async with Queues(executor, memory.window, doorbell, memory.journal) as queues:
            old = await executor.open_context()
            lease = await executor.lend_queue(old, 1 << 16)
            views = memory.window.bytes, memory.window.words
            submitted(memory, lease, ring.Producer(*views, ring.submission(lease.queue)))
            queues.reset()
            await queues.settle()
            fresh = await executor.open_context()
            watch(memory, lambda: moments.append(memory.copy()))
            # Lent on to the next context of the same app, which then asks once more.
            for _ in range(2):
                assert await executor.lend_queue(fresh, 1 << 16, old) == lease
            moments.append(memory.copy())
        os.close(doorbell)
    found = set()
    for window, record in moments:
        with shared(window, record) as memory:
            left = end_lost(memory.window, memory.journal, Slab(0, SIZE))
            ((context, lost),) = left.items()
            assert lost.lease == lease and old in (context, lost.after)
            found.add(context)
        # And so does the app: it asks by the name that it knows.
        with shared(window, record) as memory:
            doorbell = os.eventfd(0, os.EFD_NONBLOCK)
            async with Queues(executor, memory.window, doorbell, memory.journal):
                last = await executor.open_context()
                assert await executor.lend_queue(last, 1 << 16, old) == lease
                await executor.close_context(last)
            os.close(doorbell)
    assert found == {old, fresh}


@pytest.mark.parametrize("seed", range(40))
def test_a_journal_full_of_rubbish_costs_its_queue_only(seed: int) -> None:
    import random

    chance = random.Random(seed)
    rubbish = bytearray(chance.randbytes(journal.RECORD_BYTES))
    if seed % 2:  # as near to a good one as rubbish gets
        good = Lease(0, layout.slabs_offset(SIZE), 4096, SIZE)
        with shared() as memory:
            memory.journal.queue(0).lend("ctx-00000000000000000000000001", good)
            start = journal.RECORDS_OFFSET
            kept = memory.copy()[1][start : start + journal.RECORD_BYTES]
        rubbish[: 8 * journal.SQ_HEAD] = kept[: 8 * journal.SQ_HEAD]
        rubbish[8 * journal.LEASES[0] : 1024] = kept[8 * journal.LEASES[0] : 1024]
    with shared(chance.randbytes(1 << 18), bytes(journal.RECORDS_OFFSET) + rubbish) as memory:
        slabs = Slab(layout.slabs_offset(SIZE), SIZE - layout.slabs_offset(SIZE))
        end_lost(memory.window, memory.journal, slabs)
        assert word(memory, 0, layout.QUEUE_STATE) == layout.LOST
