"""The whole system for tests: a daemon of their own that can be killed, and guests to work in."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vaccel import bounds
from vaccel.admin import AdminClient
from vaccel.bench.private_host import PrivateHost
from vaccel.errors import VaccelError
from vaccel.inventory import VF, VM, Image, Output

PROFILE: Final = "npu.1c.6g"
USER: Final = "app"
_PROGRAMS: Final = Path(__file__).parent / "guest"
_POLL_SECONDS: Final = 0.01


def eventually(condition: Callable[[], object], seconds: float, what: str) -> float:
    """Look until a condition holds; how long that took. A failed look is a look that says no."""
    begun = time.monotonic()
    pause = threading.Event()
    last: object = None
    while (spent := time.monotonic() - begun) < seconds:
        try:
            last = condition()
        except VaccelError as fault:
            last = fault
        else:
            if last:
                return spent
        pause.wait(_POLL_SECONDS)
    raise AssertionError(f"{what}: not within {seconds:g} s; the last look gave {last!r}")


@dataclass(frozen=True)
class Done:
    """A command that has ended in a guest."""

    code: int
    stdout: str
    stderr: str

    def checked(self) -> str:
        """What it printed; it must have succeeded."""
        assert self.code == 0, f"exit code {self.code}: {self.stderr}{self.stdout}"
        return self.stdout


class System:
    """A context manager: a private daemon with its VMs, gone at the end."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._daemons: list[subprocess.Popen[bytes]] = []
        self.folder = Path()

    def __enter__(self) -> System:
        with ExitStack() as undo:
            undo.callback(self._reap)  # after the host's end, which kills what is left
            self._host = undo.enter_context(PrivateHost())
            self.folder = self._host.folder
            self.pid = self.admin.status().pid
            self._stack = undo.pop_all()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stack.close()

    def _reap(self) -> None:
        for daemon in self._daemons:
            if daemon.poll() is None:
                daemon.kill()
            daemon.wait()

    @property
    def admin(self) -> AdminClient:
        """The operator's way in."""
        return self._host.admin

    @property
    def log(self) -> str:
        """What the daemons of this system wrote."""
        return (self.folder / "vacceld.log").read_text(errors="replace")

    # --- the daemon -----------------------------------------------------------------------

    def kill_daemon(self) -> None:
        """SIGKILL, and nobody is left who could clean up."""
        os.kill(self.pid, signal.SIGKILL)
        if self._daemons:
            self._daemons[-1].wait()
        eventually(lambda: not _alive(self.pid), 20.0, f"the end of daemon {self.pid}")

    def start_daemon(self) -> float:
        """Another one over the same folders; seconds until it serves."""
        begun = time.monotonic()
        program = Path(sys.executable).parent / "vacceld"
        with (self.folder / "vacceld.log").open("ab") as log:
            daemon = subprocess.Popen(
                [str(program), "--config", str(self.folder / "vacceld.toml")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._daemons.append(daemon)
        eventually(
            lambda: daemon.poll() is not None or self.admin.status().pid == daemon.pid,
            bounds.WORKER_START_SECONDS,
            "a daemon that serves",
        )
        assert daemon.poll() is None, self.log[-2000:]
        self.pid = daemon.pid
        return time.monotonic() - begun

    def keeper(self) -> int:
        """The process that holds the windows of this daemon."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError):
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    ours = any(word.startswith(os.fsencode(self.folder)) for word in words)
                    if b"host_daemon.keeper.main" in words and ours:
                        return int(entry.name)
        raise AssertionError(f"no keeper of {self.folder}")

    # --- what there is --------------------------------------------------------------------

    def image(self) -> Image:
        """The guest image, from the cache."""
        return self.admin.build_image()

    def vm(self, name: str) -> VM:
        """A VM by name."""
        (found,) = [vm for vm in self.admin.vms() if vm.name == name]
        return found

    def attached(self, name: str, vm: str) -> VF:
        """A VF of that name, in that VM and enrolled, whatever was before."""
        found = {vf.name: vf for vf in self.admin.vfs()}
        vf = found.get(name) or self.admin.create_vf(PROFILE, name=name)
        if vf.state == "attached" and (vf.vm != vm or not vf.enrolled):
            vf = self.admin.detach_vf(vf.id)
        return vf if vf.state == "attached" else self.admin.attach_vf(vf.id, vm=vm)

    def alone(self, name: str, vm: str) -> VF:
        """The same, and no other VF in that VM."""
        for other in self.admin.vfs():
            if other.vm == vm and other.name != name:
                self.admin.destroy_vf(other.id, force=True)
        return self.attached(name, vm)

    # --- in a guest -----------------------------------------------------------------------

    def run(
        self,
        vm: str,
        command: Sequence[str],
        user: str = "",
        stdin: bytes = b"",
        seconds: int = 60,
    ) -> Done:
        """A command in a guest, to its end."""
        out = {"stdout": bytearray(), "stderr": bytearray()}
        code = 0
        for item in self.admin.exec_vm(vm, command, user, stdin, seconds):
            if isinstance(item, Output):
                out[item.stream] += item.data
            else:
                code = item
        return Done(code, *(out[s].decode(errors="replace") for s in ("stdout", "stderr")))

    def shell(self, vm: str, script: str, user: str = "", seconds: int = 60) -> str:
        """A shell script as root; what it printed."""
        return self.run(vm, ["sh", "-c", script], user, seconds=seconds).checked().strip()

    def program(
        self, vm: str, name: str, *arguments: str, user: str = USER, seconds: int = 60
    ) -> Done:
        """A program of ``tests/e2e/guest`` to its end."""
        command = ["python3", "-", *arguments]
        return self.run(vm, command, user, source(name), seconds)

    def app(self, vm: str, name: str, *arguments: str, user: str = USER) -> App:
        """A program of ``tests/e2e/guest`` that runs on beside the test."""
        return App(self, vm, name, arguments, user)

    def stop_agent(self, vm: str, signal_name: str) -> None:
        """Send a signal to the guest's agent."""
        self.shell(vm, f"kill -s {signal_name} {self.agent(vm)}")

    def agent(self, vm: str) -> int:
        """The process of the guest's agent, once there is one."""
        # There is no pgrep there. The brackets keep the search from finding itself.
        script = "grep -l '[g]uest_agent.main' /proc/[0-9]*/cmdline 2>/dev/null || true"
        found: list[str] = []

        def look() -> bool:
            found[:] = self.shell(vm, script).splitlines()
            return bool(found)

        eventually(look, 30.0, "an agent")
        return int(found[0].split("/")[2])


class App:
    """A program that runs in a guest in the background, with its output in a file there."""

    _count = 0

    def __init__(
        self, system: System, vm: str, name: str, arguments: Sequence[str], user: str
    ) -> None:
        App._count += 1
        self._system, self._vm = system, vm
        base = f"/tmp/{name}-{App._count}"
        self.log = f"{base}.log"
        store = f"cat >{base}.py && chmod 644 {base}.py"
        system.run(vm, ["sh", "-c", store], stdin=source(name)).checked()
        words = " ".join(arguments)
        script = (
            f"(python3 {base}.py {words} & echo pid $!; wait $!; echo exit $?) >{self.log} 2>&1 &"
        )
        system.shell(vm, script, user)

    def await_line(self, start: str, seconds: int = 60) -> str:
        """Until it has printed a line that begins so; that line."""
        # A loop that looks would cost the emulated CPU more than what it waits for.
        script = f"tail -n +1 -f {self.log} | grep -m 1 '^{start}'"
        try:
            return self._system.shell(self._vm, script, seconds=seconds)
        except VaccelError as fault:
            raise AssertionError(f"no line {start!r}: {fault}; it printed {self.text()}") from fault

    @property
    def pid(self) -> int:
        """Its process in the guest."""
        return int(self.await_line("pid ").split()[1])

    def text(self) -> str:
        """What it has printed."""
        return self._system.shell(self._vm, f"cat {self.log}")

    def end(self, seconds: int = 60) -> int:
        """Its exit code, once it has ended; 128 and the number of a signal that killed it."""
        return int(self.await_line("exit ", seconds).split()[1])

    def kill(self) -> None:
        """SIGKILL."""
        self._system.shell(self._vm, f"kill -9 {self.pid}")


def source(name: str) -> bytes:
    """A program of ``tests/e2e/guest``."""
    return (_PROGRAMS / f"{name}.py").read_bytes()


def _alive(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@contextlib.contextmanager
def in_background(work: Callable[[], object]) -> Iterator[list[object]]:
    """Run something in a thread meanwhile; at the end the list holds what it returned or raised."""
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(work())
        except VaccelError as fault:
            outcome.append(fault)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield outcome
    finally:
        thread.join(bounds.VM_BOOT_SECONDS)
        assert not thread.is_alive(), "what ran in the background has not ended"
