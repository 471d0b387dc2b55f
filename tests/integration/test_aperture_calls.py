"""Calls of programs over a queue pair, and fences that are awaited."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import vaccel
from tests.conformance import models
from tests.integration.aperture_host import ApertureHost, host
from vaccel import bounds, loop
from vaccel.commands import Copy, Fill, Nop
from vaccel.errors import InvalidArgument, TimedOut, WrongState
from vaccel.loaded_model import Model


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ApertureHost]:
    async with host(tmp_path) as served:
        yield served


async def with_device(
    served: ApertureHost, work: Callable[[vaccel.Device], Any], **options: Any
) -> Any:
    def use() -> Any:
        with vaccel.open(address=served.address, path="aperture", **options) as device:
            return work(device)

    return await asyncio.to_thread(use)


def doubled() -> bytes:
    """y = x + x and n = x * x, of any length."""
    x, y, n = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xyn")
    nodes = [helper.make_node("Add", ["x", "x"], ["y"]), helper.make_node("Mul", ["x", "x"], ["n"])]
    graph = helper.make_graph(nodes, "doubled", [x], [y, n])
    opset = [helper.make_opsetid("", 21)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString())


def words() -> bytes:
    """Strings in, the same strings out."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.STRING, ["n"]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "words", [x], [y])
    opset = [helper.make_opsetid("", 21)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString())


async def test_tensors_of_all_sizes_come_and_go(served: ApertureHost) -> None:
    def work(device: vaccel.Device) -> None:
        model = device.load(doubled())
        # In the message; beside it; results past the first room; past what a message may hold.
        for count in (0, 3, 5_000, 200_000, 200_000, 1_000_000):
            x = np.random.default_rng(count).normal(size=count).astype(np.float32)
            outputs = model(x)
            assert np.array_equal(outputs["y"], x + x)
            assert np.array_equal(outputs["n"], x * x)
            assert outputs["y"].flags.writeable
            assert outputs.cost.device_ns > 0
        outputs["y"][:] = 0
        # More than the slab holds goes by buffers.
        x = np.ones(9 << 20, np.float32)
        assert np.array_equal(model(x)["y"], x + x)

    await with_device(served, work)
    assert served.executor.usage().buffers == 0


