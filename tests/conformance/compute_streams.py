"""The compute suite: commands, fences and streams."""

from __future__ import annotations

import numpy as np

from tests.conformance.compute_session import (
    Model,
    affine,
    check,
    is_error,
    ones,
    opened,
    refused,
)
from vaccel import bounds
from vaccel.commands import (
    Command,
    Copy,
    Fill,
    Launch,
    Nop,
    Result,
    Signal,
    Store,
    WaitFence,
)
from vaccel.compute import Compute
from vaccel.errors import (
    Cancelled,
    InvalidArgument,
    NotFound,
    VaccelError,
)
from vaccel.model import BufferRange, DType, Tensor


@check
async def commands_complete_in_order(compute: Compute, model: Model) -> None:
    async with opened(compute) as session:
        done = await session.run(*[Nop() for _ in range(100)])
        assert [c.fence for c in done] == list(range(1, 101))
        assert all(c.error is None for c in done)


@check
async def a_repeated_submission_runs_once(compute: Compute, model: Model) -> None:
    async with opened(compute) as session:
        buffer = await session.buffer(b"ab" + bytes(8))
        shift = Copy(BufferRange(buffer, 0), BufferRange(buffer, 1), 8)
        await session.submit(shift)
        await session.submit(shift)
        await session.submit(shift, Nop())
        await session.wait(2)
        assert await session.bytes(buffer, 4) == b"aab\0"


@check
async def gaps_and_the_future_are_refused(compute: Compute, model: Model) -> None:
    async with opened(compute) as session:
        with refused(InvalidArgument, "expected 1"):
            await session.submit(Nop(), first=2)
        with refused(InvalidArgument, "expected 1"):
            await session.submit(Nop(), first=0)
        await session.run(Nop())
        with refused(InvalidArgument, "fence 9", "future"):
            await session.wait(9)
        with refused(InvalidArgument, "future", "stream 7"):
            await session.submit(WaitFence(7, 1), first=2)
        with refused(InvalidArgument, "future"):
            await session.submit(WaitFence(0, 2), first=2)
        with refused(InvalidArgument, "signal"):
            await session.submit(Signal(0, 9), first=2)
        with refused(InvalidArgument, str(bounds.COMMANDS_PER_SUBMIT)):
            await session.submit(*[Nop()] * (bounds.COMMANDS_PER_SUBMIT + 1), first=2)
        await session.run(Nop(), first=2)


@check
async def a_failure_cancels_the_rest_of_its_submission(compute: Compute, model: Model) -> None:
    async with opened(compute) as session:
        buffer = await compute.allocate(session.context, 8)
        place = BufferRange(buffer)
        bad = Store(BufferRange(buffer, 5), b"12345678")
        done = await session.run(Store(place, b"before__"), bad, Store(place, b"after___"), Nop())
        assert done[0].error is None
        is_error(done[1].error, InvalidArgument, "8 bytes")
        is_error(done[2].error, Cancelled, "2")
        is_error(done[3].error, Cancelled, "2")
        assert await session.bytes(buffer, 8) == b"before__"
        (clean,) = await session.run(Store(place, b"after___"), first=5)
        assert clean.error is None
        assert await session.bytes(buffer, 8) == b"after___"


@check
async def completions_stay_until_acknowledged(compute: Compute, model: Model) -> None:
    async with opened(compute) as session:
        await session.submit(Nop(), Nop(), Nop())
        assert [c.fence for c in await session.wait(3)] == [1, 2, 3]
        assert [c.fence for c in await session.wait(3)] == [1, 2, 3]
        assert [c.fence for c in await session.wait(3, acknowledged=2)] == [3]
        assert [c.fence for c in await session.wait(3, acknowledged=3)] == []


@check
async def streams_wait_for_each_other(compute: Compute, model: Model) -> None:
    async with opened(compute) as session:
        program = (await session.load(model("affine"))).id
        source = await session.buffer(ones(2, 4).tobytes())
        middle = await compute.allocate(session.context, 24)
        x = {"x": Tensor(DType.FLOAT32, (2, 4), place=BufferRange(source))}
        work = Launch(program, x, (Result("y", BufferRange(middle)),))
        await session.submit(work, Signal(1, 2), stream=1)
        copy = Copy(BufferRange(middle), BufferRange(source), 24)
        done = await session.run(WaitFence(1, 2), copy, stream=2)
        assert [c.error for c in done] == [None, None]
        got = np.frombuffer(await session.bytes(source, 24), np.float32)
        np.testing.assert_allclose(got.reshape(2, 3), affine(ones(2, 4)), rtol=1e-6)


