"""The recordings of one queue pair: commands that were copied and checked once.

They are held in the VF's device memory, at the size that they have when unpacked, so that a guest
that records as much as it can fills its own memory and not its host's.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass

from host_daemon.worker.memory import DeviceMemory
from host_daemon.worker.numbers import Numbers
from vaccel import bounds
from vaccel.commands import Command, Nop
from vaccel.errors import Exhausted
from vaccel.rpc import ring_calls


@dataclass(frozen=True, slots=True)
class Recording:
    """``idle``: none of the commands does anything. ``held`` bytes are reserved for them."""

    commands: tuple[Command, ...]
    idle: bool
    held: int


class Recordings:
    """Belongs to the event loop. Who made them clears them."""

    def __init__(self, memory: DeviceMemory, epoch: int) -> None:
        self._memory = memory
        self._numbers = Numbers("recording", epoch)
        self._made: dict[int, Recording] = {}

    def add(self, payload: bytes) -> int:
        """Record what a request asks for; its number.

        Raises InvalidArgument for what cannot be recorded, Exhausted naming the bytes that are
        free, or the number of recordings.
        """
        if len(self._made) >= bounds.RECORDINGS_PER_QUEUE:
            raise Exhausted(
                f"queue holds {bounds.RECORDINGS_PER_QUEUE} recordings, the most there can be",
                hint="forget some",
            )
        # What has no room as it came is not even unpacked.
        self._memory.reserve(len(payload), "recording")
        try:
            made = ring_calls.recording_of(payload)
        finally:
            self._memory.release(len(payload))
        held = max(len(payload), bytes_held(made))
        self._memory.reserve(held, "recording")
        number = self._numbers.next()
        idle = all(isinstance(command, Nop) for command in made)
        self._made[number] = Recording(made, idle, held)
        return number

    def find(self, number: int) -> Recording:
        """A recording by number. Raises NotFound."""
        found = self._made.get(number)
        if found is None:
            raise self._numbers.unknown(number)
        return found

    def forget(self, number: int) -> None:
        """Give back what a recording holds. Raises NotFound."""
        self._memory.release(self.find(number).held)
        del self._made[number]

    def clear(self) -> None:
        """Forget all."""
        for number in list(self._made):
            self.forget(number)


def bytes_held(value: object) -> int:
    """Host memory that a command takes, or a part of one: more than what travelled of it."""
    size = sys.getsizeof(value)
    if isinstance(value, tuple):
        return size + sum(map(bytes_held, value))
    if isinstance(value, Mapping):
        return size + sum(map(bytes_held, value.keys())) + sum(map(bytes_held, value.values()))
    if is_dataclass(value):
        return size + sum(bytes_held(getattr(value, name)) for name in value.__dataclass_fields__)
    return size
