"""What a device adds to the port whose cells remember: non-volatile memory that computes.

Life
    The daemon keeps one file of cells per card. Each core has ``Card.cell_bytes`` of it, and a VF's
    worker maps those of its own cores and no others. ``begin`` hands them over with the VF's seed
    and the card's clock, before anything of a guest is looked at. What was written stays when the
    worker ends, as it does in a card that loses power; before cores change hands, ``LastingKind.
    erase`` clears them and makes sure of it.

Time
    The clock is the operator's: seconds since the card was first declared, moved on request, never
    back. No wall clock is asked, so that a run of today repeats tomorrow.

Chance
    All noise comes from ``Life.seed``: 32 bytes that the daemon derives from a secret of the host
    and the VF's id. Guests never see it, and one VF's noise tells nothing of another's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from host_daemon.core.device import Card
from vaccel.inventory import Condition
from vaccel.model import Cost


@dataclass(frozen=True, slots=True)
class Life:
    """What a device goes on from. ``cells`` is writable: ``Card.cell_bytes`` for each core."""

    seed: bytes
    cells: memoryview
    clock_seconds: float


@dataclass(frozen=True, slots=True)
class Erasure:
    """What clearing some cores took: the work, and what the owner had written."""

    cells: int
    passes: int
    seconds: float
    joules: float
    owner_writes: int


@runtime_checkable
class Lasting(Protocol):
    """A ``DeviceModel`` whose cells remember. Called on the thread that launches run on."""

    def begin(self, life: Life) -> None:
        """Take over the cells, before anything else is asked.

        Raises InvalidArgument naming field and value where they are of another card.
        """

    def set_clock(self, seconds: float) -> None:
        """Move the clock. Raises InvalidArgument where it would go backwards."""

    def recalibrate(self) -> Cost:
        """Measure what drift has done and compensate it: what that costs."""

    def upkeep(self) -> Cost | None:
        """What the device has spent by itself since this was last asked, to keep a promise."""

    def condition(self) -> Sequence[Condition]:
        """How the cells are: age, calibration, expected error, wear, faults."""


@runtime_checkable
class LastingKind(Protocol):
    """A ``Kind`` of such devices."""

    def erase(self, card: Card, cells: memoryview, seed: bytes) -> Erasure:
        """Clear cores whose owner has gone, and verify it. ``cells`` is theirs, writable.

        What an owner may have left there is hostile. Wear stays. Raises HostFault naming the core
        that does not verify.
        """

    def survey(self, card: Card, cells: memoryview) -> Sequence[Condition]:
        """How the cores of a card are, free ones included."""