async def test_a_call_needs_no_event_loop(
    served: ApertureHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(device: vaccel.Device) -> None:
        model = device.load(doubled())
        model(np.ones(70_000, np.float32))
        with monkeypatch.context() as patch:
            patch.setattr(loop, "run", None)
            assert model(np.ones(70_000, np.float32))["n"].sum() == 70_000

    await with_device(served, work)


async def test_strings_travel_in_the_message(served: ApertureHost) -> None:
    def work(device: vaccel.Device) -> list[str]:
        return list(device.load(words())(np.array(["a", "", "후"], object))["y"])

    assert await with_device(served, work) == ["a", "", "후"]


async def test_many_strings_find_another_way(served: ApertureHost) -> None:
    def work(device: vaccel.Device) -> int:
        many = np.array(["x" * 100] * 2000, object)
        return int(device.load(words())(many)["y"].size)

    assert await with_device(served, work) == 2000


async def test_a_failed_call_raises_and_the_next_one_works(served: ApertureHost) -> None:
    def work(device: vaccel.Device) -> None:
        gather = device.load(models.build("gather"))
        for bad in (10_000, -10_000):
            with pytest.raises(InvalidArgument, match="Gather"):
                gather(np.array([0, bad], np.int64))
        gather(np.array([0, 1], np.int64))

    await with_device(served, work)


async def test_threads_call_at_once(served: ApertureHost) -> None:
    def work(device: vaccel.Device) -> None:
        model = device.load(doubled())
        wrong: list[int] = []

        def call(seed: int) -> None:
            x = np.random.default_rng(seed).normal(size=3000 * (seed + 1)).astype(np.float32)
            for _ in range(20):
                if not np.array_equal(model(x)["y"], x + x):
                    wrong.append(seed)

        threads = [threading.Thread(target=call, args=(seed,)) for seed in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong

    await with_device(served, work)


async def test_a_call_that_is_given_up_keeps_its_piece_until_the_worker_is_done(
    served: ApertureHost,
) -> None:
    def work(device: vaccel.Device) -> None:
        model = device.load(doubled())
        x = np.ones(1 << 20, np.float32)
        model(x)
        queue = device._queue
        assert queue is not None
        freed: list[int] = []
        give_back, queue.free = queue.free, freed.append  # type: ignore[method-assign]

        def is_given_up() -> bool:
            try:
                model(x, timeout=0.0)
            except TimedOut:
                return True
            # The worker was done before anybody looked: once more.
            while freed:
                give_back(freed.pop())
            return False

        assert any(is_given_up() for _ in range(1000))
        assert not freed
        # Completions come in order: with the next call's, that of the one that was given up.
        assert np.array_equal(model(x)["y"], x + x)
        # Of each call, what it took itself and the room for its result.
        assert len(freed) == len(set(freed)) == 4
        queue.free = give_back  # type: ignore[method-assign]
        for place in freed:
            queue.free(place)

    await with_device(served, work)


async def test_fences_are_awaited_together(served: ApertureHost) -> None:
    def opened() -> vaccel.Device:
        return vaccel.open(address=served.address, path="aperture")

    device = await asyncio.to_thread(opened)
    try:
        model = await asyncio.to_thread(device.load, doubled())
        streams = [device.stream() for _ in range(3)]
        buffer = await asyncio.to_thread(device.buffer, 64)
        nops = [streams[0].submit(Nop()) for _ in range(100)]
        launches = [
            await asyncio.to_thread(streams[1].launch, model, np.full(2, n, np.float32))
            for n in range(4)
        ]
        bad = await asyncio.to_thread(streams[2].submit, Copy(buffer.at(0), buffer.at(8), 64))
        good = await asyncio.to_thread(streams[2].submit, Fill(buffer.at(), 16, b"ab"))

        async def wait(fence: vaccel.Fence) -> Any:
            return await fence

        done = await asyncio.gather(*map(wait, (*nops, *launches)))
        assert [one.fence for one in done] == [*range(1, 101), *range(1, 5)]
        assert all(one.cost is not None for one in done[100:])
        with pytest.raises(InvalidArgument, match="outside buffer"):
            await bad
        await good
        assert all(fence.done for fence in (*nops, *launches, good))
    finally:
        await asyncio.to_thread(device.close)


async def test_fences_are_awaited_over_grpc_too(served: ApertureHost) -> None:
    def opened() -> vaccel.Device:
        return vaccel.open(address=served.address, path="grpc")

    device = await asyncio.to_thread(opened)
    stream = device.stream()
    fence = await asyncio.to_thread(stream.submit, Nop(), Nop())
    async with asyncio.timeout(bounds.DATA_SECONDS):
        assert (await fence).fence == 2
    await asyncio.to_thread(device.close)


async def test_staging_arrays_are_shared_by_the_usual_protocols(served: ApertureHost) -> None:
    def work(device: vaccel.Device) -> None:
        staged = device.staging((4, 8))
        pointer = staged.__array_interface__["data"][0]
        assert np.from_dlpack(staged).__array_interface__["data"][0] == pointer
        np.from_dlpack(staged)[:] = 3
        assert (staged == 3).all()

    await with_device(served, work)


async def test_a_call_places_outputs_by_one_descriptor(
    served: ApertureHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(device: vaccel.Device) -> None:
        model, x = device.load(doubled()), np.ones(70_000, np.float32)
        state = device.buffer(x)
        kept = state.tensor("float32", (70_000,))
        model(kept, out={"y": state})
        with monkeypatch.context() as patch:
            patch.setattr(loop, "run", None)
            outputs = model(kept, out={"y": state})
        assert outputs["y"] == kept and (outputs["n"] == 4).all()
        assert (state.read("float32", (70_000,)) == 4).all()

    await with_device(served, work)


def many_outputs() -> bytes:
    """s' = s + s, and sixty of -x, more than a reply in a slab holds."""
    s, x = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "sx")
    nodes = [helper.make_node("Add", ["s", "s"], ["t"])]
    nodes += [helper.make_node("Neg", ["x"], [f"x{i}"]) for i in range(60)]
    ends = ["t", *(f"x{i}" for i in range(60))]
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in ends]
    graph = helper.make_graph(nodes, "many", [s, x], given)
    opset = [helper.make_opsetid("", 21)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString())


async def test_a_state_takes_one_step_however_much_comes_back(served: ApertureHost) -> None:
    def work(device: vaccel.Device) -> None:
        model, x = device.load(many_outputs()), np.ones(1000, np.float32)
        state = device.buffer(x)
        outputs = model(state.tensor("float32", (1000,)), x, out={"t": state})
        assert (outputs["x59"] == -1).all()
        assert (state.read("float32", (1000,)) == 2).all()

    await with_device(served, work)


async def test_calls_under_way_hear_that_their_device_was_closed(served: ApertureHost) -> None:
    def work() -> None:
        for count in (8, 200_000):
            device = vaccel.open(address=served.address, path="aperture")
            model, x = device.load(doubled()), np.ones(count, np.float32)
            model(x)
            under_way = threading.Barrier(4)
            ends: list[Any] = []

            def use(
                run: Callable[[], Any],
                barrier: threading.Barrier = under_way,
                ends: list[Any] = ends,
            ) -> None:
                run()
                barrier.wait(10)
                with pytest.raises(WrongState, match="closed") as end:
                    while True:
                        run()
                ends.append(end)

            stream, buffer, array = device.stream(), device.buffer(64), device.staging(64, "uint8")
            runs: list[Callable[[], Any]] = [
                lambda m=model, x=x: m(x),  # type: ignore[misc]
                lambda s=stream: s.submit(Nop()).wait(10),  # type: ignore[misc]
                lambda b=buffer, a=array: b.write(a),  # type: ignore[misc]
            ]
            threads = [threading.Thread(target=use, args=(run,)) for run in runs]
            for thread in threads:
                thread.start()
            under_way.wait(10)
            device.close()
            for thread in threads:
                thread.join(20)
            assert len(ends) == len(threads)

    await asyncio.to_thread(work)


async def test_outputs_have_the_cost_of_their_own_call(
    served: ApertureHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(device: vaccel.Device) -> None:
        model, in_order = device.load(doubled()), Model._in_order
        short, long = np.ones(8, np.float32), np.ones(80_000, np.float32)
        costs = [model(x).cost.cycles for x in (short, long)]

        def beside(self: Model, results: Any) -> Any:
            monkeypatch.undo()
            model(long)  # as another thread may
            return in_order(self, results)

        monkeypatch.setattr(Model, "_in_order", beside)
        assert model(short).cost.cycles == costs[0] != costs[1]

    await with_device(served, work)
