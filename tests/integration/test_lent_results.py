"""Large results stay in the slab as long as somebody holds them, and are memory ever after."""

from __future__ import annotations

import asyncio
import gc
import pickle
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import vaccel
from tests.integration.aperture_host import OWNER, ApertureHost, host
from tests.integration.test_aperture_calls import doubled, with_device
from vaccel.commands import Nop
from vaccel.errors import Detached, InvalidArgument

Floats = NDArray[np.float32]
# Two results of this length take a fifth of the slab, so that calls may lend four of them.
COUNT = 800_000


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[ApertureHost]:
    async with host(tmp_path) as served:
        yield served


def numbers(seed: int, count: int = COUNT) -> Floats:
    return np.random.default_rng(seed).normal(size=count).astype(np.float32)


def lies_in_window(device: vaccel.Device, array: Floats) -> bool:
    queue = device._queue
    assert queue is not None
    return np.may_share_memory(array, np.frombuffer(queue.window.bytes, np.uint8))


async def test_results_that_are_held_stay_what_they_are(served: ApertureHost) -> None:
    def work(device: vaccel.Device) -> None:
        model = device.load(doubled())
        held = [(x, model(x)) for x in map(numbers, range(7))]
        lent = [lies_in_window(device, outputs["y"]) for _, outputs in held]
        # The first call did not know what room it needs; half of the slab is for others.
        assert lent == [False, True, True, False, False, False, False]
        for x, outputs in held:
            assert np.array_equal(outputs["y"], x + x)
            assert np.array_equal(outputs["n"], x * x)
            assert outputs["n"].flags.writeable
        # One of two outputs keeps the room of both.
        kept = held[1][1]["n"]
        x = held[1][0]
        del held, outputs
        gc.collect()
        assert lies_in_window(device, model(x)["y"])
        assert np.array_equal(kept, x * x)

    await with_device(served, work)


async def test_a_loop_over_calls_needs_no_more_than_two_rooms(served: ApertureHost) -> None:
    def work(device: vaccel.Device) -> None:
        model, queue = device.load(doubled()), device._queue
        assert queue is not None
        outputs = model(numbers(0))
        for seed in range(20):
            x = numbers(seed)
            outputs = model(x)
            assert lies_in_window(device, outputs["y"])
            assert np.array_equal(outputs["y"], x + x)
        assert sum(size for _, size in queue._pieces.held) < 5 * 2 * x.nbytes

    await with_device(served, work)


@pytest.mark.parametrize("how", ["recalled", "closed"])
async def test_results_outlive_their_window(served: ApertureHost, how: str) -> None:
    loop = asyncio.get_running_loop()

    def work(device: vaccel.Device) -> tuple[Floats, vaccel.Outputs]:
        model, x = device.load(doubled()), numbers(3)
        model(x)
        outputs = model(x)
        assert lies_in_window(device, outputs["y"])
        if how == "recalled":
            stream = device.stream()  # of the window: it hears of its end
            recall = served.lender.recall(OWNER, Detached("VF was taken away"))
            asyncio.run_coroutine_threadsafe(recall, loop).result(10)
            with pytest.raises(Detached, match="taken away"):
                while True:  # the app hears of it in its own time
                    stream.submit(Nop()).wait(10)
            assert np.array_equal(outputs["y"], x + x)
            outputs["y"][:8] = -12345.5
            assert not (np.frombuffer(served.window.bytes, np.float32) == -12345.5).any()
            outputs["y"][:8] = (x + x)[:8]
        return x, outputs

    x, outputs = await with_device(served, work)
    served.window.bytes[1 << 23 :] = b"\xaa" * (len(served.window.bytes) - (1 << 23))
    assert np.array_equal(outputs["y"], x + x)
    again = pickle.loads(pickle.dumps(outputs))
    assert np.array_equal(again["n"], x * x)
    assert again.cost == outputs.cost
    assert outputs.cost.device_ns > 0


async def test_what_was_bound_once_is_bound_again_where_it_differs(served: ApertureHost) -> None:
    def work(device: vaccel.Device) -> None:
        model = device.load(doubled())
        x = numbers(5, 64)
        variants = [
            x,
            x.astype(">f4"),
            x[::-1],
            np.asfortranarray(x),
            x.view(np.ndarray)[:32],
            memoryview(x),
            x.tolist(),
            np.float32(2).reshape(1),
        ]
        for _ in range(3):
            for each in variants:
                plain = np.asarray(each, np.float32)
                for outputs in (model(each), model(x=each), model({"x": each})):
                    assert list(outputs) == ["y", "n"]
                    assert np.array_equal(outputs["y"], plain + plain)
            for wrong in (x.astype(np.float64), x.reshape(8, 8), x.astype(np.int32)):
                with pytest.raises(InvalidArgument, match="expected x: float32"):
                    model(wrong)
            with pytest.raises(InvalidArgument, match="no input is called 'z'"):
                model(z=x)
            with pytest.raises(InvalidArgument, match="2 inputs given"):
                model(x, x)

    await with_device(served, work)


async def test_results_are_what_they_were_where_the_slab_is_another_one(
    served: ApertureHost,
) -> None:
    device = await asyncio.to_thread(opened, served, 24 << 20)
    below = await asyncio.to_thread(opened, served, 4 << 20)
    model = await asyncio.to_thread(device.load, doubled())
    x = numbers(3)
    await asyncio.to_thread(model, x)
    outputs = await asyncio.to_thread(model, x)
    assert lies_in_window(device, outputs["y"])
    old = device._queue
    assert old is not None
    await asyncio.to_thread(below.close)
    # Both were away for long after a reset, and another app has had the first pieces meanwhile.
    await served.executor.begin_epoch(2)
    assert old.reap()
    for context in list(served.queues._left):
        served.queues._give_up(context)
    other = await asyncio.to_thread(opened, served, 8 << 20)

    def work() -> None:
        for seed in range(12):  # all over the new slab, a part of which was in the old one
            assert np.array_equal(model(numbers(seed))["y"], 2 * numbers(seed))
        assert device._queue is not None and not device._queue.has_slab(old.lease)
        assert np.array_equal(outputs["y"], x + x)
        for one in (device, other):
            one.close()
        assert np.array_equal(outputs["y"], x + x)

    await asyncio.to_thread(work)


def opened(served: ApertureHost, staging_bytes: int) -> vaccel.Device:
    return vaccel.open(address=served.address, path="aperture", staging_bytes=staging_bytes)
