"""AdminClient: what an operator's program does to a host. Blocking; one method per operation.

>>> with AdminClient() as host:
...     vf = host.create_vf("npu.2c.12g")
...     host.attach_vf(vf.id, vm="web-1")
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, TypeVar

from vaccel import errors, forks, loop
from vaccel.inventory import PF, VF, VM, Image, Output, Status
from vaccel.model import Cost
from vaccel.rpc import address as addresses
from vaccel.rpc.admin_client import GrpcOperations

T = TypeVar("T")

# Called with a line that says what is going on, and the fraction done, negative where unknown.
OnProgress = Callable[[str, float], None]


def _quiet(_step: str, _fraction: float) -> None:
    return


class AdminClient:
    """The operations of ``vaccel.operations``, blocking. Every method raises ``vaccel.errors``."""

    def __init__(self, address: str = "") -> None:
        where = address or os.environ.get("VACCELCTL_ADDRESS", "") or addresses.CONTROL
        self.address = addresses.check(where)
        self._operations: GrpcOperations = loop.run(self._connect())

    async def _connect(self) -> GrpcOperations:
        return GrpcOperations(addresses.open_channel(self.address), self.address)

    def __enter__(self) -> AdminClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; in a forked child it is the parent's."""
        if not forks.is_child():
            loop.run(self._operations.close())

    def wait_healthy(self, timeout: float) -> None:
        """Until the daemon serves. Raises TimedOut."""
        loop.run(self._operations.wait_healthy(timeout))

    def status(self) -> Status:
        """The host at a glance."""
        return loop.run(self._operations.status())

    def pfs(self) -> Sequence[PF]:
        """The cards."""
        return loop.run(self._operations.pfs())

    def create_vf(
        self, profile: str, pf: str = "", name: str = "", tenant: str = "", seed: str = ""
    ) -> VF:
        """Split off a VF; with a ``seed`` its noise can be repeated."""
        return loop.run(self._operations.create_vf(profile, pf, name, tenant, seed))

    def vfs(self) -> Sequence[VF]:
        """All VFs."""
        return loop.run(self._operations.vfs())

    def vf(self, vf: str) -> VF:
        """One VF, by id or name."""
        return loop.run(self._operations.vf(vf))

    def destroy_vf(self, vf: str, force: bool = False) -> None:
        """End a VF; ``force`` detaches it first."""
        loop.run(self._operations.destroy_vf(vf, force))

    def attach_vf(
        self,
        vf: str,
        vm: str = "",
        local: bool = False,
        wait: bool = True,
        progress: OnProgress = _quiet,
    ) -> VF:
        """Give a VF to a VM, or to local processes; ``wait`` until it can be used there."""
        if bool(vm) == local:
            raise errors.InvalidArgument(
                f"attach of {vf!r}: to vm {vm!r} and local={local}", hint="give one of the two"
            )
        return _last(self._operations.attach_vf(vf, vm, wait), progress, VF)

    def detach_vf(self, vf: str, force: bool = False, progress: OnProgress = _quiet) -> VF:
        """Take a VF back."""
        return _last(self._operations.detach_vf(vf, force), progress, VF)

    def start_vm(
        self,
        name: str,
        image: str = "",
        memory_bytes: int = 0,
        cpus: int = 0,
        data_dir: str = "",
        tenant: str = "",
        wait: bool = True,
        progress: OnProgress = _quiet,
    ) -> VM:
        """Start a VM; ``wait`` until it answers commands."""
        from vaccel.operations import VMRequest

        request = VMRequest(name, image, memory_bytes, cpus, data_dir, tenant, wait)
        return _last(self._operations.start_vm(request), progress, VM)

    def vms(self) -> Sequence[VM]:
        """All VMs."""
        return loop.run(self._operations.vms())

    def stop_vm(self, name: str, force: bool = False) -> None:
        """Stop a VM."""
        loop.run(self._operations.stop_vm(name, force))

    def console(self, name: str, follow: bool = False) -> Iterator[bytes]:
        """A VM's serial console."""
        return _each(self._operations.console(name, follow))

    def exec_vm(
        self,
        name: str,
        command: Sequence[str],
        user: str = "",
        stdin: bytes = b"",
        timeout_seconds: int = 0,
    ) -> Iterator[Output | int]:
        """Run a command in a VM; the last item is its exit code."""
        from vaccel.operations import ExecRequest

        request = ExecRequest(name, tuple(command), user, stdin, timeout_seconds)
        return _each(self._operations.exec_vm(request))

    def build_image(
        self, recipe: str = "", rebuild: bool = False, progress: OnProgress = _quiet
    ) -> Image:
        """Build a guest image, or find it in the cache."""
        return _last(self._operations.build_image(recipe, rebuild), progress, Image)

    def advance_clock(self, pf: str, seconds: float) -> PF:
        """Let the cells of a card age by so many seconds."""
        return loop.run(self._operations.advance_clock(pf, seconds))

    def recalibrate_vf(self, vf: str) -> tuple[VF, Cost]:
        """Have a VF compensate drift; what it cost."""
        return loop.run(self._operations.recalibrate_vf(vf))

    def images(self) -> Sequence[Image]:
        """Images in the cache."""
        return loop.run(self._operations.images())


def _each(source: AsyncIterator[T]) -> Iterator[T]:
    """Items of an async stream, one trip to the loop each; leaving early cancels the call."""
    stepping: asyncio.Task[Any] | None = None

    async def step() -> Any:
        nonlocal stepping
        stepping = asyncio.ensure_future(anext(source, None))
        return await stepping

    async def close() -> None:
        if stepping is not None and not stepping.done():  # Ctrl-C came while it waited
            stepping.cancel()
            await asyncio.wait([stepping])
        closer = getattr(source, "aclose", None)
        if closer is not None:
            await closer()

    try:
        while (item := loop.run(step())) is not None:
            yield item
    finally:
        loop.run(close())


def _last(source: AsyncIterator[Any], progress: OnProgress, kind: type[T]) -> T:
    """Report progress on the caller's own thread; the object at the end."""
    with contextlib.closing(_each(source)) as events:  # type: ignore[type-var]
        for event in events:
            if isinstance(event, kind):
                return event
            progress(event.step, event.fraction)
    raise errors.Unavailable("the daemon ended the operation without a result")
