"""The seam between the kind ``pim`` and its families: what the banks of one product line can do.

A card's ``family`` picks a ``Family``. It reads its own tables of the card, and gives for a profile
the ``Banks`` of those channels. Everything that banks cannot do is the host's (``device.py``), so
that a family says None to it rather than estimate it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Final, Protocol, cast

from host_daemon.core.device import Card, NodeCost, Operation
from host_daemon.devices.fields import Section
from host_daemon.devices.header import Header
from vaccel.inventory import Figure
from vaccel.model import Array, Profile


class Banks(Protocol):
    """The computing banks of the channels that one VF owns."""

    @property
    def arithmetic(self) -> Sequence[str]:
        """Element types that the banks compute in."""

    def cost(self, operation: Operation) -> NodeCost | None:
        """What an operation costs here, host work that belongs to it included.

        ``place`` is "banks". ``cycles`` are by unit, all of the card's clock: "banks" while
        commands run, "host" for layout change and final sum, "bus" for data to and from the host.
        None where the banks have no way to do it. Raises InvalidArgument naming shapes that do not
        fit.
        """

    def computes(self, operation: Operation) -> bool:
        """Whether ``run`` computes it; dimensions may be unknown, see ``DeviceModel.computes``."""

    def run(self, operation: Operation, inputs: Sequence[Array | None]) -> Sequence[Array] | None:
        """Compute in the banks' own arithmetic; None where the banks have no way to do it."""


class Family(Protocol):
    """One product line of DRAM that computes. Made without arguments, once per card."""

    name: str

    def prove(self) -> None:
        """Self-tests of what it computes by. Raises HostFault where this CPU fails them."""

    def read(self, root: Section, header: Header) -> Any:
        """Check the family's own tables. Raises InvalidArgument naming field, value and file.

        The result becomes ``PimParameters.own``.
        """

    def arithmetic(self, own: Any) -> tuple[str, ...]:
        """Element types of a card's banks."""

    def figures(self, header: Header, parameters: Any) -> tuple[Figure, ...]:
        """What the card is said to do; ``parameters`` are the card's ``PimParameters``."""

    def banks(self, card: Card, profile: Profile) -> Banks:
        """The banks of a profile; ``card.parameters`` are ``PimParameters``."""


# Families by the name that card files use: module:Class, loaded when a card asks for it.
FAMILIES: Final[Mapping[str, str]] = {
    "hbm-pim": "host_daemon.devices.pim.hbm.family:HbmPim",
    "gddr6-aim": "host_daemon.devices.pim.aim.family:Aim",
}


def find_family(name: str) -> Family:
    """A family by name, one of ``FAMILIES``."""
    module, _, attribute = FAMILIES[name].partition(":")
    return cast(Family, getattr(import_module(module), attribute)())
