"""A guest's whole path by shared memory, without a VM: agent, TLS, a VF's executor and its window.

Window and doorbell stand in sysfs as the BARs of a PCI function do. Nobody emulates the doorbell:
the rings are looked at instead.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.integration.agent_host import Guest, Host, make_authority
from tests.integration.aperture_host import ApertureHost, host, look
from vaccel.aperture import layout
from vaccel.aperture.header import encode
from vaccel.aperture.window import create_sealed


@dataclass(frozen=True)
class WindowGuest:
    """A guest with one VF; ``address`` is the agent's."""

    served: ApertureHost
    host: Host
    guest: Guest

    @property
    def address(self) -> str:
        return self.guest.config.socket

    @property
    def held(self) -> tuple[int, int]:
        """Contexts and queue pairs of the VF."""
        usage = self.served.executor.usage()
        return usage.contexts, usage.queues

    async def freed(self, seconds: float) -> None:
        """Until neither is left."""
        async with asyncio.timeout(seconds):
            while True:
                if self.held == (0, 0):
                    return
                await asyncio.sleep(0)


@asynccontextmanager
async def window_guest(folder: Path) -> AsyncIterator[WindowGuest]:
    """A VF that is plugged into a guest, whose agent serves."""
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(host(folder))
        looking = asyncio.create_task(look(served))
        stack.callback(looking.cancel)
        (vf,) = await served.executor.devices()
        outside = Host(served.executor, vf.id, make_authority())
        await outside.start()
        stack.push_async_callback(outside.stop)
        header = replace(outside.header, window_bytes=served.window.size)
        served.window.write_header(encode(header))
        guest = Guest(folder)
        guest.plug(header)
        register = create_sealed(layout.DOORBELL_BYTES, "doorbell")
        stack.callback(os.close, register)
        function = guest.sysfs.devices / guest.ADDRESS
        for name, fd in (("resource2", served.memfd), ("resource0", register)):
            (function / name).unlink(missing_ok=True)
            (function / name).symlink_to(f"/proc/{os.getpid()}/fd/{fd}")
        await stack.enter_async_context(guest.agent())
        await guest.lines.until(vf.id, "ready")
        yield WindowGuest(served, outside, guest)
