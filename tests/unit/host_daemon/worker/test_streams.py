"""Streams: fences, poison, idempotence, and that everything kept is bounded."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_daemon.worker.memory import DeviceMemory
from host_daemon.worker.streams import Stream
from vaccel import bounds
from vaccel.commands import Completion, Nop, Store
from vaccel.errors import Cancelled, DeviceLost, Exhausted, InvalidArgument, TimedOut
from vaccel.model import BufferRange, DType, Tensor


def stream(capacity: int = 1 << 20) -> tuple[Stream, DeviceMemory]:
    memory = DeviceMemory(capacity)
    return Stream(1, memory), memory


def do(of: Stream, *errors: Exception | None) -> None:
    for error in errors:
        head = of.head
        assert head is not None
        of.complete(Completion(head.fence, error))  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 6)), max_size=20))
def test_every_fence_is_accepted_once(submissions: list[tuple[int, int]]) -> None:
    queue, _ = stream()
    for first, count in submissions:
        before = queue.accepted
        if first > before + 1:
            with pytest.raises(InvalidArgument, match=f"expected {before + 1}"):
                queue.submit(first, [Nop()] * count)
            assert queue.accepted == before
        else:
            queue.submit(first, [Nop()] * count)
            assert queue.accepted == max(before, first + count - 1)
    fences = []
    while queue.head is not None:
        fences.append(queue.head.fence)
        do(queue, None)
    assert fences == list(range(1, queue.accepted + 1))


async def test_poison_stays_in_its_submission() -> None:
    queue, _ = stream()
    queue.submit(1, [Nop(), Nop(), Nop()])
    queue.submit(4, [Nop()])
    do(queue, None, InvalidArgument("bad"))
    assert queue.skip_poisoned()
    assert not queue.skip_poisoned()
    do(queue, None)
    progress = await queue.wait(4, 0, 0)
    kinds = [type(each.error) for each in progress.completions]
    assert kinds == [type(None), InvalidArgument, Cancelled, type(None)]
    assert "command 2 failed: bad" in str(progress.completions[2].error)


async def test_waiting_times_out_and_the_work_goes_on() -> None:
    queue, _ = stream()
    queue.submit(1, [Nop()])
    with pytest.raises(TimedOut, match="fence 0, not 1"):
        await queue.wait(1, 0, 0)
    waiting = asyncio.create_task(queue.wait(1, 60, 0))
    await asyncio.sleep(0)
    do(queue, None)
    assert (await waiting).reached == 1


async def test_closing_tells_those_who_wait() -> None:
    queue, memory = stream()
    queue.submit(1, [Store(BufferRange(1), bytes(1000))])
    assert memory.used == 1000
    waiting = asyncio.create_task(queue.wait(1, 60, 0))
    await asyncio.sleep(0)
    queue.close(DeviceLost("reset"))
    with pytest.raises(DeviceLost):
        await waiting
    assert memory.used == 0


def test_queued_data_counts_as_memory() -> None:
    queue, memory = stream(1500)
    queue.submit(1, [Store(BufferRange(1), bytes(1000))])
    with pytest.raises(Exhausted, match="500 of 1500"):
        queue.submit(2, [Store(BufferRange(1), bytes(1000))])
    assert queue.accepted == 1
    do(queue, None)
    assert memory.used == 0


def test_the_queue_is_bounded() -> None:
    queue, _ = stream()
    queue.submit(1, [Nop()] * bounds.COMMANDS_QUEUED)
    with pytest.raises(Exhausted, match="4096"):
        queue.submit(bounds.COMMANDS_QUEUED + 1, [Nop()])


async def test_completions_are_bounded_until_acknowledged() -> None:
    queue, _ = stream()
    queue.submit(1, [Nop()] * bounds.COMPLETIONS_KEPT)
    do(queue, *[None] * bounds.COMPLETIONS_KEPT)
    with pytest.raises(Exhausted, match="unacknowledged"):
        queue.submit(bounds.COMPLETIONS_KEPT + 1, [Nop()])
    await queue.wait(0, 0, 10)
    queue.submit(bounds.COMPLETIONS_KEPT + 1, [Nop()] * 10)


async def test_a_reply_carries_no_more_than_it_may() -> None:
    queue, memory = stream(1 << 24)
    queue.submit(1, [Nop()] * 4)
    size = bounds.INLINE_BYTES // 2
    for fence in range(1, 5):
        memory.reserve(size, "result")
        result = Tensor(DType.UINT8, (size,), data=bytes(size))
        queue.complete(Completion(fence, None, None, {"y": result}), size)
    seen = 0
    for expected in (2, 2, 0):
        progress = await queue.wait(4, 0, seen)
        assert len(progress.completions) == expected
        seen += expected
    assert memory.used == 0


async def test_forged_acknowledgements_do_no_harm() -> None:
    queue, _ = stream()
    queue.submit(1, [Nop(), Nop()])
    do(queue, None)
    progress = await queue.wait(0, 0, 1 << 63)
    assert progress.completions == ()
    do(queue, None)
    assert [each.fence for each in (await queue.wait(2, 0, 1)).completions] == [2]
