"""QEMU as a hypervisor: starts VMs that outlive the daemon, and finds them again."""

from __future__ import annotations

import os
import re
import resource
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from host_daemon.core.hypervisor import Machine, MachineEvent, MachineSpec
from host_daemon.hypervisors.qmp import command_line
from host_daemon.hypervisors.qmp.disks import disk_format, make_overlay
from host_daemon.hypervisors.qmp.folder import SOCKET_PATH_BYTES, Folder, listen
from host_daemon.hypervisors.qmp.machine import QmpMachine
from host_daemon.hypervisors.qmp.probe import probe
from host_daemon.hypervisors.qmp.process import Process
from vaccel import bounds
from vaccel.errors import HostFault, InvalidArgument, Unavailable, WrongState

# Debian's package of each program.
PROGRAMS: Final = {
    command_line.QEMU: "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "socat": "socat",
}
# virtio-blk shows the guest 20 bytes of it.
_SERIAL: Final = re.compile(r"[A-Za-z0-9-]{1,20}")
_Listener = Callable[[MachineEvent], None]


class QmpHypervisor:
    """See ``Hypervisor``."""

    async def probe(self, override: str = "auto") -> tuple[str, str]:
        """See the port. Raises InvalidArgument for an override that is not auto, kvm or tcg."""
        _need(command_line.QEMU)
        return await probe(override)

    async def start(self, spec: MachineSpec, on_event: _Listener) -> Machine:
        """See the port. Also raises InvalidArgument, and WrongState where the VM runs already."""
        _check(spec)
        folder = Folder(spec.folder)
        with ExitStack() as undo:
            _make_folder(folder, spec.name, undo)
            formats = {}
            for disk in spec.disks:
                if disk.writable:
                    undo.callback(folder.overlay(disk.serial).unlink, missing_ok=True)
                    await make_overlay(disk.path, folder.overlay(disk.serial))
                else:
                    formats[disk.serial] = disk_format(disk.path)
            process = _spawn(spec, folder, formats, undo)
            machine = QmpMachine(spec, process, on_event)
            try:
                await machine.open()
            except Unavailable as error:
                await machine.stop(force=True)
                raise HostFault(
                    f"QEMU does not start: {error.message}", hint="mend what QEMU names"
                ) from error
            except BaseException:
                await machine.stop(force=True)
                raise
            undo.pop_all()
        return machine

    async def adopt(self, spec: MachineSpec, on_event: _Listener) -> Machine | None:
        """See the port. Raises Unavailable where QEMU runs and does not answer, HostFault."""
        folder = Folder(spec.folder)
        record = folder.read_record()
        process = Process.find(record) if record else None
        if process is None:
            folder.forget()
            return None
        machine = QmpMachine(spec, process, on_event)
        try:
            await machine.open()
        except BaseException:
            await machine.release()
            raise
        return machine


def _spawn(spec: MachineSpec, folder: Folder, formats: dict[str, str], undo: ExitStack) -> Process:
    """Start QEMU, limit it, and write down which process it is."""
    undo.callback(folder.forget)
    with listen(folder.monitor) as monitor, listen(folder.agent) as agent:
        inherited = command_line.Descriptors(monitor.fileno(), agent.fileno())
        words = command_line.arguments(spec, inherited, formats)
        try:
            process = Process.spawn(words, folder.log, (inherited.monitor, inherited.agent))
        except OSError as error:
            raise HostFault(f"{words[0]} cannot be started: {error.strerror}") from error
    with ExitStack() as kill:
        kill.callback(process.close)
        kill.callback(process.kill_and_wait, bounds.MONITOR_SECONDS)
        try:
            folder.write_record(process.record())
            limit = (bounds.VM_DESCRIPTORS, bounds.VM_DESCRIPTORS)
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limit)
        except OSError as error:
            raise HostFault(
                f"VM {spec.name}: its process {process.pid} cannot be limited or written down:"
                f" {error.strerror}",
                hint=f"see {folder.log}",
            ) from error
        kill.pop_all()
    return process


def _make_folder(folder: Folder, name: str, undo: ExitStack) -> None:
    """The VM's folder, without what an earlier run may have left in it."""
    record = folder.read_record()
    running = Process.find(record) if record else None
    if running is not None:
        running.close()
        raise WrongState(
            f"VM {name} runs already, as process {running.pid}", hint="adopt or stop it"
        )
    created = not folder.path.exists()
    try:
        folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.clear()
    except OSError as error:
        raise HostFault(
            f"folder {folder.path} of VM {name} cannot be made: {error.strerror}",
            hint="mend the state folder's permissions",
        ) from error
    undo.callback(shutil.rmtree, folder.path) if created else undo.callback(folder.clear)


def _check(spec: MachineSpec) -> None:
    """Refuse before anything is made. Raises InvalidArgument, HostFault."""
    if spec.accelerator not in ("kvm", "tcg"):
        raise InvalidArgument(f"accelerator {spec.accelerator!r}", hint="kvm or tcg")
    if spec.cpus < 1 or spec.memory_bytes < bounds.MIB or spec.memory_bytes % bounds.MIB:
        raise InvalidArgument(
            f"VM {spec.name} with {spec.cpus} CPUs and {spec.memory_bytes} bytes of memory",
            hint="at least one CPU, and memory in whole MiB",
        )
    for disk in spec.disks:
        if not disk.path.is_absolute():
            raise InvalidArgument(f"disk {disk.path} is not an absolute path")
        if not _SERIAL.fullmatch(disk.serial):
            raise InvalidArgument(
                f"disk serial {disk.serial!r}", hint="letters, digits and dashes, up to 20"
            )
    for path in (spec.kernel, spec.initrd, *(disk.path for disk in spec.disks)):
        if not os.access(path, os.R_OK):
            what = "cannot be read" if path.exists() else "does not exist"
            raise HostFault(f"{path} of VM {spec.name} {what}", hint="build the guest image")
    _need(command_line.QEMU)
    if any(disk.writable for disk in spec.disks):
        _need("qemu-img")
    if spec.guest_endpoint is not None:
        _need("socat")
        if len(os.fsencode(spec.guest_endpoint)) > SOCKET_PATH_BYTES:
            raise InvalidArgument(
                f"guest endpoint {spec.guest_endpoint} is longer than {SOCKET_PATH_BYTES} bytes",
                hint="choose a shorter run folder",
            )


def _need(program: str) -> None:
    if shutil.which(program) is None:
        raise HostFault(f"{program} is not installed", hint=f"apt install {PROGRAMS[program]}")
