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
    for name, array in given.items():
        value = found.values[name]
        assert isinstance(value, Tensor)
        assert np.shares_memory(np.frombuffer(value.data or b"", np.uint8), array)
    # Of any size, and counted: a buffer around them could be written to.
    assert not found.fresh
    assert found.own_bytes == SMALL + LARGE


def test_device_memory_and_what_a_list_holds_are_never_lent() -> None:
    where = bound(buffers(), "own", "many", "behind")
    (buffer,) = where.buffers.values()
    many = [np.zeros(LARGE, np.uint8)]
    behind = np.zeros(LARGE, np.uint8)
    given = {"own": buffer.array, "many": many, "behind": behind}
    found = harvest(where, given, lent=True)
    own = found.values["own"]
    assert isinstance(own, Tensor) and isinstance(found.values["many"], Items)
    assert not np.shares_memory(np.frombuffer(own.data or b"", np.uint8), buffer.array)
    for raw, array in zip(found.fresh, (*many, behind), strict=True):
        assert not np.shares_memory(raw, array)
