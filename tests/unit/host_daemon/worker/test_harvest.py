"""What a launch gave: copied, or lent to who only reads it."""

from __future__ import annotations

import numpy as np

from host_daemon.worker.harvest import harvest
from host_daemon.worker.launch import Bound
from host_daemon.worker.memory import Buffers, DeviceMemory
from vaccel import bounds
from vaccel.commands import Result
from vaccel.model import Items, Tensor

SMALL, LARGE = 1 << 10, bounds.INLINE_BYTES + 64


def bound(buffers: Buffers, *names: str) -> Bound:
    each = buffers.allocate(LARGE)
    return Bound({}, tuple(Result(name) for name in names), {each.number: each})


def buffers() -> Buffers:
    return Buffers(DeviceMemory(1 << 30))


def test_results_that_stay_are_copies() -> None:
    given = {"small": np.zeros(SMALL, np.uint8), "large": np.zeros(LARGE, np.uint8)}
    found = harvest(bound(buffers(), *given), given)
    for array in given.values():
        array[:] = 7
    small = found.values["small"]
    assert isinstance(small, Tensor)
    assert small.data == bytes(SMALL)
    assert not found.fresh[0].any()


def test_lent_results_are_the_kernels_own_memory() -> None:
    given = {"small": np.zeros(SMALL, np.uint8), "large": np.zeros(LARGE, np.uint8)}
    found = harvest(bound(buffers(), *given), given, lent=True)
    small = found.values["small"]
    assert isinstance(small, Tensor)
    assert np.shares_memory(np.frombuffer(small.data or b"", np.uint8), given["small"])
    assert np.shares_memory(found.fresh[0], given["large"])


def test_device_memory_and_what_a_list_holds_are_never_lent() -> None:
    where = bound(buffers(), "own", "many")
    (buffer,) = where.buffers.values()
    many = [np.zeros(LARGE, np.uint8)]
    found = harvest(where, {"own": buffer.array, "many": many}, lent=True)
    assert isinstance(found.values["many"], Items)
    for raw, array in zip(found.fresh, (buffer.array, *many), strict=True):
        assert not np.shares_memory(raw, array)
