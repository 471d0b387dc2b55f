"""The port of hypervisors: what the daemon asks of whatever runs its VMs.

Life
    ``start`` (returns when the process runs) → ``wait_ready`` (the guest answers) → ``plug`` and
    ``unplug`` windows, ``execute`` commands → ``stop``. VMs outlive the daemon: ``adopt`` finds one
    again after a restart.

A driver holds no truth of its own: what it must know to find a VM again is in the VM's folder.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk of a VM. A writable one gets an overlay in the VM's folder.

    The file itself is never written.
    """

    path: Path
    serial: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """What to start. ``folder`` is the VM's own: sockets, console log, overlay."""

    id: str
    name: str
    folder: Path
    kernel: Path
    initrd: Path
    command_line: str
    disks: tuple[Disk, ...]
    memory_bytes: int
    cpus: int
    accelerator: str  # kvm or tcg
    # A unix socket of the host that the guest reaches as guest_address, and nothing else.
    guest_endpoint: Path | None
    guest_address: str = "10.0.2.100:7443"


@dataclass(frozen=True, slots=True)
class WindowPlug:
    """A VF's window on its way into a VM: the descriptors stay the caller's to close."""

    device: str  # unique within the VM; letters, digits and dashes
    memfd: int
    doorbell: int  # the worker's eventfd
    size: int


@dataclass(frozen=True, slots=True)
class Output:
    """A piece of a command's output."""

    stream: str  # stdout or stderr
    data: bytes


@dataclass(frozen=True, slots=True)
class Exit:
    """How a command ended: its code, or minus the signal's number."""

    code: int


@dataclass(frozen=True, slots=True)
class MachineEvent:
    """What a VM did by itself.

    ``reset`` (the guest rebooted), ``died``, or ``unplugged`` with the device.
    """

    kind: str
    device: str = ""
    reason: str = ""


class Machine(Protocol):
    """One running VM."""

    @property
    def pid(self) -> int:
        """The process that runs the VM."""

    @property
    def alive(self) -> bool:
        """Whether it still runs."""

    async def wait_ready(self, timeout: float) -> None:
        """Until the guest answers commands.

        Raises TimedOut, or HostFault with the console's last lines.
        """

    async def plug(self, window: WindowPlug) -> None:
        """Hot-plug a window. Raises WrongState where that device is plugged already."""

    async def unplug(self, device: str, timeout: float, force: bool = False) -> None:
        """Hot-unplug, waiting for the guest to let go. Unplugging what is not there is no error."""

    async def plugged(self) -> Sequence[str]:
        """Devices that are plugged now."""

    def execute(
        self, command: Sequence[str], *, user: str = "", stdin: bytes = b"", timeout: float = 600.0
    ) -> AsyncIterator[Output | Exit]:
        """Run a command in the guest; the last item is an Exit."""

    def console(self, follow: bool = False) -> AsyncIterator[bytes]:
        """The serial console from its beginning."""

    async def stop(self, force: bool = False, timeout: float = 30.0) -> None:
        """Ask the guest to power off, then insist. Returns when the process is gone and reaped."""

    async def release(self) -> None:
        """Let go of the VM without stopping it: the daemon is leaving."""


class Hypervisor(Protocol):
    """A driver."""

    async def probe(self, override: str = "auto") -> tuple[str, str]:
        """(accelerator, why): kvm only after a guest answered under it.

        Raises HostFault without QEMU.
        """

    async def start(self, spec: MachineSpec, on_event: Callable[[MachineEvent], None]) -> Machine:
        """Start a VM. Raises HostFault naming what is missing.

        Leaves nothing behind when it fails.
        """

    async def adopt(
        self, spec: MachineSpec, on_event: Callable[[MachineEvent], None]
    ) -> Machine | None:
        """The VM that an earlier daemon started, or None where it is gone."""
