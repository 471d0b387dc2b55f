"""Resets: what happens to a VF by itself, and how its epoch begins anew."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from host_daemon.control.context import HostContext
from host_daemon.control.credentials import Credentials
from host_daemon.control.vf_steps import VfSteps
from host_daemon.core.lifecycle import VfState
from host_daemon.core.records import VfRecord
from vaccel import bounds
from vaccel.errors import NotFound, VaccelError

log = logging.getLogger(__name__)

# A worker that dies more often within a minute stays dead, and its VF has failed.
_DEATHS_PER_MINUTE: Final = 5
_MINUTE_NS: Final = 60_000_000_000


class Resets:
    """Guests reboot, workers die, agents lose their credential. ``on_renewed(vf)``.

    Contexts are gone.
    """

    def __init__(
        self,
        host: HostContext,
        steps: VfSteps,
        credentials: Credentials,
        on_renewed: Callable[[str], None],
    ) -> None:
        self._host = host
        self._steps = steps
        self._credentials = credentials
        self._on_renewed = on_renewed
        self._deaths: dict[str, list[int]] = {}

    async def vm_rebooted(self, vm: str) -> None:
        """The guest started again: a new epoch and a new token under the same window."""
        for record in self._attached(vm):
            async with self._steps.lock(record.id):
                await self._begin_epoch(record)

    async def _begin_epoch(self, record: VfRecord) -> None:
        """A new epoch of an attached VF: contexts close, the agent enrols again."""
        with self._host.store.transaction() as tx:
            record = replace(tx.get_vf(record.id), epoch=record.epoch + 1, enrolled=False)
            if record.state is not VfState.ATTACHED:
                return
            tx.put_vf(record)
            token = self._credentials.issue_token(tx, record.id, record.epoch)
        self._on_renewed(record.id)
        header = self._steps.header(record, token)
        await self._steps.workers.link(record.id).begin_epoch(record.epoch, header)

    def expect_agent(self, vf: str, epoch: int) -> None:
        """An agent should show its credential soon; one that lost it gets a new token.

        A credential is lost where the daemon or the agent died between the token's use and the
        reply's arrival. A token is good once, so only a new epoch lets such an agent in.
        """
        self._host.tasks.start(self._await_agent(vf, epoch), f"expect the agent of {vf}")

    async def _await_agent(self, vf: str, epoch: int) -> None:
        await asyncio.sleep(bounds.CREDENTIAL_SECONDS)
        if self._credentials.seen(vf, epoch):
            return
        async with self._steps.lock(vf):
            with self._host.store.transaction() as tx:
                record = next((known for known in tx.list_vfs() if known.id == vf), None)
            if record and record.epoch == epoch and record.enrolled:
                log.warning("the agent of %s never showed its credential: a new epoch", record)
                await self._begin_epoch(record)

    def worker_lost(self, vf: str, epoch: int) -> None:
        """A worker died by itself."""
        self._host.tasks.start(self._revive(vf, epoch), f"revive {vf}")

    async def _revive(self, vf: str, epoch: int) -> None:
        async with self._steps.lock(vf):
            if self._steps.workers.runs(vf):
                return  # whoever had the lock before has replaced it
            try:
                record = self._get(vf)
            except NotFound:
                return
            if record.state not in (VfState.READY, VfState.ATTACHED):
                return
            log.warning("worker of %s died in epoch %d; starting another", record, epoch)
            try:
                await self._replace_worker(record)
            except VaccelError as fault:
                await self._give_up(record, f"its worker died and was not replaced: {fault}")

    async def _replace_worker(self, record: VfRecord) -> None:
        """A new worker for a VF whose old one died, under the window that guests have mapped.

        Only where that window is gone too is an attached VF plugged again.
        """
        self._on_renewed(record.id)
        await self._steps.workers.end(record.id)
        if self._dies_too_often(record.id):
            await self._give_up(record, "its worker died five times within a minute")
            return
        attached = record.state is VfState.ATTACHED
        same = attached and self._steps.workers.keeps(record.id)
        if attached and not same:
            await self._steps.let_go(record, force=True)
        with self._host.store.transaction() as tx:
            record = replace(tx.get_vf(record.id), epoch=record.epoch + 1, enrolled=False)
            tx.put_vf(record)
            token = self._credentials.issue_token(tx, record.id, record.epoch) if record.vm else b""
        start = self._steps.replace_worker if same else self._steps.start_worker
        worker = await start(record, token)
        with self._host.store.transaction() as tx:
            record = tx.get_vf(record.id)
            tx.put_vf(replace(record, worker_pid=worker.pid, worker_started=worker.started))
        if attached and not same:
            if record.local:
                await self._steps.local.open(record.id, record.epoch)
            else:
                await self._steps.plug(record)

    async def _give_up(self, record: VfRecord, reason: str) -> None:
        """Whoever has the VF is told that it is gone: nobody will ever answer there."""
        self._steps.fail(record, "", reason)
        if record.state is VfState.ATTACHED:
            try:
                await self._steps.let_go(record, force=False)
            except VaccelError as fault:
                log.warning("%s: its guest holds on to it: %s", record, fault)
        await self._steps.workers.kill(record.id)

    def _dies_too_often(self, vf: str) -> bool:
        now = self._host.unix_ns()
        recent = [t for t in self._deaths.get(vf, []) if now - t < _MINUTE_NS]
        self._deaths[vf] = [*recent, now]
        return len(self._deaths[vf]) > _DEATHS_PER_MINUTE

    def _get(self, vf: str) -> VfRecord:
        with self._host.store.transaction() as tx:
            return tx.get_vf(vf)

    def _attached(self, vm: str) -> list[VfRecord]:
        with self._host.store.transaction() as tx:
            return list(tx.list_vfs(vm=vm))
