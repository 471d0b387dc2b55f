"""The Admin port: everything that an operator can do to a host. Firecracker's habit: one page shows
it all.

Long operations yield ``Progress`` and end with the object they were about. VFs and VMs are named by
id or by name. All raise ``vaccel.errors``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from vaccel.inventory import PF, VF, VM, Image, Output, Status
from vaccel.model import Cost


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long operation is; ``fraction`` is negative where unknown."""

    step: str
    fraction: float = -1.0


@dataclass(frozen=True, slots=True)
class VMRequest:
    """What VM to start. Zeros and "" take the host's defaults."""

    name: str
    image: str = ""
    memory_bytes: int = 0
    cpus: int = 0
    data_dir: str = ""
    tenant: str = ""
    wait: bool = True


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """A command for a VM."""

    name: str
    command: tuple[str, ...]
    user: str = ""
    stdin: bytes = b""
    timeout_seconds: int = 0


class Operations(Protocol):
    """See the module's text. Any time while the daemon runs, unless a method says otherwise."""

    async def status(self) -> Status:
        """The host at a glance."""

    async def pfs(self) -> Sequence[PF]:
        """The cards, and what is free on each."""

    async def create_vf(
        self, profile: str, pf: str, name: str, tenant: str, seed: str = ""
    ) -> VF:
        """Split off a VF. Raises NotFound for the profile, Exhausted naming what is free.

        ``seed`` is a text from which a card whose numbers are not exact draws its noise, so that
        other VFs repeat it; "" draws one that nobody knows. Unsupported where a card draws nothing.
        """

    async def vfs(self) -> Sequence[VF]:
        """All VFs."""

    async def vf(self, vf: str) -> VF:
        """One VF."""

    async def destroy_vf(self, vf: str, force: bool) -> None:
        """End a VF and scrub it. Raises WrongState while it is attached, unless forced."""

    def attach_vf(self, vf: str, vm: str, wait: bool) -> AsyncIterator[Progress | VF]:
        """Give a VF to a VM, or with ``vm`` "" to a local process. Only a VF that is ready."""

    def detach_vf(self, vf: str, force: bool) -> AsyncIterator[Progress | VF]:
        """Take a VF back. Only one that is attached."""

    def start_vm(self, request: VMRequest) -> AsyncIterator[Progress | VM]:
        """Start a VM."""

    async def vms(self) -> Sequence[VM]:
        """All VMs."""

    async def stop_vm(self, name: str, force: bool) -> None:
        """Stop a VM and forget it; its VFs are ready again, with a new epoch."""

    def console(self, name: str, follow: bool) -> AsyncIterator[bytes]:
        """A VM's serial console."""

    def exec_vm(self, request: ExecRequest) -> AsyncIterator[Output | int]:
        """Run a command in a VM; the last item is its exit code."""

    def build_image(self, recipe: str, rebuild: bool) -> AsyncIterator[Progress | Image]:
        """Build a guest image, or find it in the cache."""

    async def advance_clock(self, pf: str, seconds: float) -> PF:
        """Let a card's cells age. Raises Unsupported where it has none, InvalidArgument where time
        would run backwards.
        """

    async def recalibrate_vf(self, vf: str) -> tuple[VF, Cost]:
        """Have a VF compensate drift; what it cost. Raises Unsupported where nothing drifts."""

    async def images(self) -> Sequence[Image]:
        """Images in the cache."""
