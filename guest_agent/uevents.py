"""The kernel's own announcements that a device came or went (netlink, KOBJECT_UEVENT)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from types import TracebackType
from typing import Final

from vaccel import bounds

# linux/netlink.h; group 1 is the kernel's, group 2 is udev's.
_NETLINK_KOBJECT_UEVENT: Final = 15
_KERNEL_GROUP: Final = 1


def is_pci(message: bytes) -> bool:
    """Whether an announcement is about the PCI bus."""
    return b"SUBSYSTEM=pci" in message.split(b"\0")


class Uevents:
    """Wakes whoever waits when the PCI bus changes. An async context manager owns the socket."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._socket: socket.socket | None = None

    async def __aenter__(self) -> Uevents:
        with contextlib.suppress(OSError):
            # Without netlink (a container, say) the slow rescan alone finds what changes.
            self._socket = socket.socket(
                socket.AF_NETLINK,
                socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
                _NETLINK_KOBJECT_UEVENT,
            )
            self._socket.bind((0, _KERNEL_GROUP))
            asyncio.get_running_loop().add_reader(self._socket, self._read)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()

    async def wait(self, timeout: float) -> None:
        """Until the bus may have changed, or the time is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        self._changed.clear()

    def _read(self) -> None:
        assert self._socket is not None
        try:
            message, sender = self._socket.recvfrom(bounds.UEVENT_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            # The kernel dropped some: whatever they said, look.
            self._changed.set()
            return
        # Only the kernel (port 0) is believed; a process may send to this group too.
        if sender[0] == 0 and is_pci(message):
            self._changed.set()
