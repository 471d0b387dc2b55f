"""Attachments: a VF goes to a VM or to local processes, enrols, and comes back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from host_daemon.control.context import HostContext
from host_daemon.control.credentials import Credentials
from host_daemon.control.recalls import Recalls
from host_daemon.control.vf_steps import VfSteps
from host_daemon.control.watch import Report
from host_daemon.core.lifecycle import VfEvent, VfState, move
from host_daemon.core.records import IntentKind, VfRecord
from vaccel import bounds
from vaccel.errors import Exhausted, TimedOut, VaccelError, WrongState

log = logging.getLogger(__name__)


class Attachments:
    """Operations on one VF exclude each other.

    ``on_renewed(vf)`` tells that its contexts are gone.
    """

    def __init__(
        self,
        host: HostContext,
        steps: VfSteps,
        recalls: Recalls,
        on_renewed: Callable[[str], None],
    ) -> None:
        self._host = host
        self._steps = steps
        self._recalls = recalls
        self._on_renewed = on_renewed
        self.credentials = Credentials(host, self._enrolled)
        self.on_enrolled: Callable[[str, int], None] = _nothing
        self._waiting: dict[str, asyncio.Future[None]] = {}

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
        async with self._steps.lock(record.id):
            if vm:
                self._steps.machines.machine(vm)  # refuse before anything is written
                if len(self._list(vm)) >= bounds.VFS_PER_VM:
                    raise Exhausted(f"the VM has {bounds.VFS_PER_VM} VFs, the most it can hold")
            record = await self._attach(record, vm, report)
        if vm and wait:
            await self._wait_enrolled(record, report)
        return self._get(record.id)

    async def _wait_enrolled(self, record: VfRecord, report: Report) -> None:
        enrolled = asyncio.get_running_loop().create_future()
        self._waiting[record.id] = enrolled
        try:
            if self._get(record.id).enrolled:
                return
            report("waiting for the guest's agent to enrol", -1)
            async with asyncio.timeout(bounds.ENROL_SECONDS):
                await enrolled
        except TimeoutError:
            raise TimedOut(
                f"VF {record.name} is plugged, but its guest's agent did not enrol within"
                f" {bounds.ENROL_SECONDS:g} s",
                hint="see vaccelctl vm console, and vaccelctl vf show",
            ) from None
        finally:
            self._waiting.pop(record.id, None)

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
        await self._renew(record, intent, VfEvent.ABANDONED)

    async def detach(
        self, vf: str, force: bool, report: Report, *, ask: bool = True
    ) -> VfRecord:
        """Take a VF back. Its worker is replaced: nothing of the tenant is left.

        Its guest is asked first, so that its apps keep what they have in the window; with ``force``
        not for long, and not at all where there is nobody to ``ask``.
        """
        record = self._get(vf)
        async with self._steps.lock(record.id):
            return await self._detach(record.id, force, report, ask)

    async def _detach(self, vf: str, force: bool, report: Report, ask: bool) -> VfRecord:
        record, intent = self._steps.announce(vf, VfEvent.DETACH, IntentKind.VF_DETACH)
        if record.vm and ask:
            report("asking the guest to let go of the VF", -1)
            patience = bounds.RECALL_FORCED_SECONDS if force else bounds.RECALL_SECONDS
            await self._recalls.recall(record.id, patience)
        report("unplugging the VF", -1)
        try:
            await self._steps.let_go(record, force)
        except VaccelError as fault:
            # The guest may have it yet. It goes on detaching until it is asked again, or let go of.
            self._steps.note(vf, fault.message)
            raise
        return await self._renew(record, intent, VfEvent.DETACHED)

    async def _renew(self, record: VfRecord, intent: str, event: VfEvent) -> VfRecord:
        """A fresh worker, window and epoch: a guest may have mapped the old ones."""
        if waiting := self._waiting.pop(record.id, None):
            waiting.set_exception(
                WrongState(f"{record} was taken back before its guest's agent enrolled")
            )
        self._on_renewed(record.id)
        await self._steps.workers.kill(record.id)
        with self._host.store.transaction() as tx:
            record = replace(tx.get_vf(record.id), epoch=record.epoch + 1, enrolled=False)
            self.credentials.void(tx, record.id)
            tx.put_vf(record)
        try:
            worker = await self._steps.start_worker(record)
        except VaccelError as fault:
            self._steps.fail(record, intent, f"its worker did not start again: {fault.message}")
            raise
        return self._steps.confirm(record.id, intent, event, worker)

    # --- what happens by itself -----------------------------------------------------------

    async def _enrolled(self, vf: str, epoch: int) -> None:
        self.on_enrolled(vf, epoch)
        await self._steps.workers.link(vf).erase_token()
        waiting = self._waiting.pop(vf, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    async def vm_died(self, vm: str) -> None:
        """The VM is gone: its VFs are ready again."""
        for record in self._list(vm):
            try:
                await self.detach(record.id, True, _quiet, ask=False)
            except VaccelError as fault:  # one that resists must not keep the others
                log.error("%s cannot be taken back: %s", record, fault)

    async def vf_ejected(self, vm: str, vf: str) -> None:
        """A guest let go of a VF unasked, or later than somebody waited: it is ready again."""
        async with self._steps.lock(vf):
            record = next((known for known in self._list(vm) if known.id == vf), None)
            if record is None or record.state not in (VfState.ATTACHED, VfState.DETACHING):
                return
            if vf in await self._steps.machines.machine(vm).plugged():
                return  # it was plugged again meanwhile
            log.warning("%s: its guest ejected it", record)
            await self._detach(vf, True, _quiet, ask=False)

    async def force_detach(self, vf: str) -> None:
        """Take a VF back, whatever its guest says."""
        await self.detach(vf, True, _quiet)


def _nothing(_vf: str, _epoch: int) -> None:
    return


def _quiet(_step: str, _fraction: float) -> None:
    return
