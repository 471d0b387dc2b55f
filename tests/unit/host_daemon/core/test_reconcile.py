from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host_daemon.core.lifecycle import VfState, VmState
from host_daemon.core.reconcile import (
    Do,
    Found,
    FoundVm,
    FoundWorker,
    Plan,
    Step,
    VfDecision,
    VmDecision,
    reconcile,
)
from host_daemon.core.records import Intent, IntentKind, VfRecord, VmRecord
from tests.conformance.store import VF, VM

S = VfState
ALIVE = FoundWorker(pid=20, started=200, epoch=VF.epoch)
STALE = FoundWorker(pid=20, started=200, epoch=VF.epoch - 1)
AHEAD = FoundWorker(pid=20, started=200, epoch=VF.epoch + 1)
BARE = FoundVm(pid=10, started=100)
PLUGGED = FoundVm(pid=10, started=100, plugged=frozenset({VF.id}))


def decide(
    vf: VfRecord,
    worker: FoundWorker | None,
    vm: FoundVm | None,
    intents: tuple[Intent, ...] = (),
    kept: bool = False,
) -> VfDecision:
    windows = frozenset({vf.id} if kept else ())
    found = Found({vf.id: worker} if worker else {}, {VM.id: vm} if vm else {}, windows)
    plan = reconcile([vf], [VM], intents, found)
    (decision,) = plan.vfs
    return decision


def vf_in(state: VfState, where: str) -> VfRecord:
    """A VF in a state: of a VM, of a local process, or of nobody."""
    return replace(
        VF, state=state, vm=VM.id if where == "vm" else "", local=where == "local", reason=""
    )


def effects(decision: VfDecision | VmDecision) -> list[Do]:
    return [step.do for step in decision.steps]


# (state, attached to, worker, VM) -> (effects, state after or None, epoch after)
E = VF.epoch
CASES = [
    # create: killed before or after the worker was forked, or with a worker of a create before
    (S.CREATING, "", None, None, [Do.KILL_WORKER], None, 0),
    (S.CREATING, "", ALIVE, None, [Do.KILL_WORKER], None, 0),
    (S.CREATING, "", STALE, None, [Do.KILL_WORKER], None, 0),
    # nothing was under way
    (S.READY, "", ALIVE, None, [Do.ADOPT_WORKER], S.READY, E),
    (S.READY, "", None, None, [Do.RESPAWN_WORKER], S.READY, E + 1),
    (S.READY, "", STALE, None, [Do.RESPAWN_WORKER], S.READY, E + 1),
    (S.READY, "", AHEAD, None, [Do.RESPAWN_WORKER], S.READY, E + 2),
    (S.ATTACHED, "vm", ALIVE, PLUGGED, [Do.ADOPT_WORKER], S.ATTACHED, E),
    (
        S.ATTACHED,
        "vm",
        None,
        PLUGGED,
        [Do.UNPLUG, Do.RESPAWN_WORKER, Do.PLUG],
        S.ATTACHED,
        E + 1,
    ),
    (S.ATTACHED, "vm", ALIVE, BARE, [Do.RESPAWN_WORKER, Do.PLUG], S.ATTACHED, E + 1),
    (S.ATTACHED, "vm", None, BARE, [Do.RESPAWN_WORKER, Do.PLUG], S.ATTACHED, E + 1),
    (S.ATTACHED, "vm", ALIVE, None, [Do.RESPAWN_WORKER], S.READY, E + 1),
    (S.ATTACHED, "vm", None, None, [Do.RESPAWN_WORKER], S.READY, E + 1),
    (S.ATTACHED, "local", ALIVE, None, [Do.ADOPT_WORKER, Do.SERVE], S.ATTACHED, E),
    (S.ATTACHED, "local", None, None, [Do.RESPAWN_WORKER, Do.SERVE], S.ATTACHED, E + 1),
    # attach: killed before the worker had the new epoch, before the plug, after it
    (S.ATTACHING, "vm", STALE, BARE, [Do.RESPAWN_WORKER], S.READY, E + 1),
    (S.ATTACHING, "vm", ALIVE, BARE, [Do.RESPAWN_WORKER], S.READY, E + 1),
    (S.ATTACHING, "vm", ALIVE, PLUGGED, [Do.ADOPT_WORKER], S.ATTACHED, E),
    (S.ATTACHING, "vm", None, PLUGGED, [Do.UNPLUG, Do.RESPAWN_WORKER], S.READY, E + 1),
    (S.ATTACHING, "vm", ALIVE, None, [Do.RESPAWN_WORKER], S.READY, E + 1),
    (S.ATTACHING, "local", ALIVE, None, [Do.ADOPT_WORKER, Do.SERVE], S.ATTACHED, E),
    (S.ATTACHING, "local", None, None, [Do.RESPAWN_WORKER], S.READY, E + 1),
    # detach: killed before the unplug, after it, after the old worker's end, with the new one up
    (S.DETACHING, "vm", ALIVE, PLUGGED, [Do.UNPLUG, Do.RESPAWN_WORKER], S.READY, E + 1),
    (S.DETACHING, "vm", ALIVE, BARE, [Do.RESPAWN_WORKER], S.READY, E + 1),
    (S.DETACHING, "vm", None, BARE, [Do.RESPAWN_WORKER], S.READY, E + 1),
    (S.DETACHING, "vm", AHEAD, BARE, [Do.RESPAWN_WORKER], S.READY, E + 2),
    (S.DETACHING, "vm", ALIVE, None, [Do.RESPAWN_WORKER], S.READY, E + 1),
    (S.DETACHING, "local", ALIVE, None, [Do.RESPAWN_WORKER], S.READY, E + 1),
    # destroy: killed before or after the worker's end
    (S.DESTROYING, "", ALIVE, None, [Do.KILL_WORKER], None, 0),
    (S.DESTROYING, "", None, None, [Do.KILL_WORKER], None, 0),
    (S.DESTROYING, "vm", ALIVE, PLUGGED, [Do.UNPLUG, Do.KILL_WORKER], None, 0),
    # what has failed stays so
    (S.FAILED, "", None, None, [Do.KILL_WORKER], S.FAILED, E),
    (S.FAILED, "vm", ALIVE, PLUGGED, [Do.UNPLUG, Do.KILL_WORKER], S.FAILED, E),
]


