"""The executor where the suite over the port cannot look: timing, closing, bounds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, helper
from onnx.numpy_helper import from_array

from host_daemon.worker.executor import Executor
from tests.conformance import models
from tests.conformance.compute import Session, opened, tensor
from tests.conformance.models import BOOL, F32, I64, graph, model, value
from tests.unit.host_daemon.worker.conftest import make_vf
from vaccel import bounds
from vaccel.commands import Launch, Nop, Result
from vaccel.errors import (
    Cancelled,
    DeviceLost,
    Exhausted,
    InvalidArgument,
    NotFound,
    TimedOut,
)
from vaccel.model import BufferRange, DType, Tensor


def endless() -> ModelProto:
    """Turns a loop as often as it is told, which may be for hours."""
    body = graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Add", ["state", "x"], ["next"]),
        ],
        [value("turn", I64, []), value("go", BOOL, []), value("state", F32, None)],
        [value("on", BOOL, []), value("next", F32, None)],
    )
    node = helper.make_node("Loop", ["trips", "", "x"], ["y"], body=body)
    inputs = [value("x", F32, ["n"]), value("trips", I64, [])]
    return model(graph([node], inputs, [value("y", F32, ["n"])]))


async def start_endless(session: Session) -> int:
    """Launch it on a buffer; the buffer's number."""
    program = await session.load(endless().SerializeToString())
    buffer = await session.buffer(np.ones(4, np.float32).tobytes())
    x = Tensor(DType.FLOAT32, (4,), place=BufferRange(buffer))
    await session.submit(Launch(program.id, {"x": x, "trips": tensor(np.array(1 << 50))}))
    with pytest.raises(TimedOut):
        await session.compute.wait(session.context, 0, 1, 0.02)
    return buffer


async def test_calls_are_answered_during_a_launch(executor: Executor) -> None:
    async with opened(executor) as session:
        buffer = await start_endless(session)
        assert (await executor.devices())[0].memory_free_bytes > 0
        assert len(await session.bytes(buffer, 16)) == 16


async def test_a_write_waits_for_the_launch_that_reads(executor: Executor) -> None:
    async with opened(executor) as session:
        buffer = await start_endless(session)
        free = await session.buffer(bytes(16))
        writing = asyncio.create_task(executor.write(session.context, buffer, 0, bytes(16)))
        # One that was asked later, and has nothing to wait for, is done.
        await asyncio.create_task(executor.write(session.context, free, 0, bytes(16)))
        assert not writing.done()
        await executor.close_context(session.context)
        async with asyncio.timeout(10):
            await writing


async def test_closing_stops_a_launch_and_frees_all(executor: Executor) -> None:
    async with opened(executor) as session:
        await start_endless(session)
        waiting = asyncio.create_task(executor.wait(session.context, 0, 1, 60))
        await asyncio.sleep(0)
        await executor.close_context(session.context)
        with pytest.raises(NotFound, match="closed"):
            await waiting
    async with opened(executor) as session:
        (done,) = await session.run(Nop())
        assert done.error is None
    assert executor.usage().memory_bytes == 0


async def test_a_new_epoch_ends_everything(executor: Executor) -> None:
    async with opened(executor) as session:
        await start_endless(session)
        waiting = asyncio.create_task(executor.wait(session.context, 0, 1, 60))
        await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await executor.begin_epoch(9)
        with pytest.raises(DeviceLost, match="epoch 9"):
            await waiting
        assert executor.contexts == []
        assert (await executor.devices())[0].epoch == 9
        assert executor.usage().memory_bytes == 0


