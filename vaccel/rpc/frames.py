"""Frames of the private link between daemon and worker: a header, a method's name, a protobuf.

::

    | length u32 | call u64 | kind u8 | name length u8 | name | payload |      little-endian
    length counts the name and the payload; kind: 0 request, 1 reply, 2 error, 3 cancel

Neither side trusts the other's numbers: a length past ``bounds.FRAME_BYTES`` ends the connection.
A frame that was begun is always finished: half of one, of a call that was cancelled, would garble
all that follows, of every tenant's calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

from vaccel import bounds
from vaccel.errors import Unavailable

log = logging.getLogger(__name__)

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
        self._posts: set[asyncio.Task[None]] = set()

    async def send(self, frame: Frame, descriptors: tuple[int, ...] = ()) -> None:
        """Send a frame; descriptors ride on its first byte. Raises OSError.

        Cancelled before its first byte, nothing is sent; after it, the rest follows by itself.
        """
        await self._write_lock.acquire()
        try:
            rest = self._begin(frame.encode(), descriptors)
        except BaseException:
            self._write_lock.release()
            raise
        if not rest:
            self._write_lock.release()
            return
        await asyncio.shield(self._start(self._finish(rest)))

    def post(self, frame: Frame) -> None:
        """Send a frame as soon as that is possible, and do not wait for it.

        A peer that hangs is not worth a queue: past ``bounds.LINK_CALLS`` nothing is sent.
        """
        if len(self._posts) < bounds.LINK_CALLS:
            self._start(self.send(frame))

    def _begin(self, data: bytes, descriptors: tuple[int, ...]) -> memoryview:
        """Send what the socket takes at once; what is left."""
        try:
            if descriptors:
                # A frame with descriptors is small and the first on its connection: it fits.
                sent = socket.send_fds(self._socket, [data], list(descriptors))
            else:
                sent = self._socket.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        return memoryview(data)[sent:]

    async def _finish(self, rest: memoryview) -> None:
        try:
            await asyncio.get_running_loop().sock_sendall(self._socket, rest)
        finally:
            self._write_lock.release()

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._posts.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._posts.discard(task)
        if not task.cancelled() and task.exception() is not None:
            # Whoever still waits for it gets it too; the reader learns of a peer that is gone.
            log.debug("link: %s", task.exception())

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
        """Close the socket; the peer sees its end. Who receives here is the caller's to end."""
        for task in self._posts:
            task.cancel()
        with contextlib.suppress(OSError):  # the peer may have been first
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