@pytest.mark.parametrize(("state", "where", "worker", "vm", "does", "after", "epoch"), CASES)
def test_a_vf(
    state: VfState,
    where: str,
    worker: FoundWorker | None,
    vm: FoundVm | None,
    does: list[Do],
    after: VfState | None,
    epoch: int,
) -> None:
    decision = decide(vf_in(state, where), worker, vm)
    assert effects(decision) == does
    if after is None:
        assert decision.becomes is None
        return
    assert decision.becomes is not None
    assert (decision.becomes.state, decision.becomes.epoch) == (after, epoch)
    if after is not S.ATTACHED:
        assert (decision.becomes.vm, decision.becomes.local) == ("", False)
    adopted = Do.ADOPT_WORKER in does
    assert decision.becomes.worker_pid == (ALIVE.pid if adopted else 0)
    for step in decision.steps:
        assert step.vf == VF.id
        assert (step.epoch == epoch) == (step.do is Do.RESPAWN_WORKER)
        assert (step.vm == VM.id) == (step.do in (Do.PLUG, Do.UNPLUG))


def test_every_state_of_a_vf_is_among_the_cases() -> None:
    assert {case[0] for case in CASES} == set(VfState)


def test_an_adopted_worker_is_recorded_and_the_agent_stays_enrolled() -> None:
    becomes = decide(vf_in(S.ATTACHED, "vm"), ALIVE, PLUGGED).becomes
    assert becomes is not None
    assert (becomes.worker_pid, becomes.worker_started, becomes.enrolled) == (20, 200, True)


def test_a_replaced_worker_is_forgotten_and_the_agent_enrols_again() -> None:
    becomes = decide(vf_in(S.ATTACHED, "vm"), STALE, PLUGGED).becomes
    assert becomes is not None
    assert (becomes.worker_pid, becomes.worker_started, becomes.enrolled) == (0, 0, False)
    assert becomes.reason == "its worker or its device was gone"


@pytest.mark.parametrize("worker", [None, STALE, AHEAD])
def test_a_worker_is_replaced_under_a_window_that_was_kept(worker: FoundWorker | None) -> None:
    epoch = max(VF.epoch, worker.epoch if worker else 0) + 1
    replaced = Step(Do.REPLACE_WORKER, vf=VF.id, epoch=epoch)
    for where, vm, more in (
        ("vm", PLUGGED, ()),
        ("local", None, (Step(Do.SERVE, vf=VF.id),)),
    ):
        decision = decide(vf_in(S.ATTACHED, where), worker, vm, kept=True)
        assert decision.steps == (replaced, *more)
        becomes = decision.becomes
        assert becomes is not None
        assert (becomes.state, becomes.epoch, becomes.enrolled) == (S.ATTACHED, epoch, False)


