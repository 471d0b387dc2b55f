"""The VF workers of this host: spawned, adopted after a restart of the daemon, killed to reset."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from host_daemon.control import processes
from host_daemon.control.cells import Lease
from host_daemon.control.keeper import KeptWindow
from host_daemon.core.reconcile import FoundWorker
from host_daemon.core.records import VfRecord
from host_daemon.worker.spec import Descriptors, WorkerSpec
from vaccel import bounds
from vaccel.aperture.journal import create_journal
from vaccel.aperture.window import create_window
from vaccel.errors import DeviceLost, HostFault, VaccelError
from vaccel.rpc.link_client import Hello, LinkCompute, fetch_window

log = logging.getLogger(__name__)


class Spawner(Protocol):
    """Starts worker processes that outlive their starter."""

    async def spawn(self, spec: WorkerSpec, fds: Descriptors) -> int:
        """The new worker's pid. The descriptors stay the caller's."""


class WindowKeeper(Protocol):
    """Holds the shared memory of VFs beyond the life of their workers and of this daemon."""

    @property
    def windows(self) -> Mapping[str, KeptWindow]:
        """What is held, by VF; the descriptors are not the caller's."""

    async def put(self, vf: str, window: KeptWindow) -> None:
        """Hold a window from here on, instead of the one before; it is the keeper's now."""

    async def drop(self, vf: str) -> None:
        """Let go of a window; one that is unknown is no error."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What all workers share."""

    folder: Path  # of their sockets, for this daemon only
    threads: int
    uid: int | None


@dataclass(frozen=True, slots=True)
class Worker:
    """A running worker and the link to it."""

    link: LinkCompute
    pid: int
    started: int


