"""``vaccel.operations.Operations`` over the managers: records become what an operator sees."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from host_daemon.control.attachments import Attachments
from host_daemon.control.cards import Pf
from host_daemon.control.context import HostContext
from host_daemon.control.images import BootImage, Images
from host_daemon.control.vfs import Vfs
from host_daemon.control.vms import Vms
from host_daemon.control.watch import Report, watch
from host_daemon.control.workers import Workers
from host_daemon.core import partition
from host_daemon.core.lifecycle import VfState
from host_daemon.core.records import VfRecord, VmRecord
from vaccel import __version__, bounds, inventory
from vaccel.errors import VaccelError
from vaccel.inventory import Condition
from vaccel.model import Cost, Usage
from vaccel.operations import ExecRequest, Progress, VMRequest


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found out at start-up."""

    accelerator: str
    accelerator_reason: str
    guest_endpoint: str
    started: float  # time.monotonic()
    warnings: tuple[str, ...] = ()


class HostOperations:
    """See ``Operations``."""

    def __init__(
        self,
        host: HostContext,
        vfs: Vfs,
        attachments: Attachments,
        vms: Vms,
        workers: Workers,
        images: Images,
        facts: Facts,
        default_image: str,
    ) -> None:
        self._host = host
        self._vfs = vfs
        self._attachments = attachments
        self._vms = vms
        self._workers = workers
        self._images = images
        self._facts = facts
        self._default_image = default_image

    async def status(self) -> inventory.Status:
        """See ``Operations``."""
        with self._host.store.transaction() as tx:
            vfs, vms, pfs = tx.list_vfs(), tx.list_vms(), tx.list_pfs()
            admitted = self._host.admitted(tx)
        failed = tuple(f"VF {v.name}: {v.reason}" for v in vfs if v.state is VfState.FAILED)
        return inventory.Status(
            host=self._host.store.host_id,
            version=__version__,
            pid=os.getpid(),
            uptime_seconds=int(time.monotonic() - self._facts.started),
            accelerator=self._facts.accelerator,
            accelerator_reason=self._facts.accelerator_reason,
            guest_endpoint=self._facts.guest_endpoint,
            pfs=len(pfs),
            vfs=len(vfs),
            vms=len(vms),
            memory_admitted_bytes=admitted,
            memory_limit_bytes=self._host.memory_limit,
            warnings=(*self._facts.warnings, *failed),
        )

    async def pfs(self) -> Sequence[inventory.PF]:
        """See ``Operations``."""
        return [await self._show_pf(pf) for pf in self._host.cards]

    async def create_vf(
        self, profile: str, pf: str, name: str, tenant: str, seed: str = ""
    ) -> inventory.VF:
        """See ``Operations``."""
        work = self._vfs.create(profile, pf, name, tenant, seed)
        task = self._host.tasks.start(work, f"create {profile}")
        return await self._show_vf(await asyncio.shield(task))

    async def vfs(self) -> Sequence[inventory.VF]:
        """See ``Operations``."""
        return [await self._show_vf(record) for record in self._vfs.list()]

    async def vf(self, vf: str) -> inventory.VF:
        """See ``Operations``."""
        return await self._show_vf(self._vfs.get(vf))

    async def destroy_vf(self, vf: str, force: bool) -> None:
        """See ``Operations``."""
        task = self._host.tasks.start(self._vfs.destroy(vf, force), f"destroy {vf}")
        await asyncio.shield(task)

    async def attach_vf(
        self, vf: str, vm: str, wait: bool
    ) -> AsyncIterator[Progress | inventory.VF]:
        """See ``Operations``."""
        machine = self._vms.get(vm).id if vm else ""

        async def work(report: Report) -> inventory.VF:
            return await self._show_vf(await self._attachments.attach(vf, machine, wait, report))

        async for event in watch(self._host.tasks, f"attach {vf}", work):
            yield event

    async def detach_vf(self, vf: str, force: bool) -> AsyncIterator[Progress | inventory.VF]:
        """See ``Operations``."""

        async def work(report: Report) -> inventory.VF:
            return await self._show_vf(await self._attachments.detach(vf, force, report))

        async for event in watch(self._host.tasks, f"detach {vf}", work):
            yield event

    async def start_vm(self, request: VMRequest) -> AsyncIterator[Progress | inventory.VM]:
        """See ``Operations``."""

        async def work(report: Report) -> inventory.VM:
            return self._show_vm(await self._vms.start(request, report))

        async for event in watch(self._host.tasks, f"start {request.name}", work):
            yield event

    async def vms(self) -> Sequence[inventory.VM]:
        """See ``Operations``."""
        return [self._show_vm(record) for record in self._vms.list()]

    async def stop_vm(self, name: str, force: bool) -> None:
        """See ``Operations``."""
        task = self._host.tasks.start(self._vms.stop(name, force), f"stop {name}")
        await asyncio.shield(task)

    async def console(self, name: str, follow: bool) -> AsyncIterator[bytes]:
        """See ``Operations``."""
        async for data in self._vms.console(name, follow):
            yield data

    async def exec_vm(self, request: ExecRequest) -> AsyncIterator[inventory.Output | int]:
        """See ``Operations``."""
        async for event in self._vms.execute(request):
            yield event

    async def build_image(
        self, recipe: str, rebuild: bool
    ) -> AsyncIterator[Progress | inventory.Image]:
        """See ``Operations``."""
        name = recipe or self._default_image

        async def work(report: Report) -> inventory.Image:
            return _show_image(await self._images.build(name, rebuild, report), True)

        async for event in watch(self._host.tasks, f"build {name}", work):
            yield event

    async def images(self) -> Sequence[inventory.Image]:
        """See ``Operations``."""
        return [_show_image(image, current) for image, current in await self._images.list()]

    async def advance_clock(self, pf: str, seconds: float) -> inventory.PF:
        """See ``Operations``. Workers that are away learn the time when they start again."""
        found = self._host.cards.get(pf)
        clock = self._host.cells.advance(found, seconds)
        for vf in self._vfs.list():
            if vf.pf == found.record.id and self._workers.runs(vf.id):
                await self._workers.link(vf.id).set_clock(clock)
        return await self._show_pf(found)

    async def recalibrate_vf(self, vf: str) -> tuple[inventory.VF, Cost]:
        """See ``Operations``."""
        record = self._vfs.get(vf)
        cost = await self._workers.link(record.id).recalibrate()
        return await self._show_vf(record), cost

    # --- records to what is shown ---------------------------------------------------------

    async def _show_pf(self, pf: Pf) -> inventory.PF:
        with self._host.store.transaction() as tx:
            held = tx.list_vfs(pf=pf.record.id)
        owners = partition.core_owners(pf.card, ((vf.name, vf) for vf in held))
        return inventory.PF(
            id=pf.record.id,
            name=pf.record.name,
            kind=pf.card.kind,
            card=pf.card.name,
            cores=pf.card.cores,
            cores_free=owners.count(""),
            memory_bytes=pf.card.memory_bytes,
            memory_free_bytes=pf.card.memory_bytes - sum(vf.memory_bytes for vf in held),
            clock_hz=pf.card.clock_hz,
            profiles=pf.card.profiles,
            fits=partition.fits(pf.card, held),
            core_owners=owners,
            source=pf.card.source,
            figures=pf.card.figures[: bounds.FIGURES_PER_CARD],
            conditions=tuple(await self._host.cells.survey(pf)),
        )

    async def _show_vf(self, record: VfRecord) -> inventory.VF:
        usage = Usage()
        conditions: tuple[Condition, ...] = ()
        if record.state in (VfState.READY, VfState.ATTACHED):
            try:
                usage, conditions = await self._ask_worker(record)
            except VaccelError:
                usage = Usage()  # it is being reset; its state says the rest
        conditions += tuple(self._host.cells.seed_shown(record))
        vm = ""
        if record.vm:
            with self._host.store.transaction() as tx:
                vm = tx.get_vm(record.vm).name
        socket = str(self._host.runtime_dir / "local" / f"{record.id}.sock")
        return inventory.VF(
            id=record.id,
            name=record.name,
            tenant=record.tenant,
            pf=self._host.cards.get(record.pf).record.name,
            profile=self._vfs.profile(record),
            state=record.state.value,
            epoch=record.epoch,
            cores=record.cores,
            vm=vm,
            socket=f"unix:{socket}" if record.local else "",
            enrolled=record.enrolled,
            worker_pid=record.worker_pid,
            usage=usage,
            created_unix_ns=record.created_unix_ns,
            reason=record.reason,
            conditions=conditions,
        )

    async def _ask_worker(self, record: VfRecord) -> tuple[Usage, tuple[Condition, ...]]:
        link = self._workers.link(record.id)
        usage = await link.usage()
        lasts = self._host.cards.get(record.pf).card.cell_bytes > 0
        return usage, tuple(await link.condition()) if lasts else ()

    def _show_vm(self, record: VmRecord) -> inventory.VM:
        with self._host.store.transaction() as tx:
            vfs = tuple(vf.name for vf in tx.list_vfs(vm=record.id))
        return inventory.VM(
            id=record.id,
            name=record.name,
            tenant=record.tenant,
            state=record.state.value,
            pid=record.pid,
            memory_bytes=record.memory_bytes,
            cpus=record.cpus,
            image=record.image,
            accelerator=record.accelerator,
            vfs=vfs,
            started_unix_ns=record.started_unix_ns,
            reason=record.reason,
        )


def _show_image(image: BootImage, current: bool) -> inventory.Image:
    return inventory.Image(
        name=image.name,
        digest=image.digest,
        bytes=image.bytes,
        built_unix_ns=image.built_unix_ns,
        current=current,
        path=str(image.folder),
    )