def test_a_window_that_no_guest_has_mapped_is_not_used_again() -> None:
    for state, where, vm in (
        (S.ATTACHED, "vm", BARE),
        (S.ATTACHING, "vm", PLUGGED),
        (S.DETACHING, "vm", PLUGGED),
        (S.READY, "", None),
    ):
        does = effects(decide(vf_in(state, where), None, vm, kept=True))
        assert Do.RESPAWN_WORKER in does and Do.REPLACE_WORKER not in does


def test_a_vf_in_a_vm_that_is_being_stopped_is_free_again() -> None:
    plan = reconcile(
        [vf_in(S.ATTACHED, "vm")],
        [replace(VM, state=VmState.STOPPING)],
        [],
        Found({VF.id: ALIVE}, {VM.id: PLUGGED}),
    )
    assert plan.vms[0].becomes is None
    becomes = plan.vfs[0].becomes
    assert becomes is not None
    assert (becomes.state, becomes.vm) == (S.READY, "")


def test_a_vf_that_is_plugged_in_the_wrong_vm_leaves_it() -> None:
    other = replace(VM, id="vm-2", name="other")
    plan = reconcile(
        [vf_in(S.ATTACHED, "vm")],
        [VM, other],
        [],
        Found({VF.id: ALIVE}, {VM.id: PLUGGED, "vm-2": PLUGGED}),
    )
    assert plan.vfs[0].steps == (
        Step(Do.UNPLUG, vf=VF.id, vm="vm-2"),
        Step(Do.UNPLUG, vf=VF.id, vm=VM.id),
        Step(Do.RESPAWN_WORKER, vf=VF.id, epoch=E + 1),
        Step(Do.PLUG, vf=VF.id, vm=VM.id),
    )


def test_a_ready_vf_that_is_plugged_somewhere_gets_fresh_memory() -> None:
    assert effects(decide(vf_in(S.READY, ""), ALIVE, PLUGGED)) == [Do.UNPLUG, Do.RESPAWN_WORKER]


# (state, process) -> (effects, state after or None)
END = [Do.ADOPT_VM, Do.STOP_VM, Do.CLEAN_VM]
VM_CASES = [
    # start: killed before QEMU ran, while it booted
    (VmState.STARTING, None, [Do.CLEAN_VM], VmState.DEAD),
    (VmState.STARTING, BARE, [Do.ADOPT_VM, Do.WAIT_VM], VmState.RUNNING),
    (VmState.RUNNING, BARE, [Do.ADOPT_VM], VmState.RUNNING),
    (VmState.RUNNING, None, [Do.CLEAN_VM], VmState.DEAD),
    # stop: killed before the guest went, after it
    (VmState.STOPPING, BARE, END, None),
    (VmState.STOPPING, None, [Do.CLEAN_VM], None),
    (VmState.DEAD, None, [], VmState.DEAD),
    (VmState.DEAD, BARE, END, VmState.DEAD),
]


@pytest.mark.parametrize(("state", "process", "does", "after"), VM_CASES)
def test_a_vm(
    state: VmState, process: FoundVm | None, does: list[Do], after: VmState | None
) -> None:
    vm = replace(VM, state=state, reason="")
    plan = reconcile([], [vm], [], Found({}, {VM.id: process} if process else {}))
    (decision,) = plan.vms
    assert effects(decision) == does
    assert (decision.becomes.state if decision.becomes else None) is after
    if after is VmState.RUNNING and decision.becomes:
        assert (decision.becomes.pid, decision.becomes.pid_started) == (10, 100)
    if after is VmState.DEAD and state is not VmState.DEAD and decision.becomes:
        assert decision.becomes.pid == 0
        assert decision.becomes.reason


def test_every_state_of_a_vm_is_among_the_cases() -> None:
    assert {case[0] for case in VM_CASES} == set(VmState)


def test_intents_go_with_their_objects() -> None:
    vf_intent = Intent("int-1", IntentKind.VF_DETACH, VF.id, 1)
    vm_intent = Intent("int-2", IntentKind.VM_STOP, VM.id, 1)
    gone = Intent("int-3", IntentKind.VF_CREATE, "vf-gone", 1)
    plan = reconcile([VF], [VM], [vf_intent, vm_intent, gone], Found())
    assert plan.vfs[0].intents == ("int-1",)
    assert plan.vms[0].intents == ("int-2",)
    assert plan.intents == ("int-3",)


def test_what_no_record_knows_is_ended() -> None:
    found = Found(
        {"vf-x": ALIVE},
        {VM.id: FoundVm(10, 100, frozenset({"vf-x"})), "vm-x": FoundVm(11, 101)},
    )
    assert reconcile([], [VM], [], found).orphans == (
        Step(Do.UNPLUG, vf="vf-x", vm=VM.id),
        Step(Do.ADOPT_VM, vm="vm-x"),
        Step(Do.STOP_VM, vm="vm-x"),
        Step(Do.CLEAN_VM, vm="vm-x"),
        Step(Do.KILL_WORKER, vf="vf-x"),
    )


