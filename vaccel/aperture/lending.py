"""How an app gets a window's descriptors: over a plain unix socket beside the gRPC one.

::

    app:    {"context": "ctx-…"}
    lender: {"kind": "memfd" | "pci", "window_bytes": N}   with two descriptors: window, doorbell
       or:  {"code": "…", "message": "…", "hint": "…"}
    lender, later: {"code": …, "message": …}: the window is taken back, and the connection closes

Whoever can connect may map the window: the trust boundary is the VM. The context's name is asked
for so that the descriptors are those of its VF. An end without a word means that the lender died.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vaccel import bounds
from vaccel.errors import Exhausted, Unavailable, VaccelError, from_code

log = logging.getLogger(__name__)

MEMFD: Final = "memfd"
PCI: Final = "pci"
_SUFFIX: Final = ".window"
# struct ucred of unix(7): pid, uid, gid.
_PEER: Final = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Loan:
    """Descriptors to lend, the lender's to close; ``owner`` is what a recall names."""

    owner: str
    kind: str
    window: int
    doorbell: int
    window_bytes: int


def lent_beside(path: Path) -> Path:
    """The socket that lends windows beside a gRPC one."""
    return path.with_name(path.name + _SUFFIX)


def path_of(address: str) -> Path | None:
    """Where windows are lent beside a gRPC address; None where that is no unix socket."""
    if not address.startswith("unix:/"):
        return None
    return lent_beside(Path(address.removeprefix("unix:")))


