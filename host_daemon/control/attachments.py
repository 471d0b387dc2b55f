"""Attachments: a VF goes to a VM or to local processes, enrols, comes back, and is reset on the way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Final

from host_daemon.control.context import HostContext
from host_daemon.control.credentials import Credentials
from host_daemon.control.vf_steps import VfSteps
from host_daemon.control.watch import Report
from host_daemon.core.lifecycle import VfEvent, VfState, move
from host_daemon.core.records import IntentKind, VfRecord
from vaccel import bounds
from vaccel.errors import Exhausted, TimedOut, VaccelError

log = logging.getLogger(__name__)

# A worker that dies more often within a minute stays dead, and its VF has failed.
_DEATHS_PER_MINUTE: Final = 5
_MINUTE_NS: Final = 60_000_000_000


class Attachments:
    """Operations on one VF exclude each other. ``on_renewed(vf)`` tells that its contexts are gone."""

    def __init__(
        self, host: HostContext, steps: VfSteps, on_renewed: Callable[[str], None]
    ) -> None:
        self._host = host
        self._steps = steps
        self._on_renewed = on_renewed
        self.credentials = Credentials(host, self._enrolled)
        self._waiting: dict[str, asyncio.Event] = {}
        self._deaths: dict[str, list[int]] = {}

    def _get(self, vf: str) -> VfRecord:
        with self._host.store.transaction() as tx:
            return tx.get_vf(vf)

    def _list(self, vm: str) -> Sequence[VfRecord]:
        with self._host.store.transaction() as tx:
            return tx.list_vfs(vm=vm)

    # --- attaching and detaching ----------------------------------------------------------

    async def attach(self, vf: str, vm: str, wait: bool, report: Report) -> VfRecord:
        """Give a VF to a VM (id), or with "" to local processes."""
        record = self._get(vf)
        enrolled = asyncio.Event()
        async with self._steps.lock(record.id):
            if vm:
                self._steps.machines.machine(vm)  # refuse before anything is written
                if len(self._list(vm)) >= bounds.VFS_PER_VM:
                    raise Exhausted(f"the VM has {bounds.VFS_PER_VM} VFs, the most it can hold")
            self._waiting[record.id] = enrolled
            record = await self._attach(record, vm, report)
        if vm and wait:
            report("waiting for the guest's agent to enrol", -1)
            try:
                async with asyncio.timeout(bounds.ENROL_SECONDS):
                    await enrolled.wait()
            except TimeoutError:
                raise TimedOut(
                    f"VF {record.name} is plugged, but its guest's agent did not enrol within"
                    f" {bounds.ENROL_SECONDS:g} s",
                    hint="see vaccelctl vm console, and vaccelctl vf show",
                ) from None
            finally:
                self._waiting.pop(record.id, None)
        return self._get(record.id)

    async def _attach(self, record: VfRecord, vm: str, report: Report) -> VfRecord:
        with self._host.store.transaction() as tx:
            record = tx.get_vf(record.id)
            state = move(record.state, VfEvent.ATTACH, str(record))
            intent = self._host.intent(IntentKind.VF_ATTACH, record.id)
            record = replace(
                record,
                state=state,
                vm=vm,
                local=not vm,
                epoch=record.epoch + 1,
                enrolled=False,
                reason="",
            )
            tx.put_vf(record)
            tx.add_intent(intent)
            token = self.credentials.issue_token(tx, record.id, record.epoch) if vm else b""
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._abandon, record, intent.id)
            self._on_renewed(record.id)
            await self._steps.workers.link(record.id).begin_epoch(
                record.epoch, self._steps.header(record, token)
            )
            if vm:
                report("plugging the VF's window into the VM", -1)
                await self._steps.plug(record)
            else:
                await self._steps.local.open(record.id, record.epoch)
            record = self._steps.confirm(record.id, intent.id, VfEvent.ATTACHED)
            undo.pop_all()
        return record

    async def _abandon(self, record: VfRecord, intent: str) -> None:
        """Undo an attach that failed: the VF is ready again, as if nothing had been asked."""
        await self._steps.let_go(record, force=True)
        with self._host.store.transaction() as tx:
            record = tx.get_vf(record.id)
            state = move(record.state, VfEvent.ABANDONED, str(record))
            tx.delete_credential(record.id)
            tx.put_vf(replace(record, state=state, vm="", local=False, enrolled=False))
            tx.remove_intent(intent)

    async def detach(self, vf: str, force: bool, report: Report) -> VfRecord:
        """Take a VF back. Its worker is replaced: nothing of the tenant is left."""
        record = self._get(vf)
        async with self._steps.lock(record.id):
            record, intent = self._steps.announce(record.id, VfEvent.DETACH, IntentKind.VF_DETACH)
            report("unplugging the VF", -1)
            await self._steps.let_go(record, force)
            return await self._renew(record, intent)

    async def _renew(self, record: VfRecord, intent: str) -> VfRecord:
        """A fresh worker, window and epoch: how a VF changes hands."""
        self._on_renewed(record.id)
        await self._steps.workers.kill(record.id)
        with self._host.store.transaction() as tx:
            record = replace(tx.get_vf(record.id), epoch=record.epoch + 1, enrolled=False)
            tx.delete_credential(record.id)
            tx.put_vf(record)
        try:
            worker = await self._steps.start_worker(record)
        except VaccelError as fault:
            self._steps.fail(record, intent, f"its worker did not start again: {fault.message}")
            raise
        return self._steps.confirm(record.id, intent, VfEvent.DETACHED, worker)

    # --- what happens by itself -----------------------------------------------------------

    async def _enrolled(self, vf: str) -> None:
        await self._steps.workers.link(vf).erase_token()
        if event := self._waiting.pop(vf, None):
            event.set()

    async def vm_rebooted(self, vm: str) -> None:
        """The guest started again: a new epoch and a new token under the same window."""
        for record in self._list(vm):
            async with self._steps.lock(record.id):
                await self.begin_epoch(record)

    async def begin_epoch(self, record: VfRecord) -> None:
        """A new epoch of an attached VF: contexts close, the agent enrols again."""
        with self._host.store.transaction() as tx:
            record = replace(tx.get_vf(record.id), epoch=record.epoch + 1, enrolled=False)
            if record.state is not VfState.ATTACHED:
                return
            tx.put_vf(record)
            token = self.credentials.issue_token(tx, record.id, record.epoch)
        self._on_renewed(record.id)
        header = self._steps.header(record, token)
        await self._steps.workers.link(record.id).begin_epoch(record.epoch, header)

    async def vm_died(self, vm: str) -> None:
        """The VM is gone: its VFs are ready again."""
        for record in self._list(vm):
            await self.force_detach(record.id)

    async def force_detach(self, vf: str) -> None:
        """Take a VF back without asking the guest."""
        await self.detach(vf, True, _quiet)

    def worker_lost(self, vf: str, epoch: int) -> None:
        """A worker died by itself."""
        self._host.tasks.start(self._revive(vf, epoch), f"revive {vf}")

    async def _revive(self, vf: str, epoch: int) -> None:
        async with self._steps.lock(vf):
            try:
                record = self._get(vf)
                if record.state in (VfState.READY, VfState.ATTACHED):
                    log.warning("worker of %s died in epoch %d; starting another", record, epoch)
                    await self.replace_worker(record)
            except VaccelError as fault:
                log.error("VF %s is lost: %s", vf, fault)

    async def replace_worker(self, record: VfRecord) -> None:
        """A new worker for a VF whose old one died; an attached VF is plugged again."""
        self._on_renewed(record.id)
        await self._steps.workers.kill(record.id)
        if self._dies_too_often(record.id):
            self._steps.fail(record, "", "its worker died five times within a minute")
            return
        with self._host.store.transaction() as tx:
            record = replace(tx.get_vf(record.id), epoch=record.epoch + 1, enrolled=False)
            tx.put_vf(record)
            token = self.credentials.issue_token(tx, record.id, record.epoch) if record.vm else b""
        worker = await self._steps.start_worker(record, token)
        with self._host.store.transaction() as tx:
            record = tx.get_vf(record.id)
            tx.put_vf(replace(record, worker_pid=worker.pid, worker_started=worker.started))
        if record.state is VfState.ATTACHED:
            await self._steps.let_go(record, force=True)
            if record.local:
                await self._steps.local.open(record.id, record.epoch)
            else:
                await self._steps.plug(record)

    def _dies_too_often(self, vf: str) -> bool:
        now = self._host.unix_ns()
        recent = [t for t in self._deaths.get(vf, []) if now - t < 60_000_000_000]
        self._deaths[vf] = [*recent, now]
        return len(self._deaths[vf]) > _DEATHS_PER_MINUTE


def _quiet(_step: str, _fraction: float) -> None:
    return
