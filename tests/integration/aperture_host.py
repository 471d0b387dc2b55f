"""A VF in this process with window, doorbell, gRPC endpoint and lender, as a daemon has them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from host_daemon.worker.executor import Executor
from host_daemon.worker.queues import Queues
from tests.unit.host_daemon.worker.conftest import make_vf
from vaccel.aperture import layout
from vaccel.aperture.journal import Journal, create_journal
from vaccel.aperture.lending import MEMFD, PCI, Lender, Loan
from vaccel.aperture.window import Window, create_sealed, create_window
from vaccel.fastpath.compute import ApertureCompute
from vaccel.rpc.address import SERVER_OPTIONS, open_channel
from vaccel.rpc.server import ContextHolder, add_compute

WINDOW = 64 << 20
OWNER = "vf"


@dataclass
class ApertureHost:
    """Both ends."""

    executor: Executor
    queues: Queues
    window: Window
    lender: Lender
    address: str
    memfd: int
    doorbell: int


@asynccontextmanager
async def host(folder: Path, window_bytes: int = WINDOW) -> AsyncIterator[ApertureHost]:
    memfd = create_window(window_bytes)
    doorbell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
    window = Window.from_fd(memfd, window_bytes)
    journal = Journal(create_journal(window_bytes), window_bytes)
    address = f"unix:{folder}/vf.sock"
    server = grpc.aio.server(options=SERVER_OPTIONS)
    holder = ContextHolder(0)

    async def find(_context: str) -> Loan:
        return Loan(OWNER, MEMFD, os.dup(memfd), os.dup(doorbell), window_bytes)

    try:
        async with (
            Executor(make_vf(folder)) as executor,
            Queues(executor, window, doorbell, journal) as queues,
            Lender(Path(f"{folder}/vf.sock.window"), 0o600, find) as lender,
        ):
            add_compute(server, lambda _principal: executor, holder)
            server.add_insecure_port(address)
            await server.start()
            yield ApertureHost(executor, queues, window, lender, address, memfd, doorbell)
            await server.stop(None)
            await holder.close()
    finally:
        window.close()
        journal.close()
        os.close(memfd)
        os.close(doorbell)


async def look(served: ApertureHost) -> None:
    """In the place of a PCI function's doorbell, which nobody emulates here."""
    while True:
        served.queues._scan()
        await asyncio.sleep(0.001)


@asynccontextmanager
async def lending(served: ApertureHost, kind: str) -> AsyncIterator[Lender]:
    """A process that lends the window, as an agent (PCI) or a daemon does."""
    path = Path(f"{served.address.removeprefix('unix:')}.window")
    register = create_sealed(layout.DOORBELL_BYTES, "doorbell")

    async def find(_context: str) -> Loan:
        doorbell = os.dup(register if kind == PCI else served.doorbell)
        return Loan(OWNER, kind, os.dup(served.memfd), doorbell, served.window.size)

    try:
        async with Lender(path, 0o600, find, served.executor.close_context) as lender:
            yield lender
    finally:
        os.close(register)


def holds(served: ApertureHost, value: int) -> bool:
    """Whether the window's slabs have an array of that value."""
    slabs = served.window.bytes[layout.slabs_offset(served.window.size) :]
    return bytes([value] * 4096) in bytes(slabs)


@asynccontextmanager
async def app(address: str, slab_bytes: int = 0) -> AsyncIterator[ApertureCompute]:
    channel = open_channel(address)
    compute = ApertureCompute(channel, address, required=True, slab_bytes=slab_bytes)
    try:
        yield compute
    finally:
        await compute.close()
        await channel.close(None)
