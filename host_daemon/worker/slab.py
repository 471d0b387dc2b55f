"""The slab of a queue pair, as the worker touches it: every place is checked, every byte copied."""

from __future__ import annotations

from typing import Protocol

from vaccel import bounds
from vaccel.aperture.descriptors import TOO_LARGE
from vaccel.aperture.window import Window
from vaccel.compute import Lease
from vaccel.errors import InvalidArgument


class SlabAccess(Protocol):
    """What a call does with a slab."""

    def fetch(self, place: int, length: int) -> bytes:
        """A copy of a piece. Raises InvalidArgument where it is not in the slab."""

    def check(self, place: int, length: int) -> None:
        """Raise InvalidArgument where a piece is not in the slab."""

    def put(self, place: int, data: bytes | memoryview) -> None:
        """Put bytes there. Raises InvalidArgument where they do not fit."""


class LentSlab:
    """The slab of a lease. Once ``closed`` nothing is put into it any more."""

    def __init__(self, window: Window, lease: Lease) -> None:
        self._window, self._lease = window, lease
        self.closed = False

    def fetch(self, place: int, length: int) -> bytes:
        """See ``SlabAccess``."""
        self.check(place, length)
        return bytes(self._window.bytes[place : place + length])

    def request(self, place: int, length: int) -> bytes:
        """A copy of a request. Raises InvalidArgument also where it is too long for one."""
        if length > bounds.MESSAGE_BYTES:
            raise InvalidArgument(
                f"a request of {length} bytes is more than {bounds.MESSAGE_BYTES}",
                hint="write large tensors to buffers first",
            )
        return self.fetch(place, length)

    def put(self, place: int, data: bytes | memoryview) -> None:
        """See ``SlabAccess``."""
        self.check(place, len(data))
        if not self.closed:
            self._window.bytes[place : place + len(data)] = data

    def reply(self, data: bytes, place: int, capacity: int) -> int:
        """Put a reply there; its length, or ``TOO_LARGE``. The room for it was checked before."""
        if len(data) > capacity:
            return TOO_LARGE
        self.put(place, data)
        return len(data)

    def check(self, place: int, length: int) -> None:
        """See ``SlabAccess``."""
        start = self._lease.slab_offset
        if place < start or place + length > start + self._lease.slab_bytes:
            raise InvalidArgument(
                f"descriptor: bytes {place} to {place + length} of the window are outside the slab"
                f" from {start} to {start + self._lease.slab_bytes}"
            )
