"""A daemon in this process: the operations of AdminClient over plain values, without a socket."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from vaccel.cli.main import run
from vaccel.cli.session import Session
from vaccel.errors import Exhausted, NotFound, WrongState
from vaccel.inventory import PF, VF, VM, Condition, Image, Output, Status
from vaccel.model import Cost, Profile, Usage

GIB = 1 << 30
SMALL = Profile("npu.1c.6g", "npu", 1, 6 * GIB, 102_400_000_000, 256 << 20)
LARGE = Profile("npu.2c.12g", "npu", 2, 12 * GIB, 204_800_000_000, 256 << 20)
CORES = 8


def _quiet(_step: str, _fraction: float) -> None:
    return


class FakeHost:
    """One card of eight cores. Ids count up; nothing waits."""

    def __init__(self) -> None:
        self.address = ""
        self.closed = 0
        self.calls: list[tuple[str, tuple[object, ...]]] = []
        self._vfs: dict[str, VF] = {}
        self._vms: dict[str, VM] = {}
        self._images: list[Image] = []
        self.output: list[Output | int] = [0]
        self.written = b""
        self.warnings: tuple[str, ...] = ()

    def __enter__(self) -> FakeHost:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed += 1

    def wait_healthy(self, timeout: float) -> None:
        return

    def status(self) -> Status:
        counts = (1, len(self._vfs), len(self._vms))
        why = "no vmx or svm in the CPU flags"
        return Status(
            "host-1", "9.8.7", 7, 3700, "tcg", why, "unix", *counts, GIB, 8 * GIB, self.warnings
        )

    def pfs(self) -> Sequence[PF]:
        owners = [""] * CORES
        for vf in self._vfs.values():
            for core in vf.cores:
                owners[core] = vf.name or vf.id
        free = owners.count("")
        fits = {SMALL.name: free, LARGE.name: free // 2}
        memory = sum(vf.profile.memory_bytes for vf in self._vfs.values())
        sizes = (CORES, free, 48 * GIB, 48 * GIB - memory, 1.0e9)
        kinds = ("pf-1", "npu0", "npu", "kcloud-1")
        return [PF(*kinds, *sizes, (SMALL, LARGE), fits, tuple(owners), "generic cloud NPU")]

    def create_vf(
        self, profile: str, pf: str = "", name: str = "", tenant: str = "", seed: str = ""
    ) -> VF:
        self.calls.append(("create_vf", (profile, pf, name, tenant)))
        found = {SMALL.name: SMALL, LARGE.name: LARGE}.get(profile)
        if found is None:
            raise NotFound(
                f"profile {profile!r} does not exist", hint="see: vaccelctl profile list"
            )
        free = [core for core, owner in enumerate(self.pfs()[0].core_owners) if not owner]
        if len(free) < found.cores:
            raise Exhausted(f"PF npu0 has {len(free)} free cores, {profile} needs {found.cores}")
        vf_id = f"vf-{len(self._vfs) + 1}"
        cores = tuple(free[: found.cores])
        owner = tenant or "default"
        rest = ("ready", 1, cores, "", "", False, 4242, Usage(), 1_700_000_000_000_000_000, "")
        self._vfs[vf_id] = VF(vf_id, name, owner, "npu0", found, *rest)
        return self._vfs[vf_id]

    def vfs(self) -> Sequence[VF]:
        return list(self._vfs.values())

    def vf(self, vf: str) -> VF:
        for one in self._vfs.values():
            if vf in (one.id, one.name):
                return one
        raise NotFound(f"VF {vf!r} does not exist", hint="see: vaccelctl vf list")

    def _change(self, vf: VF, **changes: object) -> VF:
        self._vfs[vf.id] = replace(vf, **changes)
        return self._vfs[vf.id]

    def destroy_vf(self, vf: str, force: bool = False) -> None:
        found = self.vf(vf)
        if found.state == "attached" and not force:
            raise WrongState(f"VF {vf} is attached", hint="detach it first: vaccelctl vf detach")
        del self._vfs[found.id]

    def attach_vf(
        self,
        vf: str,
        vm: str = "",
        local: bool = False,
        wait: bool = True,
        progress: Callable[[str, float], None] = _quiet,
    ) -> VF:
        self.calls.append(("attach_vf", (vf, vm, local, wait)))
        progress("plug the VF in", 0.5)
        state = "attached" if wait else "attaching"
        socket = "/run/vacceld/vf-1.sock" if local else ""
        return self._change(self.vf(vf), state=state, vm=vm, socket=socket, enrolled=wait)

    def detach_vf(
        self, vf: str, force: bool = False, progress: Callable[[str, float], None] = _quiet
    ) -> VF:
        self.calls.append(("detach_vf", (vf, force)))
        return self._change(self.vf(vf), state="ready", vm="", socket="", enrolled=False)

    def start_vm(
        self,
        name: str,
        image: str = "",
        memory_bytes: int = 0,
        cpus: int = 0,
        data_dir: str = "",
        tenant: str = "",
        wait: bool = True,
        progress: Callable[[str, float], None] = _quiet,
    ) -> VM:
        self.calls.append(("start_vm", (name, image, memory_bytes, cpus, data_dir, tenant, wait)))
        progress("boot the guest", -1.0)
        sizes = (memory_bytes or 512 << 20, cpus or 1)
        state = "running" if wait else "starting"
        rest = (image or "debian", "tcg", (), 1_700_000_000_000_000_000, "")
        self._vms[name] = VM("vm-1", name, tenant or "default", state, 4243, *sizes, *rest)
        return self._vms[name]

    def vms(self) -> Sequence[VM]:
        return list(self._vms.values())

    def stop_vm(self, name: str, force: bool = False) -> None:
        self.calls.append(("stop_vm", (name, force)))
        self._vms.pop(name)

    def console(self, name: str, follow: bool = False) -> Iterator[bytes]:
        self.calls.append(("console", (name, follow)))
        yield b"Debian \x1b[2Jboots\r\n"
        yield "caf\N{LATIN SMALL LETTER E WITH ACUTE}\n".encode()

    def exec_vm(
        self,
        name: str,
        command: Sequence[str],
        user: str = "",
        stdin: bytes = b"",
        timeout_seconds: int = 0,
    ) -> Iterator[Output | int]:
        self.calls.append(("exec_vm", (name, tuple(command), user, timeout_seconds)))
        self.written = stdin
        yield from self.output

    def build_image(
        self,
        recipe: str = "",
        rebuild: bool = False,
        progress: Callable[[str, float], None] = _quiet,
    ) -> Image:
        self.calls.append(("build_image", (recipe, rebuild)))
        progress("fetch packages", 0.25)
        where = "/var/cache/vaccel/debian"
        image = Image(
            recipe or "debian", "ab" * 32, 300 << 20, 1_700_000_000_000_000_000, True, where
        )
        self._images.append(image)
        return image

    def advance_clock(self, pf: str, seconds: float) -> PF:
        self.calls.append(("advance_clock", (pf, seconds)))
        clock = Condition("cell clock", seconds, "s", "moved by the operator only")
        return replace(self.pfs()[0], conditions=(clock,))

    def recalibrate_vf(self, vf: str) -> tuple[VF, Cost]:
        self.calls.append(("recalibrate_vf", (vf,)))
        worn = Condition("worst wear", 0.85, "1", "of endurance", "warning")
        health = Condition("health", 1.0, "", "worst wear", "warning")
        age = Condition("cell age", 86_400.0, "s")
        found = self._change(self.vf(vf), conditions=(health, age, worn))
        return found, Cost(joules={"adc": 1.5e-5}, end_ns=45_500)

    def images(self) -> Sequence[Image]:
        return self._images


@dataclass
class Shell:
    """Types commands to vaccelctl and keeps what came back."""

    host: FakeHost
    capsys: pytest.CaptureFixture[str]
    code: int = 0
    out: str = ""
    err: str = ""
    addresses: list[str] = field(default_factory=list)

    def __call__(self, line: str, *more: str) -> Shell:
        def connect(address: str) -> FakeHost:
            self.addresses.append(address)
            return self.host

        self.code = run([*line.split(), *more], Session(connect=connect))
        self.out, self.err = self.capsys.readouterr()
        return self


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture
def ctl(
    host: FakeHost, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shell]:
    for name in ("VACCELCTL_ADDRESS", "VACCELCTL_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        yield Shell(host, capsys)