class Workers:
    """Workers by VF.

    ``on_lost(vf, epoch)`` is called when one dies that was not killed from here.
    """

    def __init__(
        self, spawner: Spawner, keeper: WindowKeeper, settings: WorkerSettings
    ) -> None:
        self._spawner = spawner
        self._keeper = keeper
        self._settings = settings
        self.on_lost: Callable[[str, int], None] = _unheard
        self._workers: dict[str, Worker] = {}

    def link(self, vf: str) -> LinkCompute:
        """The link to a VF's worker. Raises DeviceLost while there is none."""
        worker = self._workers.get(vf)
        if worker is None:
            raise DeviceLost(f"VF {vf} is being reset", hint="load programs and buffers again")
        return worker.link

    def runs(self, vf: str) -> bool:
        """Whether a VF has a worker, as far as is known."""
        return vf in self._workers

    def socket_path(self, vf: str) -> Path:
        """Where a VF's worker listens."""
        return self._settings.folder / f"{vf}.sock"

    def _identity_path(self, vf: str) -> Path:
        """Pid and start time: written as soon as there is a process, so that none is ever lost."""
        return self._settings.folder / f"{vf}.pid"

    def _scratch_path(self, vf: str) -> Path:
        return self._settings.folder / f"{vf}.scratch"

    async def spawn(
        self, vf: VfRecord, card: Path, header: bytes, cells: Lease | None = None
    ) -> Worker:
        """Start a VF's worker with a fresh window. Raises HostFault, and leaves nothing behind.

        ``cells`` is what it sees of its card's; the descriptor stays the caller's.
        """
        await self._keeper.put(vf.id, _fresh(vf.window_bytes))
        try:
            return await self.replace(vf, card, header, cells)
        except BaseException:
            await self._keeper.drop(vf.id)
            raise

    def kept(self) -> frozenset[str]:
        """The VFs whose window is held."""
        return frozenset(self._keeper.windows)

    def keeps(self, vf: str) -> bool:
        """Whether a VF's window is held, so that a worker that died can be replaced under it."""
        return vf in self._keeper.windows

    async def replace(
        self, vf: VfRecord, card: Path, header: bytes, cells: Lease | None = None
    ) -> Worker:
        """Start a worker with the window, doorbell and journal that the VF has, and its ``cells``.

        What the one before had under way ends with DeviceLost. Raises HostFault, also where the
        window is gone.
        """
        held = self._keeper.windows.get(vf.id)
        if held is None:
            raise HostFault(f"the window of {vf} is gone", hint="detach it and attach it again")
        path = self.socket_path(vf.id)
        with contextlib.ExitStack() as stack:
            window = held.copy()
            stack.callback(window.close)
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            path.unlink(missing_ok=True)
            listener.bind(str(path))
            listener.listen(64)
            path.chmod(0o600)
            lent = -1 if cells is None else cells.descriptor
            fds = Descriptors(
                window.memfd, window.doorbell, window.journal, listener.fileno(), lent
            )
            pid = await self._spawner.spawn(self._spec(vf, card, header, cells), fds)
            started = processes.start_time(pid)
            self._write_identity(vf.id, pid, started)
        try:
            return await self._connect(vf, pid, started)
        except BaseException:
            await self.end(vf.id)
            raise

    def _spec(
        self, vf: VfRecord, card: Path, header: bytes, cells: Lease | None
    ) -> WorkerSpec:
        spec = WorkerSpec(
            vf=vf.id,
            epoch=vf.epoch,
            card=str(card),
            profile=vf.profile,
            threads=self._settings.threads,
            header=header,
            window_bytes=vf.window_bytes,
            uid=self._settings.uid,
            gid=self._settings.uid,
            scratch=self._scratch(vf.id),
        )
        if cells is None:
            return spec
        return replace(
            spec,
            cells_offset=cells.offset,
            cells_bytes=cells.length,
            clock_seconds=cells.clock_seconds,
            seed=cells.seed.hex(),
        )

    def _scratch(self, vf: str) -> str:
        """A folder for traces where a worker cannot mount memory of its own: with our own user."""
        if self._settings.uid is not None:
            return ""
        folder = self._scratch_path(vf)
        folder.mkdir(mode=0o700, exist_ok=True)
        return str(folder)

    async def find(self) -> dict[str, FoundWorker]:
        """Workers that an earlier daemon started and that still run, by VF.

        Files of those that are gone are removed.
        """
        found = {}
        folder = self._settings.folder
        vfs = sorted({path.stem for kind in ("pid", "sock") for path in folder.glob(f"*.{kind}")})
        # Together: one that hangs costs its deadline, not all of them theirs.
        hellos = await asyncio.gather(*(self._ask(vf) for vf in vfs))
        for vf, hello in zip(vfs, hellos, strict=True):
            pid, started = _read_identity(self._identity_path(vf))
            if processes.alive(pid, started):
                # One that does not answer has the epoch of no record: it is replaced.
                found[vf] = FoundWorker(pid, started, hello.epoch if hello else 0)
            elif hello:
                # The daemon was killed before it had written who this is.
                started = processes.start_time(hello.pid)
                self._write_identity(vf, hello.pid, started)
                found[vf] = FoundWorker(hello.pid, started, hello.epoch)
            else:
                for pid in processes.listeners(self.socket_path(vf)):
                    await processes.kill(pid, processes.start_time(pid), bounds.WORKER_STOP_SECONDS)
                self._remove_files(vf)
        return found

    async def _ask(self, vf: str) -> Hello | None:
        try:
            link = await LinkCompute.connect(self.socket_path(vf), _nothing)
            try:
                return await link.hello()
            finally:
                await link.close()
        except VaccelError as fault:
            log.info("worker of %s does not answer: %s", vf, fault)
            return None

    async def adopt(self, vf: VfRecord) -> Hello:
        """Take over a worker that ``find`` saw. Raises HostFault where it answers no more."""
        pid, started = _read_identity(self._identity_path(vf.id))
        worker = await self._connect(vf, pid, started)
        if not self.keeps(vf.id):  # the keeper died with the daemon before
            descriptors = await asyncio.to_thread(fetch_window, self.socket_path(vf.id))
            await self._keeper.put(vf.id, KeptWindow(*descriptors))
        return await worker.link.hello()

    async def kill(self, vf: str) -> None:
        """Reset: the process, its memory and its window are gone when this returns."""
        await self.end(vf)
        await self._keeper.drop(vf)

    async def forget_strangers(self, known: Iterable[str]) -> None:
        """Let go of windows that belong to no VF of these."""
        for vf in set(self._keeper.windows) - set(known):
            await self._keeper.drop(vf)

    async def end(self, vf: str) -> None:
        """End the process and its device memory; the window stays, for another one."""
        await self._forget(vf)
        pid, started = _read_identity(self._identity_path(vf))
        await processes.kill(pid, started, bounds.WORKER_STOP_SECONDS)
        self._remove_files(vf)

    def _remove_files(self, vf: str) -> None:
        self.socket_path(vf).unlink(missing_ok=True)
        self._identity_path(vf).unlink(missing_ok=True)
        shutil.rmtree(self._scratch_path(vf), ignore_errors=True)

    def _write_identity(self, vf: str, pid: int, started: int) -> None:
        """As a whole or not at all: a daemon may be killed in the middle."""
        path = self._identity_path(vf)
        partial = path.with_suffix(".new")
        partial.write_text(f"{pid} {started}")
        partial.rename(path)

    def window(self, vf: str) -> KeptWindow:
        """A VF's window by descriptors of the caller's own. Raises DeviceLost where it is gone."""
        held = self._keeper.windows.get(vf)
        if held is None:
            raise DeviceLost(f"VF {vf} is being reset", hint="load programs and buffers again")
        return held.copy()

    async def release(self) -> None:
        """Let go of all workers without stopping them: the daemon is leaving."""
        for vf in list(self._workers):
            await self._forget(vf)

    async def _connect(self, vf: VfRecord, pid: int, started: int) -> Worker:
        def lost() -> None:
            if self._workers.pop(vf.id, None) is not None:
                self.on_lost(vf.id, vf.epoch)

        link = await LinkCompute.connect(self.socket_path(vf.id), lost)
        try:
            async with asyncio.timeout(bounds.WORKER_START_SECONDS):
                await link.hello()
        except (TimeoutError, VaccelError) as fault:
            await link.close()
            raise HostFault(f"worker of VF {vf.name} did not start: {fault}") from None
        worker = Worker(link, pid, started)
        self._workers[vf.id] = worker
        return worker

    async def _forget(self, vf: str) -> None:
        if worker := self._workers.pop(vf, None):
            await worker.link.close()


def _fresh(size: int) -> KeptWindow:
    """Memory of zeros from the kernel, and a doorbell that nobody rang."""
    with contextlib.ExitStack() as undo:
        memfd = create_window(size)
        undo.callback(os.close, memfd)
        doorbell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        undo.callback(os.close, doorbell)
        journal = create_journal(size)
        undo.pop_all()
    return KeptWindow(memfd, doorbell, journal)


def _nothing() -> None:
    return


def _unheard(_vf: str, _epoch: int) -> None:
    return


def _read_identity(path: Path) -> tuple[int, int]:
    try:
        pid, started = path.read_text().split()
        return int(pid), int(started)
    except (OSError, ValueError):
        return 0, 0
