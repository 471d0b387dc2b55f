"""Where the guest program runs: in a VM with a VF plugged in, or in a process beside the daemon."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from vaccel import bounds
from vaccel.admin import AdminClient
from vaccel.bench.private_host import PrivateHost, Progress
from vaccel.bench.where import Where
from vaccel.errors import HostFault
from vaccel.inventory import Output

PROFILE = "npu.2c.12g"
# Of every benchmark in a VM: the guest's memory; its VF's window, as a configuration has it.
GUEST_MEMORY = 2 << 30
WINDOW = "512 MiB"
# An ordinary user of the guest image, and where it mounts a VM's data.
USER = "app"
GUEST_DATA = "/srv/data"
GUEST_PROGRAM = "vaccel.bench.guest"
_VM = "guest"


class Place(Protocol):
    """Runs the guest program to its end."""

    def run(self, arguments: Sequence[str], module: str = GUEST_PROGRAM) -> str:
        """What ``python -m MODULE WORKLOAD DATA`` printed, with more arguments after the folder.

        The first argument is the workload. Raises HostFault, with the program's last line, where it
        fails.
        """


class InVm:
    """A VM that boots with the data as a disk, and gets the VF plugged in while it runs."""

    def __init__(
        self, host: PrivateHost, data: Path, progress: Progress, memory_bytes: int = 0
    ) -> None:
        self._admin: AdminClient = host.admin
        progress("find the guest image", -1.0)
        image = self._admin.build_image(progress=progress)
        vf = self._admin.create_vf(PROFILE)
        self._admin.start_vm(
            _VM,
            image=image.name,
            data_dir=str(data),
            memory_bytes=memory_bytes,
            progress=progress,
        )
        self._admin.attach_vf(vf.id, vm=_VM, progress=progress)

    def run(self, arguments: Sequence[str], module: str = GUEST_PROGRAM) -> str:
        """See ``Place``."""
        workload, *rest = arguments
        command = ["python3", "-m", module, workload, GUEST_DATA, *rest]
        out: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        code = -1
        for item in self._admin.exec_vm(_VM, command, user=USER):
            if isinstance(item, Output):
                out[item.stream] += item.data
            else:
                code = item
        return _checked(code, out["stdout"].decode(), out["stderr"].decode(errors="replace"))


class Local:
    """A process of this host, which reaches the VF over a unix socket."""

    def __init__(self, host: PrivateHost, data: Path, progress: Progress) -> None:
        self._data = data
        vf = host.admin.create_vf(PROFILE)
        vf = host.admin.attach_vf(vf.id, local=True, progress=progress)
        self._address = vf.socket if vf.socket.startswith("unix:") else f"unix:{vf.socket}"

    def run(self, arguments: Sequence[str], module: str = GUEST_PROGRAM) -> str:
        """See ``Place``."""
        workload, *rest = arguments
        command = [sys.executable, "-m", module, workload, str(self._data), *rest]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=os.environ | {"VACCELD_ADDRESS": self._address},
            timeout=bounds.COMPUTE_SECONDS,
            check=False,
        )
        return _checked(done.returncode, done.stdout, done.stderr)


def open_place(
    where: Where, host: PrivateHost, data: Path, progress: Progress, memory_bytes: int = 0
) -> Place:
    """Set up a place; the host's end takes it down. ``memory_bytes`` of a VM, 0 for the usual."""
    if where is Where.VM:
        return InVm(host, data, progress, memory_bytes)
    return Local(host, data, progress)


def _checked(code: int, stdout: str, stderr: str) -> str:
    if code:
        last = (stderr.strip().splitlines() or ["it wrote nothing"])[-1]
        raise HostFault(
            f"the guest program ended with {code}: {last}",
            hint="the error is the guest program's own",
        )
    return stdout
