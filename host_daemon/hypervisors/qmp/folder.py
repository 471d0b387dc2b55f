"""What a VM's folder holds: sockets, logs, and the record by which a later daemon finds the VM."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from vaccel.errors import HostFault

# sockaddr_un.sun_path holds 108 bytes with its terminator (unix(7)).
SOCKET_PATH_BYTES: Final = 107


@dataclass(frozen=True, slots=True)
class Record:
    """Which process runs the VM. A pid alone would be believed after it was given to another."""

    pid: int
    start_ticks: int  # field 22 of /proc/PID/stat: clock ticks between boot and start
    boot_id: str  # of the host; pids and ticks start over when it boots


@dataclass(frozen=True, slots=True)
class Folder:
    """The names in a VM's folder."""

    path: Path

    @property
    def monitor(self) -> Path:
        """QEMU's monitor socket; it serves one client at a time."""
        return self.path / "qmp.sock"

    @property
    def agent(self) -> Path:
        """The socket behind which the guest agent answers."""
        return self.path / "agent.sock"

    @property
    def console(self) -> Path:
        """What the guest printed to its serial port, lately."""
        return self.path / "console.log"

    @property
    def console_before(self) -> Path:
        """What it printed before that; see console.py."""
        return self.path / "console.log.1"

    @property
    def log(self) -> Path:
        """QEMU's own messages."""
        return self.path / "qemu.log"

    @property
    def log_before(self) -> Path:
        """QEMU's messages before those."""
        return self.path / "qemu.log.1"

    @property
    def record(self) -> Path:
        """The record: it exists as long as the VM is meant to run."""
        return self.path / "machine.json"

    def overlay(self, serial: str) -> Path:
        """The writable layer over a disk that is never written itself."""
        return self.path / f"{serial}.qcow2"

    def write_record(self, record: Record) -> None:
        """Replace the record at once: a reader sees the old one or the new one."""
        draft = self.record.with_suffix(".draft")
        draft.write_text(json.dumps(asdict(record)) + "\n")
        draft.replace(self.record)

    def read_record(self) -> Record | None:
        """The record, or None where there is none. Raises HostFault where it cannot be read."""
        try:
            fields = json.loads(self.record.read_bytes())
            return Record(int(fields["pid"]), int(fields["start_ticks"]), str(fields["boot_id"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise HostFault(
                f"{self.record} is not a VM's record: {error}",
                hint="check whether its QEMU still runs, then remove the VM's folder",
            ) from error

    def clear(self) -> None:
        """Remove what an earlier run of the VM wrote, but for its overlays."""
        self.forget()
        for log in (self.console, self.console_before, self.log, self.log_before):
            log.unlink(missing_ok=True)

    def forget(self) -> None:
        """Remove what only a running VM needs. Logs and overlays stay."""
        for path in (self.record, self.monitor, self.agent):
            path.unlink(missing_ok=True)


@contextmanager
def socket_address(path: Path) -> Iterator[str]:
    """A name for ``path`` that fits a socket address, however deep the folder lies."""
    if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


def listen(path: Path) -> socket.socket:
    """A listening socket for QEMU to inherit, so that a client can connect before QEMU is up."""
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with socket_address(path) as address:
            server.bind(address)
        path.chmod(0o600)
        server.listen(1)
    except OSError as error:
        server.close()
        path.unlink(missing_ok=True)
        raise HostFault(f"cannot listen on {path}: {error.strerror}") from error
    return server


def connect(path: Path) -> socket.socket:
    """A connected, non-blocking socket. Raises OSError."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        with socket_address(path) as address:
            client.connect(address)
    except OSError:
        client.close()
        raise
    return client
