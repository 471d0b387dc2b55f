"""How an app gets a window's descriptors: over a plain unix socket beside the gRPC one.

::

    app:    {"context": "ctx-…", "layout_version": 1}
    lender: {"kind": "memfd" | "pci", "window_bytes": N, "layout_version": 1}
            with two descriptors: window, doorbell
       or:  {"code": "…", "message": "…", "hint": "…"}
    lender, later: {"code": …, "message": …}: the window is taken back, and the connection closes
    app, at last: an empty line, and the connection closes: nothing of it is mapped any more

Whoever can connect may map the window: the trust boundary is the VM. The context's name is asked
for so that the descriptors are those of its VF, and so that it ends with the process that borrowed.
An end without a word means that the lender died, or the app.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vaccel import bounds
from vaccel.aperture.borrower import Borrower
from vaccel.aperture.layout import LAYOUT_VERSION
from vaccel.errors import Exhausted, Unavailable, Unsupported, VaccelError, from_code

log = logging.getLogger(__name__)

MEMFD: Final = "memfd"
PCI: Final = "pci"
_SUFFIX: Final = ".window"
# What a side speaks that names no layout: versions before it was told had this one.
_UNTOLD: Final = 1
_LEFT: Final = b"\n"
_FD: Final = struct.Struct("i")


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


async def _nothing(_context: str) -> None:
    return


class Lender:
    """Serves a socket while it is entered.

    ``find`` gives a context's loan, or raises. ``on_death`` is called with the context of a
    borrower whose process has died, even where a child of it still holds all its connections.
    ``group`` is the socket's, -1 for that of this process.
    """

    def __init__(
        self,
        path: Path,
        mode: int,
        find: Callable[[str], Awaitable[Loan]],
        on_death: Callable[[str], Awaitable[None]] = _nothing,
        group: int = -1,
    ) -> None:
        self._path, self._mode, self._group = path, mode, group
        self._find, self._on_death = find, on_death
        self._borrowers: dict[socket.socket, Borrower] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None

    async def __aenter__(self) -> Lender:
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(str(self._path))
            os.chown(self._path, -1, self._group)
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
        borrower: Borrower | None = None
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        with contextlib.ExitStack() as undo:
            try:
                async with asyncio.timeout(bounds.CALL_SECONDS):
                    asked = _parse(await loop.sock_recv(sock, bounds.LENDING_BYTES))
                    borrower = await self._lend(sock, asked)
                undo.callback(borrower.close)
                await borrower.gone()
            except VaccelError as error:
                with contextlib.suppress(OSError):  # who asked has gone
                    await loop.sock_sendall(sock, _line(_failure(error)))
            except (OSError, TimeoutError) as fault:
                log.info("a borrower of a window left: %s", fault)
            finally:
                self._borrowers.pop(sock, None)
                sock.close()
            if borrower is not None:
                borrower.left.set()
                await self._settle(borrower)

    async def _settle(self, borrower: Borrower) -> None:
        """It has let go; where that was by dying, what else it held goes too."""
        if not await borrower.has_died():
            return
        log.info("process %d of context %s has died", borrower.pid, borrower.context)
        try:
            await self._on_death(borrower.context)
        except VaccelError as fault:
            log.info("context %s of a process that has died: %s", borrower.context, fault)

    async def _lend(self, sock: socket.socket, asked: dict[str, Any]) -> Borrower:
        if len(self._borrowers) >= bounds.LENDINGS:
            raise Exhausted(f"{bounds.LENDINGS} windows are lent, the most there can be")
        _check_layout("the app", asked, "the lender")
        context = str(asked.get("context", ""))[: bounds.NAME_BYTES]
        loan = await self._find(context)
        said = {"kind": loan.kind, "window_bytes": loan.window_bytes}
        try:
            answer = _line(said | {"layout_version": LAYOUT_VERSION})
            socket.send_fds(sock, [answer], [loan.window, loan.doorbell])
        finally:
            os.close(loan.window)
            os.close(loan.doorbell)
        borrower = self._borrowers[sock] = Borrower(loan.owner, loan.kind, context, sock)
        return borrower


async def _all_left(borrowers: Iterable[Borrower], seconds: float) -> bool:
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
        self.close_memory()
        self.let_go()

    def close_memory(self) -> None:
        """Close what was lent, unused."""
        os.close(self.window)
        os.close(self.doorbell)

    def let_go(self) -> None:
        """Tell the lender that nothing of the window is mapped any more. Again is no error."""
        with contextlib.suppress(OSError):  # it has gone, or takes no word that is late
            self.socket.send(_LEFT, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        with contextlib.suppress(OSError):
            # Not by closing alone: a child that was forked may have a copy.
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def borrow(path: Path, context: str, timeout: float = bounds.CALL_SECONDS) -> Borrowed:
    """Ask a lender for the window of a context. Blocking.

    Raises what the lender says, Unavailable where nobody lends, Unsupported where the windows that
    it lends are of another layout than this SDK's.
    """
    with contextlib.ExitStack() as undo:
        sock = undo.enter_context(socket.socket(socket.AF_UNIX))
        sock.settimeout(timeout)
        try:
            sock.connect(str(path))
            sock.sendall(_line({"context": context, "layout_version": LAYOUT_VERSION}))
            data, fds = _receive(sock)
        except OSError as fault:
            raise Unavailable(f"nobody lends a window on {path}: {fault}") from None
        for fd in fds:
            undo.callback(os.close, fd)
        said = _parse(data)
        if "code" in said:
            raise _error(said)
        _check_layout(f"the lender on {path}", said, "this SDK")
        if len(fds) != 2 or said.get("kind") not in (MEMFD, PCI):
            raise Unavailable(f"the lender on {path} sent {len(fds)} descriptors, 2 expected")
        undo.pop_all()
        sock.setblocking(False)
        return Borrowed(sock, str(said["kind"]), fds[0], fds[1], int(said["window_bytes"]))


def _receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """As ``socket.recv_fds``, which lets a program that starts just then inherit what comes."""
    room = socket.CMSG_LEN(2 * _FD.size)
    data, ancillary, *_ = sock.recvmsg(bounds.LENDING_BYTES, room, socket.MSG_CMSG_CLOEXEC)
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS)
    found = b"".join(some for level, kind, some in ancillary if (level, kind) == rights)
    whole = len(found) - len(found) % _FD.size
    return data, [fd for (fd,) in _FD.iter_unpack(found[:whole])]


def recalled(data: bytes) -> VaccelError:
    """Why a window was taken back; ``data`` is what came on the socket, empty at its end."""
    if not data:
        return Unavailable("whoever lent the window has gone")
    try:
        return _error(_parse(data))
    except VaccelError as fault:
        return fault


def _check_layout(who: str, said: dict[str, Any], here: str) -> None:
    """Raise Unsupported where the other side's windows are of another layout than this one's."""
    if (given := said.get("layout_version", _UNTOLD)) != LAYOUT_VERSION:
        raise Unsupported(
            f"{who} speaks window layout_version {given!r:.20}, {here} speaks {LAYOUT_VERSION}",
            hint="use the guest packages that came with the host's vaccel",
        )


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
