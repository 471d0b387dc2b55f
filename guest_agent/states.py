"""States of the connection of one VF, and the table of moves between them. Pure."""

from __future__ import annotations

from enum import Enum
from typing import Final

from vaccel.errors import WrongState


class State(Enum):
    """Where a VF stands."""

    FOUND = "found"  # its PCI function is there; header or credential still wanting
    ENROLLING = "enrolling"  # turning the token into a credential
    READY = "ready"  # apps may use it
    RECONNECTING = "reconnecting"  # a credential is at hand; the host is away
    GONE = "gone"  # unplugged


class Event(Enum):
    """What happened to it."""

    TOKEN = "token"  # noqa: S105  (the header holds a token and no credential is kept)
    CREDENTIAL = "credential"  # a credential for the header's epoch is kept
    ACCEPTED = "accepted"  # the host took the credential
    REFUSED = "refused"  # the host knows neither token nor credential
    FAILED = "failed"  # no answer, or one that asks to try again
    BROKEN = "broken"  # the connection went
    VANISHED = "vanished"  # the PCI function went


MOVES: Final[dict[State, dict[Event, State]]] = {
    State.FOUND: {
        Event.TOKEN: State.ENROLLING,
        Event.CREDENTIAL: State.RECONNECTING,
        Event.REFUSED: State.FOUND,
        Event.FAILED: State.FOUND,
        Event.VANISHED: State.GONE,
    },
    State.ENROLLING: {
        Event.ACCEPTED: State.READY,
        Event.REFUSED: State.FOUND,
        Event.FAILED: State.FOUND,
        Event.VANISHED: State.GONE,
    },
    State.READY: {
        Event.REFUSED: State.FOUND,
        Event.FAILED: State.RECONNECTING,
        Event.BROKEN: State.RECONNECTING,
        Event.VANISHED: State.GONE,
    },
    State.RECONNECTING: {
        # The header has risen to a new epoch while the host was away.
        Event.TOKEN: State.ENROLLING,
        Event.CREDENTIAL: State.RECONNECTING,
        Event.ACCEPTED: State.READY,
        Event.REFUSED: State.FOUND,
        Event.FAILED: State.RECONNECTING,
        Event.VANISHED: State.GONE,
    },
    State.GONE: {},
}


def move(name: str, state: State, event: Event) -> State:
    """The next state of the VF ``name``. Raises WrongState naming what is allowed."""
    try:
        return MOVES[state][event]
    except KeyError:
        allowed = ", ".join(e.value for e in MOVES[state]) or "nothing"
        raise WrongState(
            f"{name} is {state.value}: {event.value} cannot happen, only {allowed}"
        ) from None
