"""Start-up: what an earlier daemon left is found, compared with the records, and put in order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from host_daemon.control import processes
from host_daemon.control.context import HostContext
from host_daemon.control.credentials import Credentials
from host_daemon.control.resets import Resets
from host_daemon.control.vf_steps import VfSteps
from host_daemon.control.vms import Vms
from host_daemon.core.lifecycle import VfState, VmState
from host_daemon.core.reconcile import Do, Found, FoundVm, Plan, Step, VfDecision, reconcile
from host_daemon.core.records import VfRecord, VmRecord
from vaccel.errors import VaccelError

log = logging.getLogger(__name__)

# (context, vf) of a worker that was adopted: somebody may come back for it within the grace.
OnContext = Callable[[str, str], None]


class Startup:
    """Runs once, before anything is served."""

    def __init__(
        self,
        host: HostContext,
        steps: VfSteps,
        credentials: Credentials,
        resets: Resets,
        vms: Vms,
        on_context: OnContext,
    ) -> None:
        self._host = host
        self._steps = steps
        self._credentials = credentials
        self._resets = resets
        self._vms = vms
        self._on_context = on_context

    async def run(self) -> None:
        """Adopt, finish, undo, clean up.

        A VF or VM that resists is marked, and the rest goes on.
        """
        with self._host.store.transaction() as tx:
            vfs, vms, intents = tx.list_vfs(), tx.list_vms(), tx.list_intents()
        workers = self._steps.workers
        found = Found(await workers.find(), await self._find_vms(vms), workers.kept())
        plan = reconcile(vfs, vms, intents, found)
        for vm_decision in plan.vms:
            try:
                for step in vm_decision.steps:
                    await self._do_vm(step)
                becomes = vm_decision.becomes
            except VaccelError as fault:
                log.error("VM %s: %s", vm_decision.vm, fault)
                record = self._vms.get(vm_decision.vm)
                becomes = replace(record, state=VmState.DEAD, pid=0, reason=fault.message)
            if becomes is not None:
                with self._host.store.transaction() as tx:
                    tx.put_vm(becomes)
        for vf_decision in plan.vfs:
            await self._decide(vf_decision)
        await self._clean_up(plan)

    async def _find_vms(self, vms: Sequence[VmRecord]) -> dict[str, FoundVm]:
        found = {}
        for vm in vms:
            try:
                adopted = await self._vms.adopt(vm)
            except VaccelError as fault:
                log.warning("VM %s cannot be adopted: %s", vm.name, fault)
                continue
            if adopted:
                machine = self._vms.machine(vm.id)
                started = processes.start_time(machine.pid)
                found[vm.id] = FoundVm(machine.pid, started, frozenset(await machine.plugged()))
        return found

    async def _do_vm(self, step: Step) -> None:
        match step.do:
            case Do.WAIT_VM:
                # In the background: a guest that boots must not hold up everybody else's.
                self._host.tasks.start(self._vms.await_ready(step.vm), f"{step.vm} boots")
            case Do.STOP_VM:
                await self._vms.halt(step.vm)
            case Do.CLEAN_VM:
                self._vms.clean(step.vm)
            case _:  # ADOPT_VM: done when it was found
                return

    async def _decide(self, decision: VfDecision) -> None:
        becomes = decision.becomes
        try:
            for step in decision.steps:
                becomes = await self._do_vf(step, decision, becomes)
        except VaccelError as fault:
            log.error("VF %s: %s", decision.vf, fault)
            with self._host.store.transaction() as tx:
                record = tx.get_vf(decision.vf)
            reason = f"start-up: {fault.message}"
            becomes = replace(record, state=VfState.FAILED, reason=reason, vm="", local=False)
        if becomes is None:
            await self._host.cells.release(decision.vf)
        with self._host.store.transaction() as tx:
            if becomes is None:
                tx.delete_vf(decision.vf)
            else:
                tx.put_vf(becomes)
            for intent in decision.intents:
                tx.remove_intent(intent)

    async def _do_vf(
        self, step: Step, decision: VfDecision, becomes: VfRecord | None
    ) -> VfRecord | None:
        match step.do:
            case Do.KILL_WORKER:
                await self._steps.workers.kill(step.vf)
            case Do.UNPLUG:
                await self._steps.unplug(step.vf, step.vm, force=True)
            case Do.ADOPT_WORKER:
                assert becomes is not None  # a VF that goes keeps no worker
                hello = await self._steps.workers.adopt(becomes)
                for context in hello.contexts:
                    self._on_context(context, becomes.id)
                if becomes.enrolled:
                    self._resets.expect_agent(becomes.id, becomes.epoch)
            case Do.RESPAWN_WORKER:
                assert becomes is not None
                becomes = await self._respawn(becomes, step.epoch, fresh=True)
            case Do.REPLACE_WORKER:
                assert becomes is not None
                becomes = await self._respawn(becomes, step.epoch, fresh=False)
            case Do.SERVE:
                assert becomes is not None
                await self._steps.local.open(becomes.id, becomes.epoch)
            case _:  # PLUG: the respawn before it wrote the header with a new token
                assert becomes is not None
                await self._steps.plug(becomes)
        return becomes

    async def _respawn(self, becomes: VfRecord, epoch: int, fresh: bool) -> VfRecord:
        workers = self._steps.workers
        await (workers.kill if fresh else workers.end)(becomes.id)
        with self._host.store.transaction() as tx:
            # The record first: a token is good only in its VF's present epoch.
            tx.put_vf(replace(tx.get_vf(becomes.id), epoch=epoch, enrolled=False))
            token = b""
            if becomes.vm:
                token = self._credentials.issue_token(tx, becomes.id, epoch)
        start = self._steps.start_worker if fresh else self._steps.replace_worker
        worker = await start(becomes, token)
        return replace(becomes, worker_pid=worker.pid, worker_started=worker.started)

    async def _clean_up(self, plan: Plan) -> None:
        for step in plan.orphans:
            try:
                if step.do is Do.UNPLUG:
                    await self._steps.unplug(step.vf, step.vm, force=True)
                elif step.do is Do.KILL_WORKER:
                    await self._steps.workers.kill(step.vf)
                else:
                    await self._do_vm(step)
            except VaccelError as fault:
                log.error("left over: %s: %s", step, fault)
        with self._host.store.transaction() as tx:
            known = [vf.id for vf in tx.list_vfs()]
        await self._steps.workers.forget_strangers(known)
        with self._host.store.transaction() as tx:
            for decision in plan.vms:
                for intent in decision.intents:
                    tx.remove_intent(intent)
                if decision.becomes is None:
                    tx.delete_vm(decision.vm)
            for intent in plan.intents:
                tx.remove_intent(intent)
