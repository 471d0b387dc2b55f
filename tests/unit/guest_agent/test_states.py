from __future__ import annotations

import pytest

from guest_agent.backoff import Backoff
from guest_agent.states import MOVES, Event, State, move
from vaccel import bounds
from vaccel.errors import WrongState


def test_every_state_has_moves_and_ends_when_the_function_goes() -> None:
    assert set(MOVES) == set(State)
    assert MOVES[State.GONE] == {}
    for state in set(State) - {State.GONE}:
        assert move("vf", state, Event.VANISHED) is State.GONE


def test_ready_is_reached_through_the_host_only() -> None:
    ways = {(s, e) for s, table in MOVES.items() for e, to in table.items() if to is State.READY}
    assert ways == {(State.ENROLLING, Event.ACCEPTED), (State.RECONNECTING, Event.ACCEPTED)}


def test_an_impossible_move_names_what_is_allowed() -> None:
    with pytest.raises(WrongState, match="vf-1 is gone: accepted cannot happen, only nothing"):
        move("vf-1", State.GONE, Event.ACCEPTED)
    with pytest.raises(WrongState, match="only refused, failed, broken, vanished"):
        move("vf-1", State.READY, Event.TOKEN)


def test_pauses_double_up_to_the_bound_and_start_again() -> None:
    longest = Backoff(lambda: 1.0)
    pauses = [longest.next() for _ in range(12)]
    assert pauses[:3] == pytest.approx([0.1, 0.2, 0.4])
    assert pauses[-1] == pytest.approx(bounds.BACKOFF_LAST_SECONDS)
    longest.reset()
    assert longest.next() == pytest.approx(0.1)
    shortest = Backoff(lambda: 0.0)
    assert {shortest.next() for _ in range(12)} == {bounds.BACKOFF_FIRST_SECONDS}
