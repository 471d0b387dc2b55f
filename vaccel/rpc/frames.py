"""Frames of the private link between daemon and worker: a header, a method's name, a protobuf.

::

    | length u32 | call u64 | kind u8 | name length u8 | name | payload |      little-endian
    length counts the name and the payload; kind: 0 request, 1 reply, 2 error, 3 cancel

Neither side trusts the other's numbers: a length past ``bounds.FRAME_BYTES`` ends the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from dataclasses import dataclass
from typing import Final

from vaccel import bounds
from vaccel.errors import Unavailable

REQUEST: Final = 0
REPLY: Final = 1
ERROR: Final = 2
CANCEL: Final = 3

HEADER: Final = struct.Struct("<IQBB")


@dataclass(frozen=True, slots=True)
class Frame:
    """One message on the link."""

    call: int
    kind: int
    name: str
    payload: bytes

    def encode(self) -> bytes:
        """The frame as it travels."""
        name = self.name.encode()
        header = HEADER.pack(len(name) + len(self.payload), self.call, self.kind, len(name))
        return b"".join((header, name, self.payload))


def parse(header: bytes) -> tuple[int, int, int, int]:
    """(length, call, kind, name length) of a header. Raises Unavailable for what cannot be one."""
    length, call, kind, name = HEADER.unpack(header)
    if length > bounds.FRAME_BYTES or kind > CANCEL or name > length:
        raise Unavailable(f"link: a frame of kind {kind} and {length} bytes is no frame of ours")
    return length, call, kind, name


class FrameSocket:
    """Frames over a connected, non-blocking unix socket; one writer at a time."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._write_lock = asyncio.Lock()

    async def send(self, frame: Frame, descriptors: tuple[int, ...] = ()) -> None:
        """Send a frame; descriptors ride on its first byte."""
        loop = asyncio.get_running_loop()
        data = frame.encode()
        async with self._write_lock:
            if descriptors:
                # A frame with descriptors is small and the first on its connection: it fits.
                sent = socket.send_fds(self._socket, [data], list(descriptors))
                data = data[sent:]
            await loop.sock_sendall(self._socket, data)

    async def receive(self) -> Frame | None:
        """The next frame; None where the peer has closed."""
        header = await self._exactly(HEADER.size)
        if header is None:
            return None
        length, call, kind, name = parse(header)
        body = await self._exactly(length)
        if body is None:
            return None
        return Frame(call, kind, body[:name].decode("ascii", "replace"), body[name:])

    async def _exactly(self, count: int) -> bytes | None:
        loop = asyncio.get_running_loop()
        data = bytearray(count)
        view = memoryview(data)
        while view:
            try:
                got = await loop.sock_recv_into(self._socket, view)
            except ConnectionError:
                return None
            if not got:
                return None
            view = view[got:]
        return bytes(data)

    def close(self) -> None:
        """Close the socket; a pending receive ends as if the peer had closed."""
        with contextlib.suppress(OSError):  # the peer may have been first
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
