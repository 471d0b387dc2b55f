"""Waits for streams of other contexts, where descriptors are on their way and contexts close."""

from __future__ import annotations

from host_daemon.worker.executor import Executor
from tests.unit.host_daemon.worker.test_queues import App, app  # noqa: F401 - a fixture
from vaccel.aperture import layout
from vaccel.aperture.descriptors import DESCRIPTOR, Op
from vaccel.commands import Fill, Nop, WaitFence
from vaccel.errors import InvalidArgument
from vaccel.model import BufferRange
from vaccel.rpc import ring_calls


async def test_what_is_in_a_ring_was_submitted(app: App) -> None:  # noqa: F811
    other = await app.executor.open_context()
    count = layout.SQ_ENTRIES
    entries = [DESCRIPTOR.pack(Op.NOP, 0, 0, 5, n + 1, 0, 0, 0, 0) for n in range(count)]
    app.poster.put(b"".join(entries))  # and no doorbell: the worker has seen none of them
    wait = WaitFence(5, count, app.context)
    progress = await app.executor.run(other, 1, 1, [wait, Nop()], 10)
    assert [one.error for one in progress.completions] == [None, None]
    assert app.queues.totals.descriptors == count


async def test_a_replay_that_waits_for_the_future_is_refused(app: App) -> None:  # noqa: F811
    other = await app.executor.open_context()
    lease = await app.executor.lend_queue(other, 4096)
    neighbour = App(app.executor, app.queues, app.window, app.doorbell, other, lease)
    payload = ring_calls.to_recording([WaitFence(5, 1, app.context)])
    start = lease.slab_offset
    app.window.bytes[start : start + len(payload)] = payload
    neighbour.send(Op.RECORD, 0, 1, 0, 0, start, len(payload), 0, 0)
    (made,) = await neighbour.answers(1)
    for fence in (1, 2):
        neighbour.send(Op.REPLAY, 0, 2, 1, fence, made.value, 0, 0, 0)
        if fence == 1:
            (done,) = await neighbour.answers(1)
            assert isinstance(done.error, InvalidArgument) and "future" in str(done.error)
            app.send(Op.NOP, 0, 0, 5, 1, 0, 0, 0, 0)
            await app.fence(5, 1)
            neighbour.send(Op.REPLAY, 0, 3, 1, 1, made.value, 0, 0, 0)
    await neighbour.fence(1, 2)


async def test_who_waits_and_goes_is_not_remembered(executor: Executor) -> None:
    one, two = [await executor.open_context() for _ in range(2)]
    buffer = await executor.allocate(one, 16 << 20)
    slow = [Fill(BufferRange(buffer), 16 << 20, b"ab")] * 1000
    await executor.submit(one, 1, 1, slow)
    mark = executor._contexts.find(one).stream(1).mark
    for _ in range(3):
        await executor.submit(two, 1, 1, [WaitFence(1, 1000, one)])
        progress = await executor.run(two, 2, 1, [WaitFence(1, 1, one)], 10)
        assert progress.completions[0].error is None  # by now the other one holds
        assert len(mark.parked) == 1
        await executor.close_context(two)
        assert not mark.parked
        two = await executor.open_context()
    await executor.close_context(one)


async def test_a_reset_ends_waits_of_all_contexts(executor: Executor) -> None:
    one, two = [await executor.open_context() for _ in range(2)]
    buffer = await executor.allocate(one, 16 << 20)
    await executor.submit(one, 1, 1, [Fill(BufferRange(buffer), 16 << 20, b"ab")] * 1000)
    await executor.submit(two, 1, 1, [WaitFence(1, 1000, one), Nop()])
    await executor.submit(one, 2, 1, [WaitFence(1, 2, two)])
    await executor.begin_epoch(4)
    fresh = await executor.open_context()
    progress = await executor.run(fresh, 1, 1, [Nop()], 10)
    assert progress.reached == 1 and executor.usage().memory_bytes == 0