# --- a daemon that is killed again while it carries the plan out ----------------------------

workers = st.sampled_from([None, ALIVE, STALE, AHEAD])
machines = st.sampled_from([None, BARE, PLUGGED])


def carried_out(
    vfs: list[VfRecord], vms: list[VmRecord], plan: Plan, found: Found, steps: int
) -> tuple[list[VfRecord], list[VmRecord], Found]:
    """What records and processes are after some steps of a plan; records follow whole decisions."""
    after_workers, after_vms, windows = dict(found.workers), dict(found.vms), set(found.windows)
    records: dict[str, VfRecord | VmRecord] = {record.id: record for record in vfs}
    records.update({record.id: record for record in vms})
    decisions: list[VfDecision | VmDecision] = [*plan.vms, *plan.vfs]
    for decision in decisions:
        for step in decision.steps:
            if steps == 0:
                break
            steps -= 1
            _take(step, after_workers, after_vms, windows)
        else:
            key = decision.vf if isinstance(decision, VfDecision) else decision.vm
            if decision.becomes is None:
                del records[key]
            else:
                records[key] = decision.becomes
            continue
        break
    left = list(records.values())
    return (
        [record for record in left if isinstance(record, VfRecord)],
        [record for record in left if isinstance(record, VmRecord)],
        Found(after_workers, after_vms, frozenset(windows)),
    )


def _take(
    step: Step, workers: dict[str, FoundWorker], vms: dict[str, FoundVm], windows: set[str]
) -> None:
    if step.do is Do.KILL_WORKER:
        workers.pop(step.vf, None)
        windows.discard(step.vf)
    elif step.do in (Do.RESPAWN_WORKER, Do.REPLACE_WORKER):
        assert step.do is Do.RESPAWN_WORKER or step.vf in windows
        windows.add(step.vf)
        workers[step.vf] = FoundWorker(30, 300, step.epoch)
    elif step.do is Do.STOP_VM:
        vms.pop(step.vm, None)
    elif step.do in (Do.PLUG, Do.UNPLUG):
        plugged = vms[step.vm].plugged - {step.vf}
        if step.do is Do.PLUG:
            plugged |= {step.vf}
        vms[step.vm] = replace(vms[step.vm], plugged=plugged)


@settings(deadline=None)
@given(
    st.sampled_from(VfState),
    st.sampled_from(["", "vm", "local"]),
    st.sampled_from(VmState),
    workers,
    machines,
    st.booleans(),
    st.integers(0, 6),
)
def test_starting_again_from_any_point_comes_to_rest(
    state: VfState,
    where: str,
    vm_state: VmState,
    worker: FoundWorker | None,
    machine: FoundVm | None,
    kept: bool,
    steps: int,
) -> None:
    where = "" if state in (S.CREATING, S.READY) else where
    vfs, vms = [vf_in(state, where)], [replace(VM, state=vm_state)]
    windows = frozenset({VF.id} if kept else ())
    found = Found({VF.id: worker} if worker else {}, {VM.id: machine} if machine else {}, windows)
    for done in (steps, 100):
        plan = reconcile(vfs, vms, [], found)
        vfs, vms, found = carried_out(vfs, vms, plan, found, done)
    busy = {S.CREATING, S.ATTACHING, S.DETACHING, S.DESTROYING}
    assert not busy & {vf.state for vf in vfs}
    if state is S.ATTACHED and where and (where == "local" or VM.id in found.vms):
        assert [vf.state for vf in vfs] == [S.ATTACHED]
    assert {vm.state for vm in vms} <= {VmState.RUNNING, VmState.DEAD}
    for vf in vfs:
        held = found.workers.get(vf.id)
        assert (held.epoch if held else None) == (None if vf.state is S.FAILED else vf.epoch)
        plugged = {vm for vm, it in found.vms.items() if vf.id in it.plugged}
        assert plugged == ({vf.vm} if vf.vm else set())
    rest = reconcile(vfs, vms, [], found)
    decisions: list[VfDecision | VmDecision] = [*rest.vms, *rest.vfs]
    calm = {Do.ADOPT_WORKER, Do.ADOPT_VM, Do.SERVE, Do.KILL_WORKER}
    assert {step.do for decision in decisions for step in decision.steps} <= calm
    assert not rest.orphans or not vfs
