"""A process that has a window, as its lender sees it: whether it still has it, and still lives."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import struct
from typing import Final

from vaccel import bounds

log = logging.getLogger(__name__)

# struct ucred of unix(7): pid, uid, gid.
_PEER: Final = struct.Struct("3i")


class Borrower:
    """A loan, and the process that asked for it, by its pidfd.

    ``left`` is set once it has let go of the window, by its word or by its death.
    """

    def __init__(self, owner: str, kind: str, context: str, sock: socket.socket) -> None:
        self.owner, self.kind, self.context = owner, kind, context
        self.left = asyncio.Event()
        self._sock = sock
        self._dead = asyncio.Event()
        self._spoke = False
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        self.pid: int = _PEER.unpack(credentials)[0]
        self._pidfd = -1
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            self._dead.set()
        except (OSError, ValueError):
            return  # one of another pid namespace has no number here
        if self._pidfd >= 0:
            asyncio.get_running_loop().add_reader(self._pidfd, self._died)

    def _died(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        self._dead.set()

    async def gone(self) -> None:
        """Until it has let go: it says so, or its socket ends, or its process.

        A child that it forked may hold its socket, too: then only the last one tells.
        """
        loop = asyncio.get_running_loop()
        word = asyncio.ensure_future(loop.sock_recv(self._sock, 1))
        death = asyncio.ensure_future(self._dead.wait())
        try:
            await asyncio.wait((word, death), return_when=asyncio.FIRST_COMPLETED)
            self._spoke = word.done() and word.exception() is None and word.result() != b""
        finally:
            for each in (word, death):
                each.cancel()
            await asyncio.gather(word, death, return_exceptions=True)

    async def has_died(self) -> bool:
        """Whether it let go by dying: its socket ends a moment before its process has."""
        if not self._spoke and self._pidfd >= 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(bounds.DEATH_SECONDS):
                    await self._dead.wait()
        return self._dead.is_set()

    def kill(self) -> None:
        """End the process. What cannot be ended keeps memory that leads to no device of others."""
        try:
            if self._pidfd < 0:
                raise ProcessLookupError
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            log.warning("process %d held on to a window that was recalled: killed", self.pid)
        except OSError as fault:
            log.warning("process %d holds on to a window that was recalled: %s", self.pid, fault)

    def close(self) -> None:
        """Look at the process no more."""
        pidfd, self._pidfd = self._pidfd, -1
        if pidfd >= 0:
            asyncio.get_running_loop().remove_reader(pidfd)
            os.close(pidfd)
