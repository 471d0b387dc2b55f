"""Device memory: bounded, zeroed, pinned while a launch works on it."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_daemon.worker.memory import Buffers, DeviceMemory
from vaccel import bounds
from vaccel.errors import Exhausted, InvalidArgument, NotFound
from vaccel.model import BufferRange


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 400)), max_size=60))
def test_never_more_than_the_capacity(steps: list[tuple[bool, int]]) -> None:
    memory = DeviceMemory(1000)
    buffers = Buffers(memory)
    held: dict[int, int] = {}
    for take, number in steps:
        if take:
            try:
                held[buffers.allocate(number).number] = number
            except Exhausted as error:
                assert number > 1000 - sum(held.values())
                assert f"{memory.free} of 1000" in str(error)
        elif held:
            victim = sorted(held)[number % len(held)]
            buffers.free(victim)
            del held[victim]
        assert memory.used == sum(held.values()) <= 1000
    buffers.clear()
    assert memory.used == 0


def test_numbers_are_never_given_twice() -> None:
    buffers = Buffers(DeviceMemory(100))
    first = buffers.allocate(10).number
    buffers.free(first)
    assert buffers.allocate(10).number != first
    with pytest.raises(NotFound):
        buffers.find(first)


def test_a_view_stays_inside() -> None:
    buffers = Buffers(DeviceMemory(100))
    number = buffers.allocate(10).number
    assert buffers.view(BufferRange(number, 3), 7, "x").nbytes == 7
    assert buffers.view(BufferRange(number, 10), 0, "x").nbytes == 0
    for offset, length in ((3, 8), (11, 0), (-1, 2), (0, -1), ((1 << 64) - 1, 1)):
        with pytest.raises(InvalidArgument, match="10 bytes"):
            buffers.view(BufferRange(number, offset), length, "x")


async def test_a_pinned_buffer_lives_until_it_is_let_go() -> None:
    memory = DeviceMemory(100)
    buffers = Buffers(memory)
    buffer = buffers.allocate(60)
    buffer.pin()
    idle = asyncio.create_task(buffer.idle())
    buffers.free(buffer.number)
    await asyncio.sleep(0)
    assert not idle.done()
    assert memory.used == 60
    buffer.unpin()
    await idle
    assert memory.used == 0


async def test_what_a_load_took_over_is_nobodys() -> None:
    memory = DeviceMemory(100)
    buffers = Buffers(memory)
    number = buffers.allocate(60).number
    buffers.find(number).pin()
    waiting = asyncio.create_task(buffers.find(number).idle())
    await asyncio.sleep(0)
    taken = buffers.take(number)
    with pytest.raises(NotFound):
        buffers.find(number)
    taken.unpin()
    with pytest.raises(NotFound, match=f"buffer {number} was taken over"):
        await waiting  # a write that came before the load does not get through after it
    assert memory.used == 60
    taken.free()
    assert memory.used == 0


def test_too_many_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "BUFFERS_PER_CONTEXT", 2)
    buffers = Buffers(DeviceMemory(100))
    buffers.allocate(0)
    buffers.allocate(0)
    with pytest.raises(Exhausted, match="2 buffers"):
        buffers.allocate(0)
