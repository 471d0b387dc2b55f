"""The kind ``pim``: from a card file to the model of a VF, by the card's family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from host_daemon.core.device import Card, DeviceModel
from host_daemon.devices.fields import open_card
from host_daemon.devices.header import read_header
from host_daemon.devices.pim.device import PimDevice
from host_daemon.devices.pim.family import FAMILIES, find_family
from host_daemon.devices.pim.parameters import PimParameters, read_parameters
from vaccel.errors import InvalidArgument
from vaccel.model import Profile


class PimKind:
    """DRAM whose banks compute. A core is a channel: a VF owns whole channels."""

    name: ClassVar[str] = "pim"

    def prove(self) -> None:
        """The self-tests of every family. Raises HostFault."""
        for name in FAMILIES:
            find_family(name).prove()

    def card(self, table: Mapping[str, Any], where: str) -> Card:
        """Check a card file. Raises InvalidArgument naming the field, its value and the file."""
        root = open_card(table, where)
        root.choice("kind", (self.name,))
        family = find_family(root.choice("family", tuple(FAMILIES)))
        header = read_header(root)
        own = family.read(root, header)
        parameters = read_parameters(root, family.name, own)
        root.finish()
        return Card(
            name=header.name,
            kind=self.name,
            vendor=header.vendor,
            cores=header.cores,
            clock_hz=header.clock_hz,
            memory_bytes=header.memory_bytes,
            bandwidth_bytes_per_second=header.bandwidth_bytes_per_second,
            profiles=header.profiles,
            arithmetic=family.arithmetic(own),
            source=header.summary,
            parameters=parameters,
            figures=family.figures(header, parameters),
        )

    def model(self, card: Card, profile: Profile) -> DeviceModel:
        """The model of what a VF of this profile owns."""
        if not isinstance(card.parameters, PimParameters):
            raise InvalidArgument(f"card {card.name} is of kind {card.kind!r}, not pim")
        if profile not in card.profiles:
            there = ", ".join(each.name for each in card.profiles)
            raise InvalidArgument(
                f"profile {profile.name!r} is not of card {card.name}", hint=f"it has: {there}"
            )
        return PimDevice(card, profile, find_family(card.parameters.family).banks(card, profile))
