"""The daemon's end of the fork server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import IO

from host_daemon.worker.spec import Descriptors, WorkerSpec
from vaccel import bounds
from vaccel.errors import HostFault, Unavailable, VaccelError, from_code

__all__ = ["ForkServer", "WorkerSpec"]

_REPLY_BYTES = 16 * bounds.KIB
# Libraries that would start threads, or report to others, when the fork server loads them.
_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "ORT_DISABLE_TELEMETRY": "1",
    # malloc asks for huge pages (glibc 2.35 and newer): weights and tensors of tens of MB come and
    # go in a worker, and a fault for each 4 KiB of them took half of a load. Only the first heap
    # grows by whole huge pages, so that the kernels' thread gets none of its own.
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1",
}
_INHERITED = ("PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV")


class ForkServer:
    """Starts workers. Its process is started when first needed, and again when it has died.

    ``log`` is the file that the fork server and all workers write to; without one they share the
    daemon's stderr.
    """

    def __init__(self, log: Path | None = None) -> None:
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._socket: socket.socket | None = None
        self._lock = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """Of the fork server's process, while there is one."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Start the process, unless it runs. Raises HostFault."""
        async with self._lock:
            if self._process is None:
                await self._launch()

    async def spawn(self, spec: WorkerSpec, fds: Descriptors) -> int:
        """A new worker that answers on its listener; its pid. The descriptors stay the caller's.

        Raises what the worker said of its start; Unavailable where the fork server died over it.
        Cancelled, it leaves no worker behind.
        """
        request = spec.encode()
        async with self._lock:
            await self._send(request, list(fds))
            answer = asyncio.ensure_future(self._receive(spec.vf))
            try:
                return await asyncio.shield(answer)
            except asyncio.CancelledError:
                with contextlib.suppress(VaccelError, ProcessLookupError):
                    os.kill(await answer, signal.SIGKILL)
                raise

    async def close(self) -> None:
        """End the process and reap it; workers live on."""
        async with self._lock:
            await self._drop()

    async def _send(self, request: bytes, descriptors: list[int]) -> None:
        if self._socket is not None:
            try:
                socket.send_fds(self._socket, [request], descriptors)
                return
            except ConnectionError:
                await self._drop()
        sock = await self._launch()
        socket.send_fds(sock, [request], descriptors)

    async def _receive(self, vf: str) -> int:
        assert self._socket is not None
        try:
            async with asyncio.timeout(bounds.WORKER_START_SECONDS + bounds.CALL_SECONDS):
                data = await asyncio.get_running_loop().sock_recv(self._socket, _REPLY_BYTES)
        except (TimeoutError, ConnectionError):
            data = b""
        if not data:
            await self._drop()
            raise Unavailable(f"fork server died over the worker of {vf}", hint="try again")
        reply = json.loads(data)
        if "code" in reply:
            raise from_code(reply["code"], reply["message"], reply["hint"])
        return int(reply["pid"])

    async def _launch(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {k: v for k, v in os.environ.items() if k in _INHERITED}
        with theirs, contextlib.ExitStack() as undo:
            undo.callback(ours.close)
            try:
                with self._output() as output:
                    self._process = await asyncio.create_subprocess_exec(
                        sys.executable,
                        "-m",
                        "host_daemon.worker.forkserver",
                        str(theirs.fileno()),
                        stdin=asyncio.subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                        env=environment | _ENVIRONMENT,
                        pass_fds=(theirs.fileno(),),
                        start_new_session=True,
                    )
            except OSError as fault:
                raise HostFault(f"fork server cannot be started: {fault}") from fault
            undo.pop_all()
        ours.setblocking(False)
        self._socket = ours
        return ours

    async def _drop(self) -> None:
        """Close the link, by which the process ends; insist where it does not."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        process, self._process = self._process, None
        if process is None:
            return
        try:
            async with asyncio.timeout(bounds.WORKER_STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def _output(self) -> contextlib.AbstractContextManager[IO[bytes] | None]:
        return contextlib.nullcontext() if self._log is None else self._log.open("ab")
