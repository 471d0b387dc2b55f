"""The server's half of ivshmem for two peers, written ahead so that QEMU never waits for it.

The protocol (QEMU, docs/specs/ivshmem-spec.txt, "Client-Server protocol") sends 8-byte little-
endian integers on a unix stream, some with a descriptor:

=====  ==================  ==========================
order  integer             descriptor
=====  ==================  ==========================
1      0, the version      none
2      QEMU's id           none
3      -1                  the shared memory
4      the worker's id     the worker's eventfd
=====  ==================  ==========================

QEMU's own interrupt vectors are never announced: their handlers outlive an unplug and crash QEMU
7.2.
"""

from __future__ import annotations

import array
import asyncio
import fcntl
import socket
import struct
import termios
from typing import Final

from vaccel import bounds
from vaccel.errors import TimedOut

VERSION: Final = 0
# Any two different ids serve. The guest rings the worker by writing ``WORKER_ID << 16 | vector``.
QEMU_ID: Final = 0
WORKER_ID: Final = 1
_SHARED_MEMORY: Final = -1


def write_ahead(server: socket.socket, memfd: int, doorbell: int) -> None:
    """Queue the whole handshake on ``server``; the kernel keeps copies of both descriptors."""
    for number, descriptor in (
        (VERSION, None),
        (QEMU_ID, None),
        (_SHARED_MEMORY, memfd),
        (WORKER_ID, doorbell),
    ):
        rights = [] if descriptor is None else [_rights(descriptor)]
        server.sendmsg([struct.pack("<q", number)], rights)


async def until_read(server: socket.socket, device: str) -> None:
    """Until QEMU has read all of it: only then is the doorbell armed. Raises TimedOut."""
    delay = 0.0
    try:
        async with asyncio.timeout(bounds.MONITOR_SECONDS):
            while _unread(server):
                await asyncio.sleep(delay)
                delay = min(delay + 0.001, 0.05)
    except TimeoutError as error:
        raise TimedOut(
            f"QEMU did not read the handshake of device {device}"
            f" within {bounds.MONITOR_SECONDS:g} s",
            hint="see qemu.log in the VM's folder",
        ) from error


def _rights(descriptor: int) -> tuple[int, int, array.array[int]]:
    return socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor])


def _unread(server: socket.socket) -> int:
    # SIOCOUTQ has TIOCOUTQ's number; on a unix socket it counts what the peer has not read.
    answer = fcntl.ioctl(server, termios.TIOCOUTQ, b"\0" * 4)
    return int(struct.unpack("i", answer)[0])
