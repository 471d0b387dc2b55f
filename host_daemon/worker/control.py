"""What the daemon asks of this worker beside Compute: the link's ``WorkerControl``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

from host_daemon.worker.executor import Executor
from host_daemon.worker.spec import Descriptors
from vaccel.aperture.window import Window
from vaccel.inventory import Condition
from vaccel.model import Cost, Usage


class Control:
    """The worker's own window, epoch and end. Descriptors stay open until it."""

    def __init__(
        self, vf: str, executor: Executor, window: Window, fds: Descriptors
    ) -> None:
        self._vf = vf
        self._executor = executor
        self._window = window
        self._fds = fds
        self.ended = asyncio.Event()

    def hello(self) -> tuple[str, int, int, list[str]]:
        """(VF id, epoch, pid, open contexts)."""
        return self._vf, self._executor.epoch, os.getpid(), self._executor.contexts

    def share_window(self) -> tuple[int, int, int]:
        """(window's memfd, worker's eventfd, journal's memfd)."""
        return self._fds.memfd, self._fds.doorbell, self._fds.journal

    async def begin_epoch(self, epoch: int, header: bytes) -> None:
        """Close every context, then write the header: no work of the old epoch sees the new one."""
        await self._executor.begin_epoch(epoch)
        if header:
            self._window.write_header(header)

    def erase_token(self) -> None:
        """Wipe the one-time token from the window's header."""
        self._window.erase_token()

    def usage(self) -> Usage:
        """What the VF holds and has done."""
        return self._executor.usage()

    async def condition(self) -> Sequence[Condition]:
        """How the cells are; nothing where the device has none."""
        return await self._executor.condition()

    async def set_clock(self, seconds: float) -> None:
        """Move the card's clock."""
        await self._executor.set_clock(seconds)

    async def recalibrate(self) -> Cost:
        """Compensate drift; what it cost."""
        return await self._executor.recalibrate()

    def shutdown(self) -> None:
        """End the process once this call is answered."""
        asyncio.get_running_loop().call_soon(self.ended.set)
