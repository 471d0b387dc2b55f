"""A real vacceld in a folder of its own, which tests start, kill, stop and start again."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import TracebackType

import grpc

from host_daemon.control.processes import descriptors
from vaccel.admin import AdminClient
from vaccel.errors import VaccelError
from vaccel.inventory import VF
from vaccel.rpc.address import open_channel
from vaccel.rpc.proxy import GrpcCompute

PROFILE = "npu.1c.6g"
PROGRAM = Path(sys.executable).parent / "vacceld"
SECONDS = 20.0

CONFIG = """\
[host]
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
worker_threads = 1

[images]
cache = "{folder}/images"
recipes = "{folder}/recipes"

[[pf]]
name = "npu0"
card = "kcloud-1"
"""


class DaemonHost:
    """A context manager; leaving it ends the daemon and every worker that it left."""

    def __init__(self, config: str = CONFIG, environment: Mapping[str, str] | None = None) -> None:
        self._config = config
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self.folder = Path()
        self.admin: AdminClient

    def __enter__(self) -> DaemonHost:
        # Unix sockets live below it: pytest's own temporary folders have names too long for that.
        self.folder = Path(tempfile.mkdtemp(prefix="vd-"))
        (self.folder / "recipes").mkdir()
        self.config.write_text(self._config.format(folder=self.folder))
        self.admin = AdminClient(f"unix:{self.control}")
        try:
            self.start()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._leave()

    def _leave(self) -> None:
        self.kill()
        self.admin.close()
        for pid in (*self.workers(), *listeners(self.folder / "run")):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def config(self) -> Path:
        return self.folder / "vacceld.toml"

    @property
    def control(self) -> Path:
        return self.folder / "run/control.sock"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What the daemon wrote since it was first started."""
        return (self.folder / "log").read_text(errors="replace")

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the daemon's process; the caller's to end where it is not this one."""
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [PROGRAM, "--config", self.config],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )

    def start(self) -> None:
        """Start it and wait until it serves."""
        assert self._process is None
        self._process = self.spawn()
        try:
            self.admin.wait_healthy(SECONDS)
        except VaccelError:
            raise AssertionError(f"the daemon does not serve:\n{self.log}") from None

    def kill(self) -> None:
        """SIGKILL, and wait."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM, and wait; its exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        return process.wait(SECONDS)

    def workers(self) -> list[int]:
        """Pids of the processes that listen on a worker's socket of this daemon."""
        return listeners(self.folder / "run/workers")

    def create(self, name: str, *, local: bool = False) -> VF:
        """A small VF, ready or attached to this host."""
        vf = self.admin.create_vf(PROFILE, name=name)
        return self.admin.attach_vf(vf.id, local=True) if local else vf

    @contextmanager
    def vf(self, name: str, *, local: bool = True) -> Iterator[VF]:
        """A small VF, destroyed at the end."""
        made = self.create(name, local=local)
        try:
            yield made
        finally:
            self.admin.destroy_vf(made.id, force=True)

    def clear(self) -> None:
        """Destroy all VFs."""
        for vf in self.admin.vfs():
            self.admin.destroy_vf(vf.id, force=True)


def listeners(folder: Path) -> list[int]:
    """Pids of all processes with a unix socket bound below a folder."""
    wanted = {
        f"socket:[{words[6]}]"
        for line in Path("/proc/net/unix").read_text().splitlines()
        if len(words := line.split(maxsplit=7)) == 8 and words[7].startswith(f"{folder}/")
    }
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            pid = int(entry.name)
            if not wanted.isdisjoint(descriptors(pid).values()):
                found.append(pid)
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@asynccontextmanager
async def channel(address: str) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to an address."""
    made = open_channel(address)
    try:
        yield made
    finally:
        await made.close(None)


@asynccontextmanager
async def compute(address: str) -> AsyncIterator[GrpcCompute]:
    """Compute at an address, with none of the SDK's checks."""
    async with channel(address) as made:
        client = GrpcCompute(made)
        try:
            yield client
        finally:
            await client.close()
