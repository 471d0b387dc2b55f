"""Device memory of a VF: what its profile promises, backed by host memory only as it is touched.

A buffer is zeros when it is given out: its pages are fresh from the kernel, or were cleared when
they were taken from the allocator again, so nothing of an earlier owner is ever seen.

While a launch works on a buffer it is **pinned**: a write waits, because a kernel that finds its
operands changing under it may read outside them (an index that was checked, then rewritten).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from host_daemon.worker.numbers import Numbers
from vaccel import bounds
from vaccel.errors import Exhausted, InvalidArgument, NotFound
from vaccel.model import BufferRange

Bytes = NDArray[np.uint8]


class DeviceMemory:
    """Accounts for all that a VF holds: buffers, weights, and data on its way in or out."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._used = 0

    @property
    def used(self) -> int:
        """Bytes that are held."""
        return self._used

    @property
    def free(self) -> int:
        """Bytes that can still be had."""
        return self.capacity - self._used

    def reserve(self, size: int, what: str) -> None:
        """Count bytes as held. Raises Exhausted, naming what is free."""
        if size < 0:
            raise InvalidArgument(f"{what}: {size} bytes is no size")
        if size > self.free:
            raise Exhausted(
                f"{what} needs {size} bytes of device memory: {self.free} of {self.capacity} are"
                " free",
                hint="free buffers or programs, or take a VF of a larger profile",
            )
        self._used += size

    def release(self, size: int) -> None:
        """Count bytes as free again."""
        self._used -= size


class Buffer:
    """Bytes of device memory. Counted from its making until it is freed and no longer pinned."""

    def __init__(self, number: int, array: Bytes, memory: DeviceMemory) -> None:
        self.number = number
        self.array = array
        self._memory = memory
        self._pins = 0
        self._freed = False
        self._taken = False
        self._idle: list[asyncio.Future[None]] = []

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self.array.nbytes)

    @property
    def pinned(self) -> bool:
        """Whether a launch works on it."""
        return self._pins > 0

    def pin(self) -> None:
        """A launch begins to work on it."""
        self._pins += 1

    def unpin(self) -> None:
        """A launch has ended."""
        self._pins -= 1
        if self._pins:
            return
        for future in self._idle:
            if not future.done():
                future.set_result(None)
        self._idle.clear()
        if self._freed:
            self._memory.release(self.size)

    def take(self) -> None:
        """A load has it for its own: nobody who knew it may touch it again."""
        self._taken = True

    async def idle(self) -> None:
        """Until no launch works on it. Raises NotFound where a load took it over meanwhile."""
        while self._pins:
            future = asyncio.get_running_loop().create_future()
            self._idle.append(future)
            await future
        if self._taken:
            raise NotFound(f"buffer {self.number} was taken over by the load of a program")

    def free(self) -> None:
        """Give it back; its bytes are free when the last launch has let go."""
        if not self._freed:
            self._freed = True
            if not self._pins:
                self._memory.release(self.size)


class Buffers:
    """The buffers of one context."""

    def __init__(self, memory: DeviceMemory, epoch: int = 0) -> None:
        self._memory = memory
        self._buffers: dict[int, Buffer] = {}
        self._numbers = Numbers("buffer", epoch)

    def __len__(self) -> int:
        return len(self._buffers)

    def allocate(self, size: int) -> Buffer:
        """A buffer of zeros. Raises Exhausted, naming what is free."""
        self._check_room()
        self._memory.reserve(size, "buffer")
        try:
            array = np.zeros(size, np.uint8)
        except MemoryError as fault:
            self._memory.release(size)
            raise Exhausted(f"host has no {size} bytes for a buffer") from fault
        return self._keep(array)

    def adopt(self, array: Bytes) -> Buffer:
        """A buffer around bytes that a launch made. Raises Exhausted as ``allocate`` does."""
        self._check_room()
        self._memory.reserve(array.nbytes, "result")
        return self._keep(array)

    def find(self, number: int) -> Buffer:
        """A buffer by number. Raises NotFound."""
        buffer = self._buffers.get(number)
        if buffer is None:
            raise self._numbers.unknown(number)
        return buffer

    def view(self, place: BufferRange, length: int, what: str) -> Bytes:
        """The bytes at a place. Raises NotFound, or InvalidArgument where they reach outside."""
        buffer = self.find(place.buffer)
        check_range(buffer, place.offset, length, what)
        return buffer.array[place.offset : place.offset + length]

    def take(self, number: int) -> Buffer:
        """Forget a buffer that a load takes over; its bytes count until it is freed.

        Raises NotFound.
        """
        buffer = self.find(number)
        del self._buffers[number]
        buffer.take()
        return buffer

    def free(self, number: int) -> None:
        """Forget a buffer, if it is there."""
        buffer = self._buffers.pop(number, None)
        if buffer is not None:
            buffer.free()

    def clear(self) -> None:
        """Forget all."""
        for number in list(self._buffers):
            self.free(number)

    def _check_room(self) -> None:
        if len(self._buffers) >= bounds.BUFFERS_PER_CONTEXT:
            raise Exhausted(
                f"context holds {bounds.BUFFERS_PER_CONTEXT} buffers, the most there can be",
                hint="free some, or put several tensors into one",
            )

    def _keep(self, array: Bytes) -> Buffer:
        number = self._numbers.next()
        buffer = self._buffers[number] = Buffer(number, array, self._memory)
        return buffer


def check_range(buffer: Buffer, offset: int, length: int, what: str) -> None:
    """Raise InvalidArgument where bytes reach outside a buffer."""
    if offset < 0 or length < 0 or offset + length > buffer.size:
        raise InvalidArgument(
            f"{what}: bytes {offset} to {offset + length} are outside buffer {buffer.number} of"
            f" {buffer.size} bytes"
        )


def pin_all(buffers: Mapping[int, Buffer]) -> None:
    """Pin every buffer of a launch."""
    for buffer in buffers.values():
        buffer.pin()


def unpin_all(buffers: Mapping[int, Buffer]) -> None:
    """Undo ``pin_all``."""
    for buffer in buffers.values():
        buffer.unpin()
