"""A guest under test: what it does by itself, what runs in it, and windows to plug into it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from host_daemon.core.hypervisor import Exit, Machine, MachineEvent, MachineSpec, WindowPlug
from vaccel import bounds

SpecFactory = Callable[..., MachineSpec]
WINDOW_BYTES = 16 * bounds.MIB

# Prints each window's first word and its size, and rings its worker's doorbell.
READ_AND_RING = """
import glob, mmap, os
def word(path):
    with open(path) as file:
        return file.read().strip()
for device in sorted(glob.glob("/sys/bus/pci/devices/*")):
    if (word(device + "/vendor"), word(device + "/device")) != ("0x1af4", "0x1110"):
        continue
    with open(device + "/enable", "w") as enable:
        enable.write("1")
    window = mmap.mmap(os.open(device + "/resource2", os.O_RDWR), 0)
    doorbell = mmap.mmap(os.open(device + "/resource0", os.O_RDWR), 256)
    print(bytes(window[:8]).decode(), len(window))
    window[8:16] = b"answered"
    memoryview(doorbell).cast("I")[3] = 1 << 16
"""


@dataclass
class Guest:
    """A running VM, and what it did by itself."""

    spec: MachineSpec
    machine: Machine = field(init=False)
    events: list[MachineEvent] = field(default_factory=list)
    _heard: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, event: MachineEvent) -> None:
        self.events.append(event)
        self._heard.set()

    async def event(self, kind: str, seconds: float = 60.0) -> MachineEvent:
        """The next event of a kind; earlier ones are forgotten."""
        async with asyncio.timeout(seconds):
            while True:
                while self.events:
                    event = self.events.pop(0)
                    if event.kind == kind:
                        return event
                self._heard.clear()
                await self._heard.wait()

    async def run(self, *command: str, **options: Any) -> tuple[bytes, bytes, int]:
        """(stdout, stderr, exit code) of a command in the guest."""
        streams = {"stdout": b"", "stderr": b""}
        items = [item async for item in self.machine.execute(command, **options)]
        *output, last = items
        assert isinstance(last, Exit)
        for piece in output:
            assert not isinstance(piece, Exit)
            streams[piece.stream] += piece.data
        return streams["stdout"], streams["stderr"], last.code

    async def windows(self) -> list[str]:
        """What the guest reads in each of its windows, having rung its doorbell."""
        out, err, code = await self.run("python3", "-c", READ_AND_RING)
        assert (err, code) == (b"", 0)
        return out.decode().splitlines()


@contextmanager
def window(device: str, text: bytes, size: int = WINDOW_BYTES) -> Iterator[WindowPlug]:
    memfd = os.memfd_create(device)
    doorbell = os.eventfd(0, os.EFD_NONBLOCK)
    try:
        os.ftruncate(memfd, size)
        os.pwrite(memfd, text, 0)
        yield WindowPlug(device, memfd, doorbell, size)
    finally:
        os.close(memfd)
        os.close(doorbell)


async def rung(doorbell: int, seconds: float = 10.0) -> int:
    """How often a doorbell was rung, once it was."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(doorbell, readable.set)
    try:
        async with asyncio.timeout(seconds):
            await readable.wait()
    finally:
        loop.remove_reader(doorbell)
    return os.eventfd_read(doorbell)


def gone(pid: int) -> bool:
    """Whether a process is gone, and not as a zombie either."""
    return not Path(f"/proc/{pid}").exists()