class Lender:
    """Serves a socket while it is entered. ``find`` gives a context's loan, or raises."""

    def __init__(self, path: Path, mode: int, find: Callable[[str], Awaitable[Loan]]) -> None:
        self._path, self._mode, self._find = path, mode, find
        self._borrowers: dict[socket.socket, _Borrower] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None

    async def __aenter__(self) -> Lender:
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(str(self._path))
            self._path.chmod(self._mode)
            listener.listen(64)
        except OSError:
            listener.close()
            raise
        listener.setblocking(False)
        self._listener = listener
        self._keep(asyncio.create_task(self._accept(listener), name="lender"))
        return self

    async def __aexit__(self, *_exc: object) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._listener is not None:
            self._listener.close()
        self._path.unlink(missing_ok=True)

    async def recall(
        self, owner: str, reason: VaccelError, seconds: float = bounds.RECALL_APP_SECONDS
    ) -> None:
        """Take an owner's window back from every borrower.

        That of a PCI function may soon be another's: returns when nobody has it any more, and those
        that hold on to it after ``seconds`` are killed, where they can be.
        """
        asked = {sock: one for sock, one in self._borrowers.items() if one.owner == owner}
        for sock in asked:
            with contextlib.suppress(OSError):  # it may be gone, which is as good
                sock.send(_line(_failure(reason)), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
                sock.shutdown(socket.SHUT_WR)
        held = [one for one in asked.values() if one.kind == PCI]
        if await _all_left(held, seconds):
            return
        for borrower in held:
            if not borrower.left.is_set():
                borrower.kill()
        await _all_left(held, seconds)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(listener)
            self._keep(asyncio.create_task(self._serve(sock), name="loan"))

    async def _serve(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with sock:
            sock.setblocking(False)
            try:
                async with asyncio.timeout(bounds.CALL_SECONDS):
                    asked = _parse(await loop.sock_recv(sock, bounds.LENDING_BYTES))
                    await self._lend(sock, str(asked.get("context", "")))
                await loop.sock_recv(sock, 1)  # until the app goes
            except VaccelError as error:
                with contextlib.suppress(OSError):  # who asked has gone
                    await loop.sock_sendall(sock, _line(_failure(error)))
            except (OSError, TimeoutError) as fault:
                log.info("a borrower of a window left: %s", fault)
            finally:
                if (borrower := self._borrowers.pop(sock, None)) is not None:
                    borrower.leave()

    async def _lend(self, sock: socket.socket, context: str) -> None:
        if len(self._borrowers) >= bounds.LENDINGS:
            raise Exhausted(f"{bounds.LENDINGS} windows are lent, the most there can be")
        loan = await self._find(context[: bounds.NAME_BYTES])
        try:
            answer = _line({"kind": loan.kind, "window_bytes": loan.window_bytes})
            socket.send_fds(sock, [answer], [loan.window, loan.doorbell])
        finally:
            os.close(loan.window)
            os.close(loan.doorbell)
        self._borrowers[sock] = _Borrower(loan, sock)


class _Borrower:
    """A process that has a window. Its socket's end says that it has let go."""

    def __init__(self, loan: Loan, sock: socket.socket) -> None:
        self.owner, self.kind = loan.owner, loan.kind
        self.left = asyncio.Event()
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        self.pid: int = _PEER.unpack(credentials)[0]
        self._pidfd = -1
        # One of another pid namespace has no number here, and one that has just died no descriptor.
        with contextlib.suppress(OSError, ValueError):
            self._pidfd = os.pidfd_open(self.pid)

    def kill(self) -> None:
        """End the process. What cannot be ended keeps memory that leads to no device of others."""
        try:
            if self._pidfd < 0:
                raise ProcessLookupError
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            log.warning("process %d held on to a window that was recalled: killed", self.pid)
        except OSError as fault:
            log.warning("process %d holds on to a window that was recalled: %s", self.pid, fault)

    def leave(self) -> None:
        """It has let go."""
        self.left.set()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


async def _all_left(borrowers: Iterable[_Borrower], seconds: float) -> bool:
    """Whether all of them have let go within some time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            for borrower in borrowers:
                await borrower.left.wait()
            return True
    return False


@dataclass(frozen=True, slots=True)
class Borrowed:
    """What an app got: the descriptors are its own now, and the socket, by which it is recalled."""

    socket: socket.socket
    kind: str
    window: int
    doorbell: int
    window_bytes: int

    def leave(self) -> None:
        """Let go of all of it, unused."""
        os.close(self.window)
        os.close(self.doorbell)
        self.socket.close()


def borrow(path: Path, context: str, timeout: float = bounds.CALL_SECONDS) -> Borrowed:
    """Ask a lender for the window of a context. Blocking.

    Raises what the lender says, Unavailable where nobody lends.
    """
    with contextlib.ExitStack() as undo:
        sock = undo.enter_context(socket.socket(socket.AF_UNIX))
        sock.settimeout(timeout)
        try:
            sock.connect(str(path))
            sock.sendall(_line({"context": context}))
            data, fds, _, _ = socket.recv_fds(sock, bounds.LENDING_BYTES, 2)
        except OSError as fault:
            raise Unavailable(f"nobody lends a window on {path}: {fault}") from None
        for fd in fds:
            undo.callback(os.close, fd)
        said = _parse(data)
        if "code" in said:
            raise _error(said)
        if len(fds) != 2 or said.get("kind") not in (MEMFD, PCI):
            raise Unavailable(f"the lender on {path} sent {len(fds)} descriptors, 2 expected")
        for fd in fds:
            os.set_inheritable(fd, False)
        undo.pop_all()
        sock.setblocking(False)
        return Borrowed(sock, str(said["kind"]), fds[0], fds[1], int(said["window_bytes"]))


def recalled(data: bytes) -> VaccelError:
    """Why a window was taken back; ``data`` is what came on the socket, empty at its end."""
    if not data:
        return Unavailable("whoever lent the window has gone")
    try:
        return _error(_parse(data))
    except VaccelError as fault:
        return fault


def _line(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode() + b"\n"


def _failure(error: VaccelError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message[:1000], "hint": error.hint[:500]}


def _error(said: dict[str, Any]) -> VaccelError:
    return from_code(str(said["code"]), str(said.get("message", "")), str(said.get("hint", "")))


def _parse(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unavailable(f"lending of windows: {data[:64]!r} is no request of ours")
    return found
