"""The daemon's end of the keeper: what windows there are, over the lives of workers and daemons.

The daemon has descriptors of its own for each window it knows. So a keeper that dies is replaced,
and gets all of them again; a daemon that dies finds them with the keeper.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from host_daemon.keeper import protocol
from host_daemon.keeper.protocol import Op, Reply, Request, Status
from vaccel import bounds
from vaccel.errors import Exhausted, HostFault, Internal, VaccelError

log = logging.getLogger(__name__)

_INHERITED: Final = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "VIRTUAL_ENV")
_BACKLOG: Final = 8


@dataclass(frozen=True, slots=True)
class KeptWindow:
    """Descriptors of a VF's shared memory: window, doorbell (eventfd) and journal."""

    memfd: int
    doorbell: int
    journal: int

    @property
    def size(self) -> int:
        """Bytes of the window."""
        return os.fstat(self.memfd).st_size

    def copy(self) -> KeptWindow:
        """The same memory by descriptors of the caller's own."""
        with contextlib.ExitStack() as undo:
            copies = []
            for descriptor in (self.memfd, self.doorbell, self.journal):
                copies.append(fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 0))
                undo.callback(os.close, copies[-1])
            undo.pop_all()
        return KeptWindow(*copies)

    def close(self) -> None:
        """Close the descriptors; the memory lives on wherever else it is held."""
        for descriptor in (self.memfd, self.doorbell, self.journal):
            os.close(descriptor)


class Keeper:
    """Windows by VF. ``path`` is the keeper's socket; its process is started when first needed."""

    def __init__(self, path: Path, log_path: Path | None = None) -> None:
        self._path, self._log = path, log_path
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._held: dict[str, KeptWindow] = {}
        self._lock = asyncio.Lock()
        # A second descriptor of the socket, on which its end is seen.
        self._watched = -1
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Find the keeper, or start one, and take copies of all that it holds. Raises HostFault."""
        async with self._lock:
            found = await asyncio.to_thread(self._load)
            self._watch()
        self._held.update(found)

    @property
    def windows(self) -> Mapping[str, KeptWindow]:
        """What is held, by VF; the descriptors are not the caller's."""
        return self._held

    async def put(self, vf: str, window: KeptWindow) -> None:
        """Hold a window from here on; the descriptors are this object's. Raises HostFault."""
        if (old := self._held.pop(vf, None)) is not None:
            old.close()
        self._held[vf] = window
        async with self._lock:
            await asyncio.to_thread(self._put, vf)
            self._watch()

    async def drop(self, vf: str) -> None:
        """Let go of a window; one that is unknown is no error."""
        if (old := self._held.pop(vf, None)) is not None:
            old.close()
        async with self._lock:
            await asyncio.to_thread(self._ask, Request(Op.DROP, vf))
            self._watch()

    def _watch(self) -> None:
        """Hear of the keeper's end when it comes, not when it is needed."""
        loop = asyncio.get_running_loop()
        if self._watched >= 0:
            loop.remove_reader(self._watched)
            os.close(self._watched)
            self._watched = -1
        if self._socket is not None:
            self._watched = os.dup(self._socket.fileno())
            loop.add_reader(self._watched, self._heard)

    def _heard(self) -> None:
        if not self._lock.locked():  # else it is an answer, and its asker sees an end too
            asyncio.get_running_loop().remove_reader(self._watched)
            self._task = asyncio.create_task(self._mend(), name="keeper")

    async def _mend(self) -> None:
        async with self._lock:
            try:
                await asyncio.to_thread(self._ask, Request(Op.LIST))
            except VaccelError as fault:
                log.error("%s", fault)
            self._watch()

    def close(self) -> None:
        """Leave the keeper running and forget it."""
        if self._task is not None:
            self._task.cancel()
        if self._watched >= 0:
            asyncio.get_running_loop().remove_reader(self._watched)
            os.close(self._watched)
            self._watched = -1
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        for window in self._held.values():
            window.close()
        self._held.clear()

    # --- blocking, one at a time ----------------------------------------------------------------

    def _load(self) -> dict[str, KeptWindow]:
        found = {}
        for name in self._ask(Request(Op.LIST))[0].names:
            descriptors = self._ask(Request(Op.GET, name))[1]
            if len(descriptors) == protocol.DESCRIPTORS:
                found[name] = KeptWindow(*descriptors)
        return found

    def _put(self, vf: str) -> None:
        reply, _ = self._ask(Request(Op.PUT, vf))
        if reply.status is Status.FULL:
            raise Exhausted(f"the keeper holds {protocol.NAMES} windows, the most there can be")
        if reply.status is not Status.DONE:
            raise Internal(f"the keeper refused the window of {vf}: {reply.status.name}")

    def _ask(self, request: Request) -> tuple[Reply, list[int]]:
        if self._socket is not None:
            try:
                return self._exchange(self._socket, request)
            except (OSError, ValueError) as fault:
                log.warning("the keeper is gone: %s", fault)
                self._socket.close()
                self._socket = None
        self._socket = self._connect()
        try:
            return self._exchange(self._socket, request)
        except (OSError, ValueError) as fault:
            raise HostFault(f"the keeper on {self._path} does not answer: {fault}") from None

    def _exchange(self, sock: socket.socket, request: Request) -> tuple[Reply, list[int]]:
        given: list[int] = []
        if request.op is Op.PUT:
            window = self._held[request.name]
            given = [window.memfd, window.doorbell, window.journal]
        socket.send_fds(sock, [request.encode()], given)
        data, found, _, _ = socket.recv_fds(
            sock, protocol.REPLY_BYTES, protocol.DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
        )
        if not data:
            raise ConnectionResetError("it closed the connection")
        return protocol.parse_reply(data), found

    def _connect(self) -> socket.socket:
        """To the keeper that runs, or to a new one, which then gets all that is held here."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            sock.settimeout(bounds.CALL_SECONDS)
            try:
                sock.connect(str(self._path))
            except OSError:
                self._start()
                sock.connect(str(self._path))
                for vf in self._held:
                    self._exchange(sock, Request(Op.PUT, vf))
        except (OSError, ValueError) as fault:
            sock.close()
            raise HostFault(f"no keeper on {self._path}: {fault}") from None
        return sock

    def _start(self) -> None:
        if self._process is not None:
            self._process.poll()  # one of ours that has died is not left as a zombie
        environment = {k: v for k, v in os.environ.items() if k in _INHERITED}
        output = subprocess.DEVNULL if self._log is None else self._log.open("ab")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            self._path.unlink(missing_ok=True)
            listener.bind(str(self._path))
            self._path.chmod(0o600)
            listener.listen(_BACKLOG)
            number = listener.fileno()
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "host_daemon.keeper.main", str(number), str(self._path)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=environment,
                    pass_fds=(number,),
                    start_new_session=True,
                )
            finally:
                if not isinstance(output, int):
                    output.close()
        log.info("keeper started: process %d", self._process.pid)
