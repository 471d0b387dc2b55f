"""The kind ``fake``: instant, deterministic, and with one switch per fault.

A switch is a list of ONNX operations in the card's ``[faults]``; ``"*"`` is every operation. They
act when a program launches such an operation, in the order of this table::

    refuse    cost raises Unsupported, so that a program with it does not compile
    lose      run raises DeviceLost
    hang      run takes ``hang_time``
    crash     run ends the worker's process by SIGKILL
    corrupt   run returns the right shapes, all zeros

An operator starts it like any card; nothing falls back to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from host_daemon.core.device import Card, DeviceModel
from host_daemon.devices.fake.device import FakeDevice
from host_daemon.devices.fake.faults import FAULTS, Faults
from host_daemon.devices.fields import Provenance, open_card
from host_daemon.devices.header import read_header
from vaccel import units
from vaccel.errors import InvalidArgument
from vaccel.model import Profile


@dataclass(frozen=True, slots=True)
class FakeParameters:
    """The switches, and where the card's values come from."""

    faults: Faults
    provenance: tuple[Provenance, ...]


class FakeKind:
    """Instant and deterministic."""

    name: ClassVar[str] = "fake"

    def prove(self) -> None:
        """Nothing: it computes nothing of its own."""

    def card(self, table: Mapping[str, Any], where: str) -> Card:
        """Check a card file. Raises InvalidArgument naming the field, its value and the file."""
        root = open_card(table, where)
        root.choice("kind", (self.name,))
        header = read_header(root)
        section = root.section("faults")
        switches = {name: section.names(name) for name in FAULTS}
        hang = section.quantity("hang_time", units.TIME, zero=True)
        section.finish()
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
            arithmetic=("fp32",),
            source=header.summary,
            parameters=FakeParameters(
                Faults(**switches, hang_seconds=hang), tuple(root.provenance)
            ),
        )

    def model(self, card: Card, profile: Profile) -> DeviceModel:
        """The model of what a VF of this profile owns."""
        if profile not in card.profiles:
            raise InvalidArgument(f"profile {profile.name!r} is not of card {card.name}")
        if not isinstance(card.parameters, FakeParameters):
            raise InvalidArgument(f"card {card.name} is of kind {card.kind!r}, not fake")
        return FakeDevice(card, profile, card.parameters.faults)