async def test_a_cancelled_estimate_lets_go(executor: Executor) -> None:
    async with opened(executor) as session:
        program = await session.load(endless().SerializeToString())
        given = {"x": Tensor(DType.FLOAT32, (4,)), "trips": tensor(np.array(1 << 50))}
        task = asyncio.create_task(executor.estimate(session.context, program.id, given))
        await asyncio.sleep(0)
        # It holds the one thread of kernels: a launch that would take microseconds does not end.
        quick = {"x": tensor(np.ones(4, np.float32)), "trips": tensor(np.array(1))}
        await session.submit(Launch(program.id, quick))
        with pytest.raises(TimedOut):
            await executor.wait(session.context, 0, 1, 0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(10):
            (done,) = await session.run(Nop())
            other = await session.load(models.build("affine"))
        assert done.error is None and other.nodes == 2


async def test_estimates_and_launches_take_one_size_for_a_symbol(executor: Executor) -> None:
    node = helper.make_node("Add", ["a", "b"], ["y"])
    shapes = {"a": ["n", 2], "b": ["n", 2], "y": ["n", 2]}
    values = [helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items()]
    made = models.model(models.graph([node], values[:2], values[2:]))
    async with opened(executor) as session:
        program = await session.load(made.SerializeToString())
        given = {"a": Tensor(DType.FLOAT32, (3, 2)), "b": Tensor(DType.FLOAT32, (4, 2))}
        with pytest.raises(InvalidArgument, match="axis 0 is 4, but n is 3 in input 'a'"):
            await executor.estimate(session.context, program.id, given)
        arrays = {name: tensor(np.ones(each.shape, np.float32)) for name, each in given.items()}
        (done,) = await session.run(Launch(program.id, arrays))
        assert isinstance(done.error, InvalidArgument)
        assert "axis 0 is 4, but n is 3 in input 'a'" in done.error.message


async def test_streams_take_turns(executor: Executor) -> None:
    count = 500
    async with opened(executor) as session:
        program = await session.load(endless().SerializeToString())
        given = {"x": tensor(np.ones(4, np.float32)), "trips": tensor(np.array(2_000))}
        await session.submit(Launch(program.id, given))  # all queue up behind it
        for stream in (1, 2, 3):
            await session.submit(*[Nop()] * count, stream=stream)
        assert (await executor.wait(session.context, 1, 1, 60)).reached < count
        await session.wait(count, stream=1)
        for stream in (2, 3):
            progress = await executor.wait(session.context, stream, 1, 60)
            assert progress.reached >= count - 1


async def test_guest_bytes_make_no_strange_bools(executor: Executor) -> None:
    node = helper.make_node("Cast", ["flag"], ["y"], to=I64)
    made = model(graph([node], [value("flag", BOOL, ["n"])], [value("y", I64, ["n"])]))
    async with opened(executor) as session:
        program = await session.load(made.SerializeToString())
        raw = Tensor(DType.BOOL, (4,), data=bytes([0, 1, 2, 255]))
        done = await session.launch(program.id, {"flag": raw})
        result = done.results["y"]
        assert isinstance(result, Tensor) and result.data is not None
        assert np.frombuffer(result.data, np.int64).tolist() == [0, 1, 1, 1]


async def test_weights_and_results_need_room(tmp_path: Path) -> None:
    big = from_array(np.ones(100_000, np.float32), "w")
    node = helper.make_node("Add", ["x", "w"], ["y"])
    made = model(
        graph([node], [value("x", F32, [1])], [value("y", F32, [100_000])], [big])
    ).SerializeToString()
    async with Executor(make_vf(tmp_path, len(made) + 300_000)) as small:
        async with opened(small) as session:
            with pytest.raises(Exhausted, match="weights"):
                await session.load(made)
            assert small.usage().memory_bytes == len(made)
        async with opened(small) as session:
            with pytest.raises(Exhausted, match=r"'spread' .* more than the VF's"):
                await session.load(models.build("large"))
            program = await session.load(models.build("affine"))
            x = {"x": tensor(np.ones((30_000, 4), np.float32))}
            (done,) = await session.run(Launch(program.id, x))
            assert isinstance(done.error, Exhausted)
            assert "'product'" in str(done.error)


async def test_an_output_asked_for_twice(executor: Executor) -> None:
    async with opened(executor) as session:
        program = await session.load(models.build("affine"))
        x = {"x": tensor(np.ones((1, 4), np.float32))}
        (done,) = await session.run(Launch(program.id, x, (Result("y"), Result("y"))))
        assert isinstance(done.error, InvalidArgument)


async def test_contexts_streams_and_programs_are_bounded(
    executor: Executor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "CONTEXTS_PER_VF", 2)
    monkeypatch.setattr(bounds, "STREAMS_PER_CONTEXT", 2)
    monkeypatch.setattr(bounds, "PROGRAMS_PER_CONTEXT", 1)
    async with opened(executor) as session, opened(executor):
        with pytest.raises(Exhausted, match="2 contexts"):
            await executor.open_context()
        await session.submit(Nop(), stream=1)
        await session.submit(Nop(), stream=2)
        with pytest.raises(Exhausted, match="2 streams"):
            await session.submit(Nop(), stream=3)
        await session.load(models.build("affine"))
        with pytest.raises(Exhausted, match="1 programs"):
            await session.load(models.build("affine"))


async def test_ids_are_unique_and_injected(executor: Executor) -> None:
    one, other = await executor.open_context(), await executor.open_context()
    assert one != other
    assert one.startswith("ctx-01hf7yat00")
    await executor.close_context(one)
    await executor.close_context(other)


async def test_leaving_ends_those_who_wait(tmp_path: Path) -> None:
    async with Executor(make_vf(tmp_path)) as made:
        session = Session(made, await made.open_context())
        await start_endless(session)
        waiting = asyncio.create_task(made.wait(session.context, 0, 1, 60))
        await asyncio.sleep(0)
    with pytest.raises((NotFound, Cancelled)):
        await waiting
