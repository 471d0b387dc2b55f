"""What a daemon does first: compare what it remembers with what still runs, and decide. Pure.

Rules
    - What a caller may rely on is kept: an attached VF stays attached, a VM that ran goes on.
    - What no caller was told of is undone: a create or an attach that was cut short.
    - What was to go, goes: detach, destroy and stop are finished.
    - A worker is kept only if it is of the record's epoch. Otherwise it is killed, and another
      starts with an epoch above both: device memory, window and token are fresh.
    - A window that a guest may have mapped is never used again for anybody else.

VFs (worker: of the record's epoch; plugged: in the VM of the record, which goes on, or "no VM":
the VM of the record does not go on)

==========  ======  =======  ======================  ==========================
state       worker  plugged  steps                   becomes
==========  ======  =======  ======================  ==========================
creating    any     no       kill                    gone
ready       alive   no       adopt                   ready
ready       gone    no       respawn                 ready
attaching   alive   yes      adopt                   attached
attaching   gone    yes      unplug, respawn         ready
attaching   any     no       respawn                 ready
attaching   alive   (local)  adopt, serve            attached
attaching   gone    (local)  respawn                 ready
attached    alive   yes      adopt                   attached
attached    gone    kept     replace                 attached, not enrolled
attached    gone    yes      unplug, respawn, plug   attached, not enrolled
attached    any     no       respawn, plug           attached, not enrolled
attached    any     no VM    respawn                 ready
attached    alive   (local)  adopt, serve            attached
attached    gone    kept     replace, serve          attached (locally), not enrolled
attached    gone    (local)  respawn, serve          attached, not enrolled
detaching   any     yes      unplug, respawn         ready
detaching   any     no       respawn                 ready
destroying  any     yes      unplug, kill            gone
destroying  any     no       kill                    gone
failed      any     yes      unplug, kill            failed, attached to nothing
failed      any     no       kill                    failed, attached to nothing
==========  ======  =======  ======================  ==========================

A device that is plugged in another VM than the record says is unplugged first, and its worker does
not count as alive. ``kill`` and ``respawn`` begin by killing whichever worker runs.

VMs

==========  =======  ===================  =====================
state       process  steps                becomes
==========  =======  ===================  =====================
starting    alive    adopt, wait          running
starting    gone     clean                dead, with the reason
running     alive    adopt                running
running     gone     clean                dead, with the reason
stopping    alive    adopt, stop, clean   gone
stopping    gone     clean                gone
dead        alive    adopt, stop, clean   dead, as it was
dead        gone     none                 dead, as it was
==========  =======  ===================  =====================
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from host_daemon.core.lifecycle import VfState, VmState
from host_daemon.core.records import Intent, VfRecord, VmRecord


class Do(StrEnum):
    """One effect. Each is safe to repeat, and safe where there is nothing to do."""

    ADOPT_WORKER = "adopt worker"  # connect to it
    KILL_WORKER = "kill worker"  # and remove its socket
    RESPAWN_WORKER = "respawn worker"  # kill what is alive; start one at ``epoch``, memory fresh
    # kill what is alive; start one at ``epoch`` with fresh memory under the window that there is
    REPLACE_WORKER = "replace worker"
    SERVE = "serve"  # listen on the VF's local socket
    PLUG = "plug"  # write the header with a new token, then plug into ``vm``
    UNPLUG = "unplug"  # out of ``vm``, by force: the guest's agent knew of it or is gone
    ADOPT_VM = "adopt VM"  # connect to its monitor
    WAIT_VM = "wait for VM"  # until its guest answers
    STOP_VM = "stop VM"
    CLEAN_VM = "clean VM"  # remove its folder, save for the console's log


@dataclass(frozen=True, slots=True)
class Step:
    """An effect on a VF or a VM (ids). ``epoch`` is a respawned worker's."""

    do: Do
    vf: str = ""
    vm: str = ""
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class FoundWorker:
    """A worker that answered, or that ``/proc`` shows: its process and the epoch it says."""

    pid: int
    started: int
    epoch: int


