"""The blocking SDK over shared memory: the VF is in the loop of the test, the SDK in its own."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vaccel
from tests.conformance import models
from tests.integration.aperture_host import OWNER, ApertureHost, host
from tests.unit.vaccel.aperture.strange_lender import strange_lender
from vaccel.aperture import layout
from vaccel.commands import Copy, Fill, Nop, Result
from vaccel.errors import (
    Detached,
    Exhausted,
    InvalidArgument,
    NotFound,
    Unsupported,
    VaccelError,
    WrongState,
)
from vaccel.fastpath.stream import FastStream
from vaccel.model import Limits


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ApertureHost]:
    async with host(tmp_path) as served:
        yield served


async def with_device(
    served: ApertureHost, work: Callable[[vaccel.Device], Any], **options: Any
) -> Any:
    def use() -> Any:
        with vaccel.open(address=served.address, **options) as device:
            return work(device)

    return await asyncio.to_thread(use)


async def test_auto_takes_the_best_path_and_says_so(served: ApertureHost) -> None:
    assert await with_device(served, lambda d: d.path) == "aperture"
    assert await with_device(served, lambda d: d.path, path="grpc") == "grpc"
    assert "over aperture" in await with_device(served, repr)


async def test_the_limits_of_the_fast_path_are_told(served: ApertureHost) -> None:
    def work(device: vaccel.Device) -> tuple[Limits, int]:
        return device.info.limits, device.staging_bytes

    limits, mine = await with_device(served, work)
    assert (limits.queue_pairs, limits.slab_bytes) == (served.queues.free_pairs, mine)
    assert limits.slabs_bytes == served.window.size - layout.slabs_offset(served.window.size)
    assert (limits.descriptors, limits.recordings) == (256, 64)
    assert (limits.inline_bytes, limits.chunk_bytes, limits.commands) == (2 << 20, 1 << 20, 1024)
    _, asked = await with_device(served, work, staging_bytes=limits.slabs_bytes)
    assert asked == limits.slabs_bytes
    assert await with_device(served, work, path="grpc") == (limits, 0)


async def test_without_a_lender_it_falls_back_or_says_why(served: ApertureHost) -> None:
    await served.lender.__aexit__()
    assert await with_device(served, lambda d: d.path) == "grpc"
    with pytest.raises(VaccelError, match="nobody lends a window"):
        await with_device(served, lambda d: d.path, path="aperture")
    assert served.executor.contexts == []


async def test_a_lender_of_another_layout_is_as_none(served: ApertureHost) -> None:
    await served.lender.__aexit__()
    path = Path(f"{served.address.removeprefix('unix:')}.window")
    with strange_lender(path, layout_version=7):
        assert await with_device(served, lambda d: d.path) == "grpc"
        with pytest.raises(Unsupported, match="layout_version 7"):
            await with_device(served, lambda d: d.path, path="aperture")
    assert served.executor.contexts == []


async def test_null_commands_alone_and_in_batches(served: ApertureHost) -> None:
    def work(device: vaccel.Device) -> list[int]:
        stream = device.stream()
        fences = [stream.submit(Nop()) for _ in range(300)]
        fences.append(stream.submit(*[Nop()] * 1000))
        for fence in fences:
            assert fence.wait().fence == fence.value
        assert all(fence.done for fence in fences)
        return [fence.value for fence in fences]

    assert await with_device(served, work) == [*range(1, 301), 1300]


async def test_launches_of_a_stream_bring_results_and_costs(served: ApertureHost) -> None:
    model = models.build("affine")

    def work(device: vaccel.Device) -> None:
        program = device.load(model)
        stream = device.stream()
        x = np.ones((2, 4), np.float32)
        fences = [stream.launch(program, x * n) for n in range(3)]
        stream.submit(Nop()).wait()
        done = fences[2].wait()
        (value,) = done.results.values()
        np.testing.assert_allclose(
            np.frombuffer(value.data, np.float32).reshape(value.shape),
            next(iter(program(x * 2).values())),
        )
        assert done.cost is not None
        fences[0].wait()

    await with_device(served, work)


async def test_a_failed_command_raises_where_it_is_waited_for(served: ApertureHost) -> None:
    def work(device: vaccel.Device) -> None:
        stream, buffer = device.stream(), device.buffer(16)
        bad = stream.submit(Copy(buffer.at(0), buffer.at(8), 64))
        good = stream.submit(Fill(buffer.at(), 16, b"ab"))
        with pytest.raises(InvalidArgument, match="outside buffer"):
            bad.wait()
        good.wait()
        assert bytes(buffer.read("uint8", (4,))) == b"abab"

    await with_device(served, work)


async def test_staging_arrays_go_to_the_device_and_back(served: ApertureHost) -> None:
    def work(device: vaccel.Device) -> None:
        for size in (1, 1000, 3 << 20):
            source = np.random.default_rng(size).integers(0, 256, size, np.uint8)
            staged = device.staging(size, "uint8")
            np.copyto(staged, source)
            buffer = device.buffer(size)
            buffer.write(staged)
            assert np.array_equal(buffer.read("uint8", (size,)), source)
            back = device.staging((size,), "uint8")
            assert buffer.read_into(back) is back
            assert np.array_equal(back, source)
            plain = np.zeros(size, np.uint8)
            assert np.array_equal(buffer.read_into(plain), source)
        held = [device.staging(1 << 20, "uint8") for _ in range(20)]
        with pytest.raises(Exhausted, match="largest free block"):
            device.staging(1 << 26, "uint8")
        del held, staged, back
        gc.collect()
        assert device.staging(30 << 20, "uint8").nbytes == 30 << 20

    await with_device(served, work)


@pytest.mark.parametrize("recalled", [False, True])
async def test_a_staging_array_outlives_its_device(served: ApertureHost, recalled: bool) -> None:
    loop = asyncio.get_running_loop()

    def work() -> None:
        device = vaccel.open(address=served.address, path="aperture")
        arrays = [device.staging(shape, "int32") for shape in ((1 << 16,), (2, 0), ())]
        arrays[0][:] = 3
        if recalled:
            recall = served.lender.recall(OWNER, Detached("VF was taken away"))
            asyncio.run_coroutine_threadsafe(recall, loop).result(10)
        device.close()
        gc.collect()
        arrays[0][:] = 5
        assert arrays[0].sum() == 5 << 16
        arrays[2][...] = 1

    await asyncio.to_thread(work)


async def test_large_staging_arrays_begin_half_a_page_from_those_of_numpy(
    served: ApertureHost,
) -> None:
    def work(device: vaccel.Device) -> None:
        queue = device._queue
        assert queue is not None
        page = 4096
        for size in (128 << 10, 3 << 20):
            large = device.staging(size, "uint8")
            # glibc maps it apart whatever it has learnt: M_MMAP_THRESHOLD ends at 32 MiB.
            other = np.empty(64 << 20, "uint8")
            assert (large.ctypes.data - other.ctypes.data) % page == page // 2
            assert large.ctypes.data % 64 == other.ctypes.data % 64
            large[:] = 3
            buffer = device.buffer(size)
            buffer.write(large)
            assert (buffer.read("uint8", (size,)) == 3).all()
        # One that fills the slab has no room to begin anywhere else.
        del large
        gc.collect()
        whole = device.staging(queue.lease.slab_bytes, "uint8")
        whole[:] = 4

    await with_device(served, work, staging_bytes=8 << 20)


async def test_a_recording_is_replayed(served: ApertureHost) -> None:
    def work(device: vaccel.Device) -> None:
        stream, buffer = device.stream(), device.buffer(np.arange(8, dtype=np.uint8))
        shift = stream.record(Copy(buffer.at(0), buffer.at(1), 7), Nop())
        assert len(shift) == 2
        for _ in range(3):
            last = shift.replay()
        assert last.wait().fence == 6
        assert buffer.read("uint8", (8,)).tolist() == [0, 0, 0, 0, 1, 2, 3, 4]
        shift.forget()
        with pytest.raises(WrongState, match="forgotten"):
            shift.replay()
        # Whoever makes the number up is refused by the worker, and told.
        assert isinstance(stream, FastStream)
        with pytest.raises(NotFound, match="recording 77 does not exist"):
            stream.fence(stream._fast.replay(77, 5)).wait()

    await with_device(served, work)


async def test_a_recording_wants_places_for_results(served: ApertureHost) -> None:
    model = models.build("affine")

    def work(device: vaccel.Device) -> None:
        program, stream = device.load(model), device.stream()
        x, y = device.buffer(np.ones((2, 4), np.float32)), device.buffer(64)
        (name,), (out,) = ([p.name for p in program.inputs], [p.name for p in program.outputs])
        arguments = {name: x.tensor("float32", (2, 4))}
        from vaccel.commands import Launch

        with pytest.raises(InvalidArgument, match="without a place"):
            stream.record(Launch(program.id, arguments))
        stream.record(Launch(program.id, arguments, (Result(out, y.at()),))).replay().wait()
        expected = next(iter(program(np.ones((2, 4), np.float32)).values()))
        np.testing.assert_allclose(y.read("float32", expected.shape), expected)

    await with_device(served, work)
    with pytest.raises(Unsupported, match="over grpc"):
        await with_device(served, lambda d: d.stream().record(Nop()), path="grpc")


async def test_a_recall_leaves_arrays_valid_and_ends_commands(served: ApertureHost) -> None:
    loop = asyncio.get_running_loop()

    def work(device: vaccel.Device) -> None:
        stream, staged = device.stream(), device.staging(4096, "uint8")
        place = served.queues  # what the worker sees of it
        staged[:] = 1
        recall = served.lender.recall(OWNER, Detached("VF was taken away"))
        asyncio.run_coroutine_threadsafe(recall, loop).result(10)
        with pytest.raises(Detached, match="taken away"):
            while True:
                stream.submit(Nop()).wait(10)
        staged[:] = 7
        assert staged.sum() == 7 * 4096
        assert not (np.frombuffer(served.window.bytes[1 << 23 : 1 << 24], np.uint8) == 7).any()
        assert device.path == "grpc"
        assert len(place) == 1
        # Calls go on over gRPC, which knows what became of the device.
        assert device.buffer(np.arange(4, dtype=np.uint8)).read("uint8", (4,)).tolist() == [
            0,
            1,
            2,
            3,
        ]

    await with_device(served, work)


async def test_what_an_app_held_comes_back_when_it_goes(served: ApertureHost) -> None:
    free = served.queues.free_pairs
    for _ in range(3):
        await with_device(served, lambda d: d.stream().submit(Nop()).wait())
    async with asyncio.timeout(10):
        while True:
            if served.queues.free_pairs == free:
                break
            await asyncio.sleep(0)
    assert served.executor.usage().queues == 0