@check
async def streams_of_two_contexts_wait_for_each_other(compute: Compute, model: Model) -> None:
    async with opened(compute) as one, opened(compute) as two:
        program = (await one.load(model("affine"))).id
        source = await one.buffer(ones(2, 4).tobytes())
        x = {"x": Tensor(DType.FLOAT32, (2, 4), place=BufferRange(source))}
        # There and back: what each waits for was submitted before.
        await one.submit(*[Launch(program, x)] * 3, stream=1)
        await two.submit(WaitFence(1, 3, one.context), Nop(), stream=1)
        await one.submit(WaitFence(1, 2, two.context), Nop(), stream=2)
        await two.submit(WaitFence(2, 1, one.context), WaitFence(1, 1, two.context), stream=3)
        assert [c.error for c in await two.wait(2, 3)] == [None, None]
        assert [c.error for c in await one.wait(2, 2)] == [None, None]
        # By then all of them are reached.
        for session, stream, fence in ((one, 1, 3), (two, 1, 2), (one, 2, 2)):
            progress = await compute.wait(session.context, stream, fence, 0)
            assert progress.reached == fence


@check
async def a_wait_for_another_context_is_refused_by_name(compute: Compute, model: Model) -> None:
    absent = "ctx-00000000000000000000000000"
    async with opened(compute) as one, opened(compute) as two:
        await two.run(Nop(), stream=1)
        with refused(NotFound, absent):
            await one.submit(WaitFence(1, 1, absent))
        with refused(InvalidArgument, "future", "stream 1", "fence 2", two.context):
            await one.submit(WaitFence(1, 2, two.context))
        with refused(InvalidArgument, "future", "stream 2"):
            await one.submit(WaitFence(2, 1, two.context))
        # Numbers are each context's own: that stream is not this one's.
        with refused(InvalidArgument, "future"):
            await one.submit(WaitFence(1, 1))
        (done,) = await one.run(WaitFence(1, 1, two.context))
        assert done.error is None


@check
async def a_wait_ends_when_its_context_closes(compute: Compute, model: Model) -> None:
    async with opened(compute) as one:
        two = await compute.open_context()
        try:
            size = 16 << 20
            buffer = await compute.allocate(two, size)
            slow = [Fill(BufferRange(buffer), size, b"ab")] * bounds.COMMANDS_PER_SUBMIT
            await compute.submit(two, 1, 1, slow)
            await compute.submit(two, 2, 1, [Nop()])
            wait = WaitFence(1, len(slow), two)
            await one.submit(wait, Nop(), stream=1)
            await one.submit(WaitFence(2, 1, two), Nop(), stream=2)
            # One that has come to its wait, and one that stands behind it.
            await one.submit(wait, stream=1, first=3)
            assert [c.error for c in await one.wait(2, 2)] == [None, None]
        finally:
            await compute.close_context(two)
        failed, cancelled, behind = await one.wait(3, 1)
        is_error(failed.error, NotFound, two, "closed", f"fence {len(slow)}")
        is_error(cancelled.error, Cancelled, "1")
        is_error(behind.error, NotFound, two, "closed")
        (done,) = await one.run(Nop(), stream=1, first=4)
        assert done.error is None
        with refused(NotFound, two):
            await one.submit(WaitFence(2, 1, two), stream=2, first=3)


@check
async def a_stream_may_have_any_number(compute: Compute, model: Model) -> None:
    async with opened(compute) as session:
        for stream in (127, 128, 1000, 1 << 40, (1 << 64) - 1):
            done = await session.run(Nop(), Nop(), stream=stream)
            assert [(c.fence, c.error) for c in done] == [(1, None), (2, None)]


@check
async def memory_commands_do_what_they_say(compute: Compute, model: Model) -> None:
    async with opened(compute) as session:
        buffer = await session.buffer(b"0123456789")
        done = await session.run(
            Copy(BufferRange(buffer, 0), BufferRange(buffer, 3), 6),  # overlapping, as memmove
            Store(BufferRange(buffer, 0), b"ab"),
        )
        assert [c.error for c in done] == [None, None]
        assert await session.bytes(buffer, 10) == b"ab20123459"
        await session.run(Fill(BufferRange(buffer, 1), 8, b"xyzw"), first=3)
        assert await session.bytes(buffer, 10) == b"axyzwxyzw9"


@check
async def bad_memory_commands_fail(compute: Compute, model: Model) -> None:
    top = (1 << 64) - 1
    async with opened(compute) as session:
        buffer = await compute.allocate(session.context, 16)
        here = BufferRange(buffer)
        bad: list[tuple[Command, type[VaccelError]]] = [
            (Copy(here, BufferRange(buffer, 9), 8), InvalidArgument),
            (Copy(BufferRange(buffer, top), here, 2), InvalidArgument),
            (Copy(here, here, top), InvalidArgument),
            (Copy(BufferRange(99), here, 1), NotFound),
            (Fill(here, 17, b"x"), InvalidArgument),
            (Fill(here, 9, b"xy"), InvalidArgument),
            (Fill(here, 9, b"xyz"), InvalidArgument),
            (Fill(here, 8, b""), InvalidArgument),
            (Store(BufferRange(buffer, top), b"xy"), InvalidArgument),
            (Store(BufferRange(99), b"xy"), NotFound),
            (Launch(99, {}), NotFound),
        ]
        for fence, (command, kind) in enumerate(bad, 1):
            (done,) = await session.run(command, first=fence)
            is_error(done.error, kind)
        assert await session.bytes(buffer, 16) == bytes(16)
