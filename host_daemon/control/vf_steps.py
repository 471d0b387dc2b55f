"""The single effects that VF operations are made of, and how each is announced and confirmed."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from host_daemon.control.cells import Lease
from host_daemon.control.context import HostContext
from host_daemon.control.workers import Worker, Workers
from host_daemon.core.hypervisor import Machine, WindowPlug
from host_daemon.core.lifecycle import VfEvent, VfState, move
from host_daemon.core.records import IntentKind, VfRecord
from vaccel import bounds
from vaccel.aperture.header import Header, encode
from vaccel.errors import NotFound, VaccelError, WrongState

log = logging.getLogger(__name__)


class Machines(Protocol):
    """Running VMs, as far as VFs need them."""

    def machine(self, vm: str) -> Machine:
        """By id. Raises WrongState where it does not run."""


class LocalEndpoints(Protocol):
    """Sockets at which local processes reach their VF."""

    async def open(self, vf: str, epoch: int) -> None:
        """Listen."""

    async def close(self, vf: str) -> None:
        """Stop; closing what is not open is no error."""


class VfSteps:
    """Effects on VFs. Whoever calls them holds the VF's lock."""

    def __init__(
        self, host: HostContext, workers: Workers, machines: Machines, local: LocalEndpoints
    ) -> None:
        self._host = host
        self.workers = workers
        self.machines = machines
        self.local = local
        self._locks: dict[str, asyncio.Lock] = {}

    def lock(self, vf: str) -> asyncio.Lock:
        """Operations on one VF exclude each other."""
        return self._locks.setdefault(vf, asyncio.Lock())

    def unlock(self, vf: str) -> None:
        """The VF is gone for good."""
        self._locks.pop(vf, None)

    def header(self, record: VfRecord, token: bytes) -> bytes:
        """What the guest finds in the window."""
        identity = self._host.identity
        return encode(
            Header(
                epoch=record.epoch,
                vf=record.id,
                window_bytes=record.window_bytes,
                endpoint=self._host.guest_address,
                server_name=identity.server_name,
                ca_pem=identity.ca_pem,
                token=token,
            )
        )

    async def start_worker(self, record: VfRecord, token: bytes = b"") -> Worker:
        """A fresh process, window and memory."""
        return await self._with_cells(self.workers.spawn, record, token)

    async def replace_worker(self, record: VfRecord, token: bytes = b"") -> Worker:
        """A fresh process and device memory under the window that the VF has."""
        return await self._with_cells(self.workers.replace, record, token)

    async def _with_cells(
        self,
        start: Callable[[VfRecord, Path, bytes, Lease | None], Awaitable[Worker]],
        record: VfRecord,
        token: bytes,
    ) -> Worker:
        card = self._host.cards.get(record.pf).path
        cells = await self._host.cells.lend(record)
        try:
            return await start(record, card, self.header(record, token), cells)
        finally:
            if cells is not None:
                os.close(cells.descriptor)

    async def plug(self, record: VfRecord) -> None:
        """Hot-plug the window into the VF's VM."""
        window = self.workers.window(record.id)
        try:
            machine = self.machines.machine(record.vm)
            await machine.plug(
                WindowPlug(record.id, window.memfd, window.doorbell, record.window_bytes)
            )
        finally:
            window.close()

    async def unplug(self, vf: str, vm: str, force: bool) -> None:
        """Hot-unplug; a VM that is gone has let go of it."""
        try:
            machine = self.machines.machine(vm)
        except (WrongState, NotFound):
            return
        try:
            await machine.unplug(vf, bounds.VM_STOP_SECONDS, force)
        except VaccelError:
            if machine.alive:
                raise

    async def let_go(self, record: VfRecord, force: bool) -> None:
        """End the attachment, whatever it is to."""
        if record.local:
            await self.local.close(record.id)
        else:
            await self.unplug(record.id, record.vm, force)

    def announce(self, vf: str, event: VfEvent, kind: IntentKind) -> tuple[VfRecord, str]:
        """Make a VF busy, with an intent. Raises WrongState."""
        with self._host.store.transaction() as tx:
            record = tx.get_vf(vf)
            record = replace(record, state=move(record.state, event, str(record)), reason="")
            intent = self._host.intent(kind, record.id)
            # The VF is locked: what is left is of an effect that failed, and this one replaces it.
            for left in tx.list_intents():
                if left.object == record.id:
                    tx.remove_intent(left.id)
            tx.put_vf(record)
            tx.add_intent(intent)
        return record, intent.id

    def confirm(
        self, vf: str, intent: str, event: VfEvent, worker: Worker | None = None
    ) -> VfRecord:
        """The effect happened."""
        with self._host.store.transaction() as tx:
            record = tx.get_vf(vf)
            record = replace(record, state=move(record.state, event, str(record)))
            if worker is not None:
                record = replace(record, worker_pid=worker.pid, worker_started=worker.started)
            if record.state is VfState.READY:
                record = replace(record, vm="", local=False, enrolled=False)
            tx.put_vf(record)
            tx.remove_intent(intent)
        return record

    def note(self, vf: str, reason: str) -> None:
        """The effect has not happened yet: why it takes so long."""
        with self._host.store.transaction() as tx:
            tx.put_vf(replace(tx.get_vf(vf), reason=reason))

    def fail(self, record: VfRecord, intent: str, reason: str) -> None:
        """The effect cannot happen: the VF waits for an operator, who reads why."""
        log.error("%s has failed: %s", record, reason)
        with self._host.store.transaction() as tx:
            record = tx.get_vf(record.id)
            tx.put_vf(replace(record, state=VfState.FAILED, reason=reason, vm="", local=False))
            if intent:
                tx.remove_intent(intent)