@dataclass(frozen=True, slots=True)
class FoundVm:
    """A VM's process that runs, and the VFs (ids) that are plugged in it."""

    pid: int
    started: int
    plugged: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Found:
    """What runs, by the id of its VF or VM, and the VFs whose window the keeper has."""

    workers: Mapping[str, FoundWorker] = field(default_factory=dict)
    vms: Mapping[str, FoundVm] = field(default_factory=dict)
    windows: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class VfDecision:
    """Take the steps in order; then put ``becomes`` (or forget the VF) and remove the intents.

    A step that fails makes the VF failed, with the error as its reason. A respawned worker's
    process is the caller's to fill in.
    """

    vf: str
    steps: tuple[Step, ...]
    becomes: VfRecord | None
    intents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VmDecision:
    """As ``VfDecision``. A step that fails makes the VM dead, with the error as its reason."""

    vm: str
    steps: tuple[Step, ...]
    becomes: VmRecord | None
    intents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in this order: ``vms`` without forgetting, ``vfs``, ``orphans``; then forget VMs.

    A VM that is to be forgotten may still be named by a VF's record until that VF's decision is
    taken. ``intents`` belong to objects that are gone, and are removed.
    """

    vms: tuple[VmDecision, ...]
    vfs: tuple[VfDecision, ...]
    orphans: tuple[Step, ...]
    intents: tuple[str, ...]


def reconcile(
    vfs: Sequence[VfRecord], vms: Sequence[VmRecord], intents: Iterable[Intent], found: Found
) -> Plan:
    """The plan for a start-up. Every record gets exactly one decision, every intent one place."""
    of: dict[str, list[str]] = {}
    for intent in intents:
        of.setdefault(intent.object, []).append(intent.id)
    vm_decisions = tuple(_decide_vm(vm, found.vms.get(vm.id), of.pop(vm.id, [])) for vm in vms)
    goes_on = {
        decision.vm: found.vms[decision.vm]
        for decision in vm_decisions
        if decision.becomes is not None and decision.becomes.state is VmState.RUNNING
    }
    vf_decisions = tuple(
        _decide_vf(
            vf, found.workers.get(vf.id), vf.id in found.windows, goes_on, of.pop(vf.id, [])
        )
        for vf in vfs
    )
    known_vfs = {vf.id for vf in vfs}
    return Plan(
        vm_decisions,
        vf_decisions,
        _orphans(known_vfs, {vm.id for vm in vms}, goes_on, found),
        tuple(sorted(intent for left in of.values() for intent in left)),
    )


def _decide_vm(vm: VmRecord, process: FoundVm | None, intents: Sequence[str]) -> VmDecision:
    end = _steps(vm, *((Do.ADOPT_VM, Do.STOP_VM) if process else ()), Do.CLEAN_VM)
    steps: tuple[Step, ...]
    becomes: VmRecord | None
    if vm.state is VmState.STOPPING:
        steps, becomes = end, None
    elif vm.state is VmState.DEAD:
        steps, becomes = end if process else (), vm
    elif process is None:
        reason = (
            "its start was cut short"
            if vm.state is VmState.STARTING
            else "its process was gone when the daemon started"
        )
        steps, becomes = end, replace(vm, state=VmState.DEAD, pid=0, pid_started=0, reason=reason)
    else:
        waits = (Do.WAIT_VM,) if vm.state is VmState.STARTING else ()
        steps = _steps(vm, Do.ADOPT_VM, *waits)
        becomes = replace(
            vm, state=VmState.RUNNING, pid=process.pid, pid_started=process.started, reason=""
        )
    return VmDecision(vm.id, steps, becomes, tuple(intents))


def _steps(vm: VmRecord, *effects: Do) -> tuple[Step, ...]:
    return tuple(Step(do, vm=vm.id) for do in effects)


def _decide_vf(
    vf: VfRecord,
    worker: FoundWorker | None,
    kept: bool,
    goes_on: Mapping[str, FoundVm],
    intents: Sequence[str],
) -> VfDecision:
    strays = sorted(vm for vm in goes_on if vf.id in goes_on[vm].plugged and vm != vf.vm)
    unplug = [Step(Do.UNPLUG, vf=vf.id, vm=vm) for vm in strays]
    plugged = vf.vm in goes_on and vf.id in goes_on[vf.vm].plugged
    alive = worker is not None and worker.epoch == vf.epoch and not strays
    if _is_held(vf, plugged, goes_on):
        steps, becomes = _held(vf, worker, alive, plugged, kept and not strays)
    else:
        if plugged:
            unplug.append(Step(Do.UNPLUG, vf=vf.id, vm=vf.vm))
        steps, becomes = _loose(vf, worker, alive and not plugged)
    if worker is not None and becomes is not None and Step(Do.ADOPT_WORKER, vf=vf.id) in steps:
        becomes = replace(becomes, worker_pid=worker.pid, worker_started=worker.started)
    return VfDecision(vf.id, (*unplug, *steps), becomes, tuple(intents))


def _is_held(vf: VfRecord, plugged: bool, goes_on: Mapping[str, FoundVm]) -> bool:
    if vf.state is VfState.ATTACHED:
        # Also where the device is missing: a start-up that was killed may have unplugged it.
        return vf.local or vf.vm in goes_on
    return vf.state is VfState.ATTACHING and (vf.local or plugged)


def _held(
    vf: VfRecord, worker: FoundWorker | None, alive: bool, plugged: bool, kept: bool
) -> tuple[list[Step], VfRecord | None]:
    """A VF that a VM or a local process has, or was about to have."""
    if alive and (plugged or vf.local):
        steps = [Step(Do.ADOPT_WORKER, vf=vf.id)]
        if vf.local:
            steps.append(Step(Do.SERVE, vf=vf.id))
        return steps, replace(vf, state=VfState.ATTACHED, reason="")
    respawn, fresh = _respawn(vf, worker)
    if vf.state is VfState.ATTACHED and kept and (plugged or vf.local):
        steps = [replace(respawn, do=Do.REPLACE_WORKER)]
        if vf.local:
            steps.append(Step(Do.SERVE, vf=vf.id))
        return steps, replace(fresh, reason="its worker was gone")
    before = [Step(Do.UNPLUG, vf=vf.id, vm=vf.vm)] if plugged else []
    if vf.state is VfState.ATTACHING:
        return [*before, respawn], _ready(fresh, "its attach was cut short")
    again = Step(Do.SERVE, vf=vf.id) if vf.local else Step(Do.PLUG, vf=vf.id, vm=vf.vm)
    return [*before, respawn, again], replace(fresh, reason="its worker or its device was gone")


def _loose(
    vf: VfRecord, worker: FoundWorker | None, alive: bool
) -> tuple[list[Step], VfRecord | None]:
    """A VF that nobody has, or that nobody is to have any more."""
    kill = Step(Do.KILL_WORKER, vf=vf.id)
    if vf.state in (VfState.CREATING, VfState.DESTROYING):
        return [kill], None
    if vf.state is VfState.FAILED:
        return [kill], replace(
            vf, vm="", local=False, enrolled=False, worker_pid=0, worker_started=0
        )
    if vf.state is VfState.READY and alive:
        return [Step(Do.ADOPT_WORKER, vf=vf.id)], vf
    reason = {
        VfState.READY: "its worker was gone",
        VfState.ATTACHING: "its attach was cut short",
        VfState.ATTACHED: "its VM was gone",
        VfState.DETACHING: "",
    }[vf.state]
    respawn, fresh = _respawn(vf, worker)
    return [respawn], _ready(fresh, reason)


def _respawn(vf: VfRecord, worker: FoundWorker | None) -> tuple[Step, VfRecord]:
    epoch = max(vf.epoch, worker.epoch if worker else 0) + 1
    fresh = replace(vf, epoch=epoch, enrolled=False, worker_pid=0, worker_started=0)
    return Step(Do.RESPAWN_WORKER, vf=vf.id, epoch=epoch), fresh


def _ready(vf: VfRecord, reason: str) -> VfRecord:
    return replace(vf, state=VfState.READY, vm="", local=False, enrolled=False, reason=reason)


def _orphans(
    vfs: set[str], vms: set[str], goes_on: Mapping[str, FoundVm], found: Found
) -> tuple[Step, ...]:
    """What runs and is in no record: a folder was copied, a store put back from yesterday."""
    steps = []
    for vm in sorted(goes_on):
        for vf in sorted(goes_on[vm].plugged - vfs):
            steps.append(Step(Do.UNPLUG, vf=vf, vm=vm))
    for vm in sorted(set(found.vms) - vms):
        steps += [Step(do, vm=vm) for do in (Do.ADOPT_VM, Do.STOP_VM, Do.CLEAN_VM)]
    steps += [Step(Do.KILL_WORKER, vf=vf) for vf in sorted(set(found.workers) - vfs)]
    return tuple(steps)
