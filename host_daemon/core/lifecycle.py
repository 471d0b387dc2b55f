"""What a VF and a VM may do next: the states, the events, and the one table of allowed moves.

::

    VF   creating ──created──▶ ready ──attach──▶ attaching ──attached──▶ attached
                                ▲ ▲                │   │                    │
                                │ └───abandoned────┘   └──────┬───detach────┘
                                └───────detached─────── detaching
         creating, ready, failed ──destroy──▶ destroying, whose end is that there is no record
         any of them ──fail──▶ failed ──repaired──▶ ready

    VM   starting ──started──▶ running ──stop──▶ stopping ──died──▶ dead
         starting ──stop──▶ stopping;  starting, running ──died──▶ dead

A busy state (ending in -ing) is written together with an intent and left together with it, so a
record in a busy state after a crash always says which effect was under way (``reconcile`` decides
what becomes of it).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, overload

from vaccel.errors import WrongState


class VfState(StrEnum):
    """Where a VF is in its life. A VF that is gone has no record."""

    CREATING = "creating"
    READY = "ready"
    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"
    DESTROYING = "destroying"
    FAILED = "failed"


class VfEvent(StrEnum):
    """What moves a VF."""

    CREATED = "created"
    ATTACH = "attach"
    ATTACHED = "attached"
    ABANDONED = "abandoned"  # an attach was undone
    DETACH = "detach"
    DETACHED = "detached"
    DESTROY = "destroy"
    FAIL = "fail"
    REPAIRED = "repaired"


class VmState(StrEnum):
    """Where a VM is in its life. A VM that was stopped on request has no record."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    DEAD = "dead"


class VmEvent(StrEnum):
    """What moves a VM."""

    STARTED = "started"
    STOP = "stop"
    DIED = "died"


VF_MOVES: Final[dict[VfState, dict[VfEvent, VfState]]] = {
    VfState.CREATING: {
        VfEvent.CREATED: VfState.READY,
        VfEvent.DESTROY: VfState.DESTROYING,
        VfEvent.FAIL: VfState.FAILED,
    },
    VfState.READY: {
        VfEvent.ATTACH: VfState.ATTACHING,
        VfEvent.DESTROY: VfState.DESTROYING,
        VfEvent.FAIL: VfState.FAILED,
    },
    VfState.ATTACHING: {
        VfEvent.ATTACHED: VfState.ATTACHED,
        VfEvent.ABANDONED: VfState.READY,
        # A VM that dies, or an operator who insists, need not wait for a guest that never enrols.
        VfEvent.DETACH: VfState.DETACHING,
        VfEvent.FAIL: VfState.FAILED,
    },
    VfState.ATTACHED: {
        VfEvent.DETACH: VfState.DETACHING,
        VfEvent.FAIL: VfState.FAILED,
    },
    VfState.DETACHING: {
        # A guest that did not let go is asked again, or its VM has died meanwhile.
        VfEvent.DETACH: VfState.DETACHING,
        VfEvent.DETACHED: VfState.READY,
        VfEvent.FAIL: VfState.FAILED,
    },
    VfState.DESTROYING: {
        VfEvent.FAIL: VfState.FAILED,
    },
    VfState.FAILED: {
        VfEvent.DESTROY: VfState.DESTROYING,
        VfEvent.REPAIRED: VfState.READY,
    },
}

VM_MOVES: Final[dict[VmState, dict[VmEvent, VmState]]] = {
    VmState.STARTING: {
        VmEvent.STARTED: VmState.RUNNING,
        VmEvent.STOP: VmState.STOPPING,
        VmEvent.DIED: VmState.DEAD,
    },
    VmState.RUNNING: {
        VmEvent.STOP: VmState.STOPPING,
        VmEvent.DIED: VmState.DEAD,
    },
    VmState.STOPPING: {
        VmEvent.DIED: VmState.DEAD,
    },
    VmState.DEAD: {},
}

_ASKED: Final = frozenset({"attach", "detach", "destroy", "stop"})

# What a person does about a state that refuses; where only waiting helps, it says for what. ``{}``
# is the object's name.
_HINTS: Final[dict[VfState | VmState, str]] = {
    VfState.CREATING: "wait until it is ready",
    VfState.READY: "",
    VfState.ATTACHING: "wait until it is attached, or take it back: vaccelctl vf detach {} --force",
    VfState.ATTACHED: "detach it first: vaccelctl vf detach {}",
    VfState.DETACHING: "wait until it is ready, or insist: vaccelctl vf detach {} --force",
    VfState.DESTROYING: "it is on its way out; create another",
    VfState.FAILED: "vaccelctl vf show {} has the reason; then: vaccelctl vf destroy {}",
    VmState.STARTING: "wait until it runs",
    VmState.RUNNING: "",
    VmState.STOPPING: "wait until it is gone",
    VmState.DEAD: "vaccelctl vm show {} has the reason; then start it again",
}


@overload
def move(state: VfState, event: VfEvent, what: str) -> VfState: ...


@overload
def move(state: VmState, event: VmEvent, what: str) -> VmState: ...


def move(state: VfState | VmState, event: VfEvent | VmEvent, what: str) -> VfState | VmState:
    """The state after an event. ``what`` names the object as a person would: ``VF speech``.

    Raises WrongState naming the object, the state found and what that state allows.
    """
    after: VfState | VmState | None
    if isinstance(state, VfState):
        after = VF_MOVES[state].get(event) if isinstance(event, VfEvent) else None
    else:
        after = VM_MOVES[state].get(event) if isinstance(event, VmEvent) else None
    if after is None:
        raise WrongState(
            f"{what} is {state.value}, which does not allow {event.value!r}; "
            f"it allows {_spoken(allowed(state))}",
            hint=_hint(state, what),
        )
    return after


def allowed(state: VfState | VmState) -> tuple[str, ...]:
    """The events that a state allows, by name, in the table's order."""
    if isinstance(state, VfState):
        return tuple(event.value for event in VF_MOVES[state])
    return tuple(event.value for event in VM_MOVES[state])


def require(state: VfState | VmState, wanted: tuple[VfState | VmState, ...], what: str) -> None:
    """Refuse an operation that makes no move but needs a state, such as exec in a VM.

    Raises WrongState naming the object, the state found and the states wanted.
    """
    if state not in wanted:
        needed = " or ".join(other.value for other in wanted)
        raise WrongState(f"{what} is {state.value}, and must be {needed}", hint=_hint(state, what))


def _hint(state: VfState | VmState, what: str) -> str:
    return _HINTS[state].replace("{}", what.rpartition(" ")[2])


def _spoken(events: tuple[str, ...]) -> str:
    """What an operator may ask for; the rest happens by itself."""
    return ", ".join(event for event in events if event in _ASKED) or "nothing but waiting"
