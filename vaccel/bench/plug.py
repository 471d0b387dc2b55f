"""The benchmark of plugging: a VF comes to a guest and is taken away again, under a running app."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from vaccel import bounds
from vaccel.admin import AdminClient
from vaccel.bench.overhead import THREADS
from vaccel.bench.place import GUEST_MEMORY, PROFILE, USER, WINDOW
from vaccel.bench.private_host import PrivateHost, Progress
from vaccel.bench.result import Result, head
from vaccel.errors import HostFault, VaccelError
from vaccel.inventory import Output

_VM: Final = "guest"
# How often to look whether the program has used a VF that came.
_LOOK_SECONDS: Final = 0.01
# A relay of the guest's network that is closed on one side goes within 30 s.
_SETTLE_SECONDS: Final = 35.0
_PROGRAM: Final = ("python3", "-m", "vaccel.bench.plug_guest")


@dataclass(slots=True)
class Cycles:
    """Seconds of each cycle: until the VF is enrolled, until an app's first command, until gone."""

    attach: list[float] = field(default_factory=list)
    command: list[float] = field(default_factory=list)
    detach: list[float] = field(default_factory=list)


class _App:
    """The program in the guest. What it prints is known at its end; its work is seen before."""

    def __init__(self, admin: AdminClient, vm: str, cycles: int) -> None:
        self._admin, self._vm, self._cycles = admin, vm, cycles
        self.end = ""
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        said = ""
        try:
            for item in self._admin.exec_vm(self._vm, (*_PROGRAM, str(self._cycles)), USER):
                if isinstance(item, Output):
                    said += item.data.decode(errors="replace")
                elif item:
                    self.end = f"it ended with {item}: {said.strip()[-500:]}"
        except VaccelError as fault:
            self.end = str(fault)

    def await_use(self, vf: str) -> None:
        """Until it has sent a command through the window of a VF. Raises HostFault."""
        end, pause = time.monotonic() + bounds.ENROL_SECONDS, threading.Event()
        while self._thread.is_alive() and time.monotonic() < end:
            usage = self._admin.vf(vf).usage
            if usage.queues and usage.descriptors:
                return
            pause.wait(_LOOK_SECONDS)
        raise HostFault(f"the guest program did not use {vf}: {self.end or 'it is silent'}")

    def finish(self) -> None:
        """Until it has ended. Raises HostFault where it failed."""
        self._thread.join(bounds.CALL_SECONDS)
        if self._thread.is_alive() or self.end:
            raise HostFault(f"the guest program: {self.end or 'it does not end'}")


def cycle(
    admin: AdminClient, vm: str, vf: str, count: int, each: Callable[[int], None]
) -> Cycles:
    """Attach and detach a VF so many times while an app in the VM uses it whenever it is there.

    Raises HostFault where the app loses anything that it should keep.
    """
    found, app = Cycles(), _App(admin, vm, count)
    for number in range(count):
        start = time.monotonic()
        admin.attach_vf(vf, vm=vm)
        attached = time.monotonic()
        app.await_use(vf)
        used = time.monotonic()
        admin.detach_vf(vf)
        found.attach.append(attached - start)
        found.command.append(used - start)
        found.detach.append(time.monotonic() - used)
        each(number + 1)
    app.finish()
    return found


def run(count: int, progress: Progress) -> dict[str, Any]:
    """Start a daemon and a VM, plug and unplug; the one object that the benchmark prints.

    ``grown`` in it names the processes that hold more descriptors than before.
    """
    with PrivateHost(threads=THREADS, progress=progress, window=WINDOW) as host:
        admin = host.admin
        image = admin.build_image(progress=progress)
        vf = admin.create_vf(PROFILE)
        admin.start_vm(_VM, image=image.name, memory_bytes=GUEST_MEMORY, progress=progress)
        (vm,) = admin.vms()
        cycle(admin, _VM, vf.id, 1, lambda _: None)  # what is loaded once is loaded
        watched = {"qemu": vm.pid, "vacceld": admin.status().pid}
        before = {name: _held(pid) for name, pid in watched.items()}

        def each(done: int) -> None:
            progress(f"cycle {done} of {count}", done / count)

        found = cycle(admin, _VM, vf.id, count, each)
        after = {name: _settled(pid, before[name][0]) for name, pid in watched.items()}
    figures: dict[str, Any] = {"cycles": count}
    for name in ("attach", "command", "detach"):
        p50, p99 = np.percentile(np.array(getattr(found, name)) * 1e3, (50, 99))
        figures |= {f"{name}_p50_ms": float(p50), f"{name}_p99_ms": float(p99)}
    for name in watched:
        figures |= {
            f"{name}_descriptors_more": after[name][0] - before[name][0],
            f"{name}_memory_more_bytes": after[name][1] - before[name][1],
        }
    figures["grown"] = [name for name in watched if figures[f"{name}_descriptors_more"] > 0]
    return asdict(Result(*head("plug", "vm"))) | {"rows": []} | figures


def _settled(pid: int, open_before: int) -> tuple[int, int]:
    """``_held``, once connections of the cycles that are closing have closed."""
    end, pause = time.monotonic() + _SETTLE_SECONDS, threading.Event()
    while (held := _held(pid))[0] > open_before and time.monotonic() < end:
        pause.wait(_LOOK_SECONDS)
    return held


def _held(pid: int) -> tuple[int, int]:
    """Open descriptors and resident bytes of a process. Raises HostFault where it is gone."""
    process = Path(f"/proc/{pid}")
    try:
        status = (process / "status").read_text()
        open_ones = len(list((process / "fd").iterdir()))
    except OSError as fault:
        raise HostFault(f"process {pid} did not outlive the cycles: {fault.strerror}") from None
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return open_ones, int(resident.split()[1]) << 10
