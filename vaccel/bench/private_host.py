"""A daemon of one's own: in a temporary folder, with one card, gone without a trace at the end.

>>> with PrivateHost() as host:
...     vf = host.admin.create_vf("npu.2c.12g")
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, TracebackType

from vaccel import bounds
from vaccel.admin import AdminClient
from vaccel.errors import HostFault, InvalidArgument, VaccelError

Progress = Callable[[str, float], None]

_CONFIG = """\
[host]
state_dir = "{folder}/state"
runtime_dir = "{folder}/run"
worker_threads = {threads}

[[pf]]
name = "npu0"
card = {card}
{window}"""

# How often to look whether a process is up, or gone.
_POLL_SECONDS = 0.05


class PrivateHost:
    """A context manager: inside, ``admin`` talks to a daemon that nobody else knows.

    ``card`` is a name of the catalogue, or a file's path. ``folder`` is free for inputs; it goes
    away with the daemon. Raises InvalidArgument for a card that there is not, HostFault where the
    daemon does not come up, with the last line that it wrote.
    """

    def __init__(
        self,
        card: str = "kcloud-1",
        threads: int = 2,
        progress: Progress | None = None,
        window: str = "",
    ) -> None:
        self._window = f'window = "{window}"\n' if window else ""
        self._card = str(Path(card).absolute()) if "/" in card else card
        self._threads = threads
        self._tell = progress or (lambda step, fraction: None)
        self._exit = contextlib.ExitStack()
        self.folder = Path()
        self.admin: AdminClient

    def __enter__(self) -> PrivateHost:
        with contextlib.ExitStack() as undo:
            undo.enter_context(_terminable())
            self.folder = Path(tempfile.mkdtemp(prefix="vaccel-"))
            undo.callback(shutil.rmtree, self.folder, ignore_errors=True)
            # Workers are another user: they may pass, and not look around.
            self.folder.chmod(0o711)
            undo.callback(_end_leftovers, self.folder)
            self._tell("start a private daemon", -1.0)
            process = self._spawn()
            undo.callback(_end, process)
            self.admin = AdminClient(f"unix:{self.folder}/run/control.sock")
            undo.callback(self.admin.close)
            self._await_healthy(process)
            undo.callback(self._clear)
            self._exit = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tell("stop everything", -1.0)
        with _uninterrupted():
            self._exit.close()

    def _spawn(self) -> subprocess.Popen[bytes]:
        program = Path(sys.executable).parent / "vacceld"
        if not program.exists():
            raise HostFault(f"{program} is not there", hint="run `make setup`")
        config = self.folder / "vacceld.toml"
        config.write_text(
            _CONFIG.format(
                folder=self.folder,
                threads=self._threads,
                card=json.dumps(self._card),  # a string of JSON is one of TOML
                window=self._window,
            )
        )
        with (self.folder / "vacceld.log").open("wb") as log:
            # A session of its own: Ctrl-C is for this program, which stops the daemon in order.
            return subprocess.Popen(
                [str(program), "--config", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _await_healthy(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + bounds.WORKER_START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            try:
                self.admin.wait_healthy(1.0)
                return
            except VaccelError:
                time.sleep(_POLL_SECONDS)
        lines = (self.folder / "vacceld.log").read_text(errors="replace").strip().splitlines()
        state = "does not answer" if process.poll() is None else f"ended with {process.returncode}"
        said = lines[-1] if lines else "it wrote nothing"
        if process.returncode == InvalidArgument.exit_code:  # the card: the rest is ours
            raise InvalidArgument(said.removeprefix("vacceld: [[pf]] npu0: "))
        raise HostFault(
            f"the private daemon {state}: {said}",
            hint="run vacceld with a configuration of yours to see more",
        )

    def _clear(self) -> None:
        """End VMs and VFs in order; whatever resists is ended with its process afterwards."""
        with contextlib.suppress(VaccelError):
            for vm in self.admin.vms():
                with contextlib.suppress(VaccelError):
                    self.admin.stop_vm(vm.name, force=True)
            for vf in self.admin.vfs():
                with contextlib.suppress(VaccelError):
                    self.admin.destroy_vf(vf.id, force=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(bounds.WORKER_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_leftovers(folder: Path) -> None:
    """Kill what outlived the daemon, as workers do by design."""
    deadline = time.monotonic() + bounds.WORKER_STOP_SECONDS
    while (left := list(_listening(folder))) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_SECONDS)


def _listening(folder: Path) -> Iterator[int]:
    """Processes with a unix socket bound under a folder: daemon, workers, QEMU; no onlooker."""
    sockets = {
        f"socket:[{words[6]}]"
        for line in Path("/proc/net/unix").read_text().splitlines()
        if len(words := line.split(maxsplit=7)) == 8 and words[7].startswith(f"{folder}/")
    }
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                if any(os.readlink(fd) in sockets for fd in (entry / "fd").iterdir()):
                    yield int(entry.name)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that a killed demo still cleans up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(_signal: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold back a second Ctrl-C: cleaning up takes seconds, half of it leaves processes behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
