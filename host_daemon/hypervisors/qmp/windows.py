"""Windows of VFs on their way into a VM and out of it again.

In: lend QEMU one end of a socket pair whose other end holds the whole handshake, make it a chardev,
add the device. Out: ask the guest over ACPI, wait for DEVICE_DELETED, take the chardev away. QEMU
alone knows what is plugged; nothing here has to be remembered over a daemon's restart.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Final

from host_daemon.core.hypervisor import WindowPlug
from host_daemon.hypervisors.qmp.ivshmem import until_read, write_ahead
from host_daemon.hypervisors.qmp.monitor import Monitor
from vaccel import bounds
from vaccel.errors import (
    Exhausted,
    HostFault,
    InvalidArgument,
    NotFound,
    TimedOut,
    VaccelError,
    WrongState,
)

_DEVICE: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
# QEMU's own names are in one space with the VM's other devices.
_PREFIX: Final = "window-"
_TYPE: Final = "child<ivshmem-doorbell>"


class Windows:
    """The windows of one VM. ``on_gone(device)`` is called when one leaves unasked."""

    def __init__(self, vm: str, monitor: Monitor, on_gone: Callable[[str], None]) -> None:
        self._vm = vm
        self._monitor = monitor
        self._on_gone = on_gone
        self._lock = asyncio.Lock()
        self._leaving: dict[str, asyncio.Future[None]] = {}
        self._sweeps: set[asyncio.Task[None]] = set()

    async def plugged(self) -> Sequence[str]:
        """Devices that QEMU has now, by name."""
        items = await self._monitor.execute("qom-list", path="/machine/peripheral")
        return sorted(
            item["name"].removeprefix(_PREFIX)
            for item in items
            if item["type"] == _TYPE and item["name"].startswith(_PREFIX)
        )

    async def plug(self, window: WindowPlug) -> None:
        """See the port. Raises InvalidArgument, WrongState, Exhausted, HostFault, Unavailable."""
        _check(window)
        async with self._lock, AsyncExitStack() as undo:
            present = await self.plugged()
            if window.device in present:
                raise WrongState(
                    f"device {window.device} is plugged into VM {self._vm} already",
                    hint="unplug it first",
                )
            if len(present) >= bounds.VFS_PER_VM:
                raise Exhausted(
                    f"VM {self._vm} has {len(present)} devices, and may have {bounds.VFS_PER_VM}",
                    hint="unplug one first",
                )
            await self._add(window, undo)
            undo.pop_all()

    async def _add(self, window: WindowPlug, undo: AsyncExitStack) -> None:
        name = _PREFIX + window.device
        ours, theirs = socket.socketpair()
        with ours, theirs:
            write_ahead(ours, window.memfd, window.doorbell)
            await self._sweep(name)
            await self._monitor.lend(name, theirs.fileno())
            theirs.close()
            undo.push_async_callback(self._sweep, name)
            address = {"type": "fd", "data": {"str": name}}
            backend = {"type": "socket", "data": {"addr": address, "server": False}}
            await self._monitor.execute("chardev-add", id=name, backend=backend)
            undo.push_async_callback(self._ask_out, name)
            await self._monitor.execute(
                "device_add", driver="ivshmem-doorbell", id=name, chardev=name
            )
            await until_read(ours, window.device)

    async def unplug(self, device: str, timeout: float, force: bool) -> None:
        """See the port. With ``force`` a guest that does not let go is reset, which takes it out.

        Raises TimedOut; the device goes as soon as the guest answers, also after that.
        """
        name = _PREFIX + device
        async with self._lock:
            if device not in await self.plugged():
                return
            gone = self._leaving.setdefault(name, asyncio.get_running_loop().create_future())
        try:
            await self._out(name, gone, timeout, force)
        except TimeoutError as error:
            raise TimedOut(
                f"VM {self._vm} did not let go of device {device} within {timeout:g} s",
                hint="the guest must run, with ACPI hot-plug; by force it is reset",
            ) from error
        finally:
            self._leaving.pop(name, None)

    async def _out(
        self, name: str, gone: asyncio.Future[None], timeout: float, force: bool
    ) -> None:
        try:
            async with asyncio.timeout(timeout):
                while not await self._asked_out(name, gone):
                    pass
        except TimeoutError:
            if not force:
                raise
            # What was asked out goes at the next reset (QEMU, acpi_pcihp_reset).
            await self._monitor.execute("system_reset")
            await asyncio.wait_for(asyncio.shield(gone), bounds.MONITOR_SECONDS)
        await self._sweep(name)

    async def _asked_out(self, name: str, gone: asyncio.Future[None]) -> bool:
        await self._ask_out(name)
        await asyncio.wait({gone}, timeout=bounds.UNPLUG_REPEAT_SECONDS)
        return gone.done()

    async def _ask_out(self, name: str) -> None:
        try:
            await self._monitor.execute("device_del", id=name)
        except NotFound:
            self.deleted(name)
        except HostFault as error:
            if "already in the process of unplug" not in error.message:
                raise

    def deleted(self, name: str) -> None:
        """QEMU says that a device has left."""
        if not name.startswith(_PREFIX):
            return
        gone = self._leaving.get(name)
        if gone is not None:
            if not gone.done():
                gone.set_result(None)
            return
        task = asyncio.ensure_future(self._sweep(name))
        self._sweeps.add(task)
        task.add_done_callback(self._sweeps.discard)
        self._on_gone(name.removeprefix(_PREFIX))

    async def _sweep(self, name: str) -> None:
        """Take away what a device leaves: its chardev, or the descriptor lent for it."""
        with suppress(VaccelError):
            labels = [item["label"] for item in await self._monitor.execute("query-chardev")]
            if name in labels:
                await self._monitor.execute("chardev-remove", id=name)

    async def close(self) -> None:
        """End what is still under way here."""
        for task in self._sweeps:
            task.cancel()
        await asyncio.gather(*self._sweeps, return_exceptions=True)


def _check(window: WindowPlug) -> None:
    """What QEMU would answer with abort(), and so with the guest's death, is refused here."""
    if not _DEVICE.fullmatch(window.device):
        raise InvalidArgument(
            f"device {window.device!r} is not a name", hint="letters, digits and dashes, up to 64"
        )
    actual = os.fstat(window.memfd).st_size
    if window.size < 4096 or window.size & (window.size - 1) or actual != window.size:
        raise InvalidArgument(
            f"device {window.device}: a window of {window.size} bytes in a memfd of {actual}",
            hint="both are one power of two, from 4096 on",
        )
