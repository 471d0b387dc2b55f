from __future__ import annotations

from itertools import product

import pytest

from host_daemon.core.lifecycle import (
    VF_MOVES,
    VM_MOVES,
    VfEvent,
    VfState,
    VmEvent,
    VmState,
    allowed,
    move,
    require,
)
from vaccel.errors import WrongState


def test_a_vf_through_its_whole_life() -> None:
    state = VfState.CREATING
    for event, after in (
        (VfEvent.CREATED, VfState.READY),
        (VfEvent.ATTACH, VfState.ATTACHING),
        (VfEvent.ATTACHED, VfState.ATTACHED),
        (VfEvent.DETACH, VfState.DETACHING),
        (VfEvent.DETACHED, VfState.READY),
        (VfEvent.DESTROY, VfState.DESTROYING),
    ):
        state = move(state, event, "VF speech")
        assert state is after


def test_a_vm_through_its_whole_life() -> None:
    state = move(VmState.STARTING, VmEvent.STARTED, "VM guest")
    state = move(state, VmEvent.STOP, "VM guest")
    assert move(state, VmEvent.DIED, "VM guest") is VmState.DEAD


def test_every_move_of_a_vf_is_in_the_table_or_refused() -> None:
    for state, event in product(VfState, VfEvent):
        after = VF_MOVES[state].get(event)
        if after is not None:
            assert move(state, event, "VF a") is after
            continue
        with pytest.raises(WrongState) as caught:
            move(state, event, "VF a")
        said = caught.value.message
        assert said.startswith(f"VF a is {state.value}, which does not allow {event.value!r}")
        asked = {"attach", "detach", "destroy"} & set(allowed(state))
        assert all(name in said for name in asked)


def test_every_move_of_a_vm_is_in_the_table_or_refused() -> None:
    for state, event in product(VmState, VmEvent):
        after = VM_MOVES[state].get(event)
        if after is not None:
            assert move(state, event, "VM a") is after
            continue
        with pytest.raises(WrongState, match=f"VM a is {state.value}"):
            move(state, event, "VM a")


def test_attaching_an_attached_vf_says_what_to_do() -> None:
    with pytest.raises(WrongState) as caught:
        move(VfState.ATTACHED, VfEvent.ATTACH, "VF speech")
    assert str(caught.value) == (
        "VF speech is attached, which does not allow 'attach'; it allows detach "
        "(detach it first: vaccelctl vf detach speech)"
    )


def test_dead_allows_nothing() -> None:
    with pytest.raises(WrongState, match="it allows nothing but waiting"):
        move(VmState.DEAD, VmEvent.STOP, "VM guest")


def test_every_state_of_a_vf_is_reached_and_can_be_left() -> None:
    reached = {after for moves in VF_MOVES.values() for after in moves.values()}
    assert reached == set(VfState) - {VfState.CREATING}
    assert all(VF_MOVES[state] for state in VfState)


def test_a_vf_can_always_be_got_rid_of() -> None:
    for start in VfState:
        seen, todo = set(), [start]
        while todo:
            state = todo.pop()
            if state not in seen:
                seen.add(state)
                todo += VF_MOVES[state].values()
        assert VfState.DESTROYING in seen


def test_an_operation_that_needs_a_state_names_it() -> None:
    require(VmState.RUNNING, (VmState.RUNNING,), "VM guest")
    with pytest.raises(WrongState, match="VM guest is dead, and must be running or starting"):
        require(VmState.DEAD, (VmState.RUNNING, VmState.STARTING), "VM guest")
