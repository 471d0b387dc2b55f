"""A worker from its fork to its end."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from host_daemon.core.device import DeviceModel
from host_daemon.core.lasting import Lasting, Life
from host_daemon.devices import registry
from host_daemon.worker import sandbox
from host_daemon.worker.control import Control
from host_daemon.worker.executor import Executor, VirtualFunction
from host_daemon.worker.queues import Queues
from host_daemon.worker.spec import Descriptors, WorkerSpec
from vaccel.aperture.cells import CellRange
from vaccel.aperture.journal import Journal
from vaccel.aperture.window import Window
from vaccel.errors import Internal
from vaccel.rpc.link import serve_link

log = logging.getLogger(__name__)


def work(spec: WorkerSpec, fds: Descriptors, ready: Callable[[], None]) -> None:
    """Be a worker until told to end. ``ready`` is called when calls will be answered.

    Raises VaccelError where the card, the profile, the window or the sandbox does not allow it.
    """
    card = registry.load_card(Path(spec.card))
    profile = registry.find_profile(card, spec.profile)
    model = registry.model(card, profile)
    # The configuration may give VFs another window than the card's file.
    profile = dataclasses.replace(profile, window_bytes=spec.window_bytes)
    if spec.cells_bytes:
        _take_over(model, spec, fds.cells)
    window = Window.from_fd(fds.memfd, spec.window_bytes)
    journal = Journal(fds.journal, spec.window_bytes)
    if spec.header:
        window.write_header(spec.header)
    scratch = sandbox.enter(
        sandbox.Confinement(
            spec.vf,
            profile.memory_bytes + spec.window_bytes,
            spec.uid,
            spec.gid,
            spec.scratch,
        )
    )
    vf = VirtualFunction(
        id=spec.vf,
        epoch=spec.epoch,
        card=card,
        profile=profile,
        model=model,
        threads=spec.threads,
        scratch=scratch,
        unix_ms=lambda: time.time_ns() // 1_000_000,
        random=os.urandom,
        monotonic_ns=time.monotonic_ns,
    )
    asyncio.run(_serve(vf, window, journal, fds, ready))
    window.close()
    journal.close()


def _take_over(model: DeviceModel, spec: WorkerSpec, fd: int) -> None:
    """Map the VF's own cells, close the way to all others, and go on from what is in them."""
    try:
        cells = CellRange(fd, spec.cells_offset, spec.cells_bytes)
    finally:
        os.close(fd)
    if not isinstance(model, Lasting):
        raise Internal(f"worker of {spec.vf}: {spec.cells_bytes} bytes of cells, but none expected")
    model.begin(Life(bytes.fromhex(spec.seed), cells.bytes, spec.clock_seconds))


async def _serve(
    vf: VirtualFunction,
    window: Window,
    journal: Journal,
    fds: Descriptors,
    ready: Callable[[], None],
) -> None:
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(socket.socket(fileno=fds.listener))
        executor = await stack.enter_async_context(Executor(vf))
        await stack.enter_async_context(Queues(executor, window, fds.doorbell, journal))
        control = Control(vf.id, executor, window, fds)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, control.ended.set)
        link = asyncio.create_task(serve_link(listener, executor, control), name="link")
        ended = asyncio.create_task(control.ended.wait(), name="ended")
        ready()
        try:
            await asyncio.wait((link, ended), return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
            link.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await link
