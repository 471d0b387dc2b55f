"""Commands: what a submission says. One integer fence each, rising by one within a stream.

A failed command fails the rest of its own submission (``Cancelled``, naming the fence that failed);
the next submission starts clean. A fence is reached whether its command succeeded or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vaccel.errors import VaccelError
from vaccel.model import BufferRange, Cost, Value


@dataclass(frozen=True, slots=True)
class Nop:
    """Completes, and does nothing else."""


@dataclass(frozen=True, slots=True)
class Copy:
    """Copies bytes within device memory. Ranges may overlap, as in memmove."""

    source: BufferRange
    target: BufferRange
    length: int


@dataclass(frozen=True, slots=True)
class Fill:
    """Repeats a pattern of 1, 2, 4 or 8 bytes over a range."""

    target: BufferRange
    length: int
    pattern: bytes


@dataclass(frozen=True, slots=True)
class Store:
    """Puts small data, which travels in the command itself, into device memory."""

    target: BufferRange
    data: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """Asks for one output. Without a place: in the completion if small, else in a new buffer."""

    name: str
    place: BufferRange | None = None


@dataclass(frozen=True, slots=True)
class Launch:
    """Runs a program. No results named means all of them."""

    program: int
    arguments: Mapping[str, Value]
    results: tuple[Result, ...] = ()


@dataclass(frozen=True, slots=True)
class Signal:
    """Marks this point: a ``WaitFence`` on (stream, fence) passes once it is reached."""

    stream: int
    fence: int


@dataclass(frozen=True, slots=True)
class WaitFence:
    """Holds this stream until another stream has reached a fence.

    It is one of this context, or of another ``context`` of the same VF. Where that one is closed
    before the fence is reached, the wait fails with NotFound.
    """

    stream: int
    fence: int
    context: str = ""


Command = Nop | Copy | Fill | Store | Launch | Signal | WaitFence


@dataclass(frozen=True, slots=True)
class Completion:
    """What became of one command."""

    fence: int
    error: VaccelError | None = None
    cost: Cost | None = None
    results: Mapping[str, Value] = field(default_factory=dict)
