"""A QEMU process: started so that it outlives the daemon, watched by a pidfd, reaped once."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from host_daemon.hypervisors.qmp.folder import Record
from vaccel.errors import HostFault

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Process:
    """One process, held by a pidfd, so that its number can never come to mean another."""

    def __init__(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self._pidfd = pidfd
        self._status: int | None = None
        self._watched = False

    @classmethod
    def spawn(cls, arguments: Sequence[str], log: Path, descriptors: Sequence[int]) -> Process:
        """Start in a session of its own, with nothing of ours but ``descriptors`` and the log."""
        with log.open("ab") as output:
            child = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=descriptors,
                start_new_session=True,
                cwd="/",
            )
        # The pidfd waits for it. Popen must not: it would complain when the daemon lets go.
        child.returncode = 0
        return cls(child.pid, os.pidfd_open(child.pid))

    @classmethod
    def find(cls, record: Record) -> Process | None:
        """The process of a record, or None where it is gone or its number belongs to another."""
        try:
            pidfd = os.pidfd_open(record.pid)
        except (ProcessLookupError, OSError):
            return None
        process = cls(record.pid, pidfd)
        with suppress(OSError):
            if process.alive and process.record() == record:
                return process
        process.close()
        return None

    def record(self) -> Record:
        """What identifies it on this host, until the host boots. Raises OSError where gone."""
        stat = Path(f"/proc/{self.pid}/stat").read_text()
        # The second field is the program's name in parentheses, and may hold spaces.
        ticks = int(stat.rpartition(")")[2].split()[19])
        return Record(self.pid, ticks, _BOOT_ID.read_text().strip())

    @property
    def alive(self) -> bool:
        """Whether it runs; a zombie does not."""
        if self._status is not None or self._pidfd < 0:
            return False
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return not poll.poll(0)

    @property
    def ending(self) -> str:
        """How it ended, in words; "" where only its parent, an earlier daemon, could know."""
        if self._status is None:
            return ""
        code = os.waitstatus_to_exitcode(self._status)
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def watch(self, on_exit: Callable[[], None]) -> None:
        """Call once when it has ended and is reaped; needs the running loop."""

        def ended() -> None:
            self.unwatch()
            self.reap()
            on_exit()

        asyncio.get_running_loop().add_reader(self._pidfd, ended)
        self._watched = True

    def unwatch(self) -> None:
        """Stop watching."""
        if self._watched:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            self._watched = False

    def reap(self) -> None:
        """Collect the dead. Only a parent can; anybody else's child is its parent's to collect."""
        with suppress(ChildProcessError):
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid == self.pid:
                self._status = status

    def kill(self) -> None:
        """End it at once."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def kill_and_wait(self, seconds: float) -> None:
        """End it, wait, reap. For the undo of a start, where nobody watches yet."""
        self.unwatch()
        self.kill()
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        if not poll.poll(seconds * 1000):
            raise HostFault(
                f"process {self.pid} does not die",
                hint="it hangs in the kernel; see /proc/PID/stack",
            )
        self.reap()

    def close(self) -> None:
        """Let go of it, alive or dead."""
        self.unwatch()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
