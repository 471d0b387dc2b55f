"""Waits of one stream for another, of whatever context of the VF.

Only for a fence that was submitted before: so streams never wait for each other in a circle, and
each wait ends when the other stream has come so far, or its context has closed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from vaccel.commands import Command, WaitFence
from vaccel.errors import InvalidArgument, NotFound, VaccelError

if TYPE_CHECKING:
    from host_daemon.worker.streams import Stream

# The streams of a context by name; "" is the commands' own. Raises NotFound.
StreamsOf = Callable[[str], "Mapping[int, Stream]"]


class Mark:
    """How far a stream has come, for those that wait for it: it outlives the stream."""

    __slots__ = ("closed", "parked", "reached")

    def __init__(self) -> None:
        self.reached = 0
        self.closed: VaccelError | None = None
        # Streams that hold until a fence is reached, and how to wake each.
        self.parked: dict[Stream, tuple[int, Callable[[], None]]] = {}

    def settled(self, fence: int) -> bool:
        """Whether a fence is reached, or never will be."""
        return fence <= self.reached or self.closed is not None

    def wake(self) -> None:
        """Let those go on that need not hold any longer."""
        for stream in [s for s, (fence, _) in self.parked.items() if self.settled(fence)]:
            _, go_on = self.parked.pop(stream)
            go_on()


def marks_of(
    commands: Sequence[Command],
    first_fence: int,
    fresh: int,
    streams_of: StreamsOf,
    look: Callable[[], bool],
) -> dict[int, Mark]:
    """What the waits among commands wait for, by fence of the wait, from the fence ``fresh`` on.

    ``look`` takes what is still in the rings, and says whether there was anything.

    Raises InvalidArgument for what is not submitted: it could wait forever.
    """
    waits = {
        at: command
        for at, command in enumerate(commands, first_fence)
        if isinstance(command, WaitFence) and at >= fresh
    }
    if not waits:
        return {}
    try:
        return _found(waits, streams_of)
    except InvalidArgument:
        if not look():
            raise
        return _found(waits, streams_of)  # who submitted it has done so before: it was not seen yet


def _found(waits: Mapping[int, WaitFence], streams_of: StreamsOf) -> dict[int, Mark]:
    marks: dict[int, Mark] = {}
    for at, wait in waits.items():
        other = streams_of(wait.context).get(wait.stream)
        accepted = other.accepted if other else 0
        if not 0 <= wait.fence <= accepted:
            raise InvalidArgument(
                f"{_named(wait)}: it is from the future, {accepted} is the last that was submitted"
                " there",
                hint="submit what is waited for first",
            )
        if other is not None:
            marks[at] = other.mark
    return marks


def check_passed(wait: WaitFence, mark: Mark) -> None:
    """Raise NotFound where a wait is over and its fence was not reached."""
    if mark.reached < wait.fence:
        raise NotFound(
            f"{_named(wait)}: its context was closed before that, at fence {mark.reached}",
            hint="keep the other context open until its commands are done",
        )


def _named(wait: WaitFence) -> str:
    where = f" of context {wait.context}" if wait.context else ""
    return f"wait for stream {wait.stream} fence {wait.fence}{where}"
