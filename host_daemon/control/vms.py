"""VMs: started, adopted, watched, stopped. A VM outlives the daemon.

Its folder holds what finds it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from host_daemon.control import processes
from host_daemon.control.context import HostContext
from host_daemon.control.images import BootImage, Images
from host_daemon.control.watch import Report
from host_daemon.core.hypervisor import (
    Disk,
    Exit,
    Hypervisor,
    Machine,
    MachineEvent,
    MachineSpec,
    Output,
)
from host_daemon.core.lifecycle import VmEvent, VmState, move
from host_daemon.core.records import DEFAULT_TENANT, IntentKind, TenantRecord, VmRecord
from vaccel import bounds, ids, inventory
from vaccel.errors import Exhausted, InvalidArgument, VaccelError, WrongState
from vaccel.operations import ExecRequest, VMRequest

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class VmSettings:
    """What all VMs share."""

    folder: Path  # one folder a VM below it
    endpoint: Path  # the guest endpoint's unix socket
    accelerator: str
    image: str
    source: Path
    memory_bytes: int
    cpus: int


class Vms:
    """The VMs of this host.

    ``on_gone(vm)``, ``on_reboot(vm)`` and ``on_ejected(vm, vf)`` tell what becomes of their VFs.
    """

    def __init__(
        self, host: HostContext, hypervisor: Hypervisor, images: Images, settings: VmSettings
    ) -> None:
        self._host = host
        self._hypervisor = hypervisor
        self._images = images
        self._settings = settings
        self._machines: dict[str, Machine] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self.on_gone: Callable[[str], Awaitable[None]] = _nothing
        self.on_reboot: Callable[[str], Awaitable[None]] = _nothing
        self.on_ejected: Callable[[str, str], Awaitable[None]] = _nothing

    # --- looking --------------------------------------------------------------------------

    def get(self, vm: str) -> VmRecord:
        """One VM, by id or name."""
        with self._host.store.transaction() as tx:
            return tx.get_vm(vm)

    def list(self) -> Sequence[VmRecord]:
        """All VMs."""
        with self._host.store.transaction() as tx:
            return tx.list_vms()

    def machine(self, vm: str) -> Machine:
        """A VM that runs, by id. Raises WrongState naming why it does not."""
        machine = self._machines.get(vm)
        if machine is None or not machine.alive:
            record = self.get(vm)
            why = f": {record.reason}" if record.reason else ""
            state = record.state.value if machine is None else "dying"
            raise WrongState(f"{record} is {state}{why}", hint="start it: vaccelctl vm start")
        return machine

    # --- starting and stopping ------------------------------------------------------------

    async def start(self, request: VMRequest, report: Report) -> VmRecord:
        """Start a VM from its image; with ``wait`` until its guest answers."""
        record = self._new_record(request)
        image = await self._images.find(record.image)
        record = replace(record, image_digest=image.digest)
        data = _data_folder(request.data_dir)
        with self._host.store.transaction() as tx:
            _make_room(tx.list_vms(), record.name)
            for old in tx.list_vms():
                if old.name == record.name:
                    tx.delete_vm(old.id)
            if record.tenant not in {t.id for t in tx.list_tenants()}:
                tx.put_tenant(TenantRecord(record.tenant, self._host.unix_ns()))
            self._host.admit_vm(tx, record)
            intent = self._host.intent(IntentKind.VM_START, record.id)
            tx.put_vm(record)
            tx.add_intent(intent)
        async with self._lock(record.id):
            try:
                report("preparing the VM's disks", -1)
                spec = await self._prepare(record, image, data)
                report("starting the VM", -1)
                machine = await self._hypervisor.start(spec, self._events(record.id))
            except BaseException:
                self._forget(record.id, intent.id)
                raise
            self._machines[record.id] = machine
            started = processes.start_time(machine.pid)
            with self._host.store.transaction() as tx:
                tx.put_vm(replace(record, pid=machine.pid, pid_started=started))
        await self._wait_ready(record, machine, intent.id, request.wait, report)
        return self.get(record.id)

    async def _wait_ready(
        self, record: VmRecord, machine: Machine, intent: str, wait: bool, report: Report
    ) -> None:
        try:
            if wait:
                report("waiting for the guest to answer", -1)
                await machine.wait_ready(bounds.VM_BOOT_SECONDS)
        except BaseException:
            await machine.stop(force=True)
            self._machines.pop(record.id, None)
            self._forget(record.id, intent)
            raise
        with self._host.store.transaction() as tx:
            now = tx.get_vm(record.id)
            tx.remove_intent(intent)
            tx.put_vm(replace(now, state=move(now.state, VmEvent.STARTED, str(now))))

    def _new_record(self, request: VMRequest) -> VmRecord:
        if not ids.is_name(request.name):
            raise InvalidArgument(
                f"VM name {request.name!r} is not a name", hint="a-z 0-9 and - _ . inside"
            )
        memory = request.memory_bytes or self._settings.memory_bytes
        if not 128 * bounds.MIB <= memory <= bounds.GIB << 10:
            raise InvalidArgument(
                f"VM memory of {memory} bytes is not between 128 MiB and 1 TiB",
                hint="512 MiB are enough for the default image",
            )
        cpus = request.cpus or self._settings.cpus
        if cpus > 64:
            raise InvalidArgument(f"{cpus} CPUs are more than 64", hint="ask for fewer")
        return VmRecord(
            id=self._host.new_id("vm"),
            name=request.name,
            tenant=request.tenant or DEFAULT_TENANT,
            state=VmState.STARTING,
            memory_bytes=memory,
            cpus=cpus,
            image=request.image or self._settings.image,
            image_digest="",
            accelerator=self._settings.accelerator,
            started_unix_ns=self._host.unix_ns(),
            data_dir=request.data_dir,
        )

    async def _prepare(self, record: VmRecord, image: BootImage, data: Path | None) -> MachineSpec:
        folder = self._settings.folder / record.id
        folder.mkdir(mode=0o700, parents=True)
        layer = await self._images.layer(self._settings.source)
        if data is not None:
            await self._images.data_disk(data, folder / "data.img")
        return self._spec(record, image, layer)

    def _spec(
        self, record: VmRecord, image: BootImage | None = None, layer: Path | None = None
    ) -> MachineSpec:
        """How a VM is to be started; without an image how it is found again.

        A VM that runs needs no image any more, so that one that was removed takes no guest along.
        """
        folder = self._settings.folder / record.id
        disks = [Disk(image.root, "root", writable=True)] if image else []
        if layer is not None:
            disks.append(Disk(layer, "layer"))
        if (folder / "data.img").exists():
            disks.append(Disk(folder / "data.img", "data"))
        return MachineSpec(
            id=record.id,
            name=record.name,
            folder=folder,
            kernel=image.kernel if image else Path(),
            initrd=image.initrd if image else Path(),
            command_line=image.command_line if image else "",
            disks=tuple(disks),
            memory_bytes=record.memory_bytes,
            cpus=record.cpus,
            accelerator=record.accelerator,
            guest_endpoint=self._settings.endpoint,
            guest_address=self._host.guest_address,
        )

    async def stop(self, name: str, force: bool) -> None:
        """Stop a VM and forget it."""
        record = self.get(name)
        async with self._lock(record.id):
            record = self.get(record.id)
            if record.state is not VmState.DEAD:
                with self._host.store.transaction() as tx:
                    intent = self._host.intent(IntentKind.VM_STOP, record.id)
                    state = move(record.state, VmEvent.STOP, str(record))
                    tx.put_vm(replace(record, state=state))
                    tx.add_intent(intent)
            await self._end(record.id, force)
        self._locks.pop(record.id, None)

    async def await_ready(self, vm: str) -> None:
        """A VM that an earlier daemon was starting: it answers in time, or it is dead."""
        try:
            await self.machine(vm).wait_ready(bounds.VM_BOOT_SECONDS)
        except VaccelError as fault:
            log.error("VM %s: %s", vm, fault)
            await self.halt(vm)
            await self.mark_dead(self.get(vm), fault.message)

    async def halt(self, vm: str) -> None:
        """End a VM's process, if it runs."""
        if machine := self._machines.pop(vm, None):
            await machine.stop(force=True)

    def clean(self, vm: str) -> None:
        """Remove a VM's folder: disks, sockets, console."""
        shutil.rmtree(self._settings.folder / vm, ignore_errors=True)

    async def _end(self, vm: str, force: bool) -> None:
        if machine := self._machines.pop(vm, None):
            await machine.stop(force)
        await self.on_gone(vm)
        self._forget(vm)

    def _forget(self, vm: str, _intent: str = "") -> None:
        with self._host.store.transaction() as tx:
            for intent in tx.list_intents():
                if intent.object == vm:
                    tx.remove_intent(intent.id)
            tx.delete_vm(vm)
        self.clean(vm)

    # --- using ----------------------------------------------------------------------------

    async def execute(self, request: ExecRequest) -> AsyncIterator[inventory.Output | int]:
        """Run a command in a VM."""
        if not request.command:
            raise InvalidArgument("exec: no command", hint="vaccelctl vm exec NAME -- COMMAND")
        machine = self.machine(self.get(request.name).id)
        events = machine.execute(
            request.command,
            user=request.user,
            stdin=request.stdin,
            timeout=request.timeout_seconds or bounds.COMPUTE_SECONDS,
        )
        async for event in events:
            match event:
                case Output(stream, data):
                    yield inventory.Output(stream, data)
                case Exit(code):
                    yield code

    async def console(self, name: str, follow: bool) -> AsyncIterator[bytes]:
        """A VM's console."""
        record = self.get(name)
        machine = self._machines.get(record.id)
        if machine is None:
            raise WrongState(f"{record} is {record.state.value}: {record.reason or 'no console'}")
        async for data in machine.console(follow):
            yield data

    # --- what happens by itself -----------------------------------------------------------

    def _events(self, vm: str) -> Callable[[MachineEvent], None]:
        def take(event: MachineEvent) -> None:
            if event.kind == "died":
                self._host.tasks.start(self._died(vm, event.reason), f"{vm} died")
            elif event.kind == "reset":
                self._host.tasks.start(self.on_reboot(vm), f"{vm} rebooted")
            elif event.kind == "unplugged":
                work = self.on_ejected(vm, event.device)
                self._host.tasks.start(work, f"{vm} ejected {event.device}")

        return take

    async def _died(self, vm: str, reason: str) -> None:
        async with self._lock(vm):
            with contextlib.suppress(VaccelError):
                record = self.get(vm)
                if record.state is VmState.RUNNING:
                    log.warning("%s died: %s", record, reason)
                    await self.mark_dead(record, reason)

    async def mark_dead(self, record: VmRecord, reason: str) -> None:
        """A VM that ended by itself: its record stays, to say why; its VFs are ready again."""
        self._machines.pop(record.id, None)
        with self._host.store.transaction() as tx:
            for intent in tx.list_intents():
                if intent.object == record.id:
                    tx.remove_intent(intent.id)
            tx.put_vm(replace(record, state=VmState.DEAD, reason=reason, pid=0, pid_started=0))
        await self.on_gone(record.id)

    async def adopt(self, record: VmRecord) -> bool:
        """Find a VM that an earlier daemon started."""
        machine = await self._hypervisor.adopt(self._spec(record), self._events(record.id))
        if machine is None:
            return False
        self._machines[record.id] = machine
        return True

    async def release(self) -> None:
        """Let go of all VMs without stopping them."""
        for machine in self._machines.values():
            await machine.release()
        self._machines.clear()

    def _lock(self, vm: str) -> asyncio.Lock:
        return self._locks.setdefault(vm, asyncio.Lock())


async def _nothing(*_what: str) -> None:
    return


def _make_room(vms: Sequence[VmRecord], name: str) -> None:
    if len(vms) >= bounds.VMS_PER_HOST:
        raise Exhausted(
            f"this host has {len(vms)} VMs, the most there can be", hint="stop one first"
        )
    for vm in vms:
        if vm.name == name and vm.state is not VmState.DEAD:
            raise InvalidArgument(
                f"there is a VM {name!r} already, {vm.state.value}", hint="choose another name"
            )


def _data_folder(path: str) -> Path | None:
    if not path:
        return None
    folder = Path(path)
    if not folder.is_absolute() or not folder.is_dir():
        raise InvalidArgument(
            f"data folder {path!r} is not an absolute path to a folder",
            hint="give a folder of the host that the daemon may read",
        )
    return folder
