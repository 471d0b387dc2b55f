"""The kind ``npu-pim``: from a card file to the model of a VF."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from host_daemon.core.device import Card, DeviceModel
from host_daemon.devices.fields import open_card
from host_daemon.devices.header import read_header
from host_daemon.devices.npu.kernels import prove as prove_npu
from host_daemon.devices.npu_pim.device import NpuPimDevice
from host_daemon.devices.npu_pim.figures import figures
from host_daemon.devices.npu_pim.parameters import read_parameters
from host_daemon.devices.pim.family import FAMILIES, find_family
from vaccel.errors import InvalidArgument
from vaccel.model import Profile


class NpuPimKind:
    """An NPU and DRAM whose banks compute, in one address space. A VF owns cores and channels."""

    name: ClassVar[str] = "npu-pim"

    def prove(self) -> None:
        """The self-tests of both. Raises HostFault."""
        prove_npu()
        for name in FAMILIES:
            find_family(name).prove()

    def card(self, table: Mapping[str, Any], where: str) -> Card:
        """Check a card file. Raises InvalidArgument naming the field, its value and the file."""
        root = open_card(table, where)
        root.choice("kind", (self.name,))
        header = read_header(root)
        parameters = read_parameters(root, header)
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
            arithmetic=tuple(parameters.npu.arithmetic),
            source=header.summary,
            parameters=parameters,
            figures=figures(header, parameters),
        )

    def model(self, card: Card, profile: Profile) -> DeviceModel:
        """The model of what a VF of this profile owns."""
        if profile not in card.profiles:
            there = ", ".join(each.name for each in card.profiles)
            raise InvalidArgument(
                f"profile {profile.name!r} is not of card {card.name}", hint=f"it has: {there}"
            )
        return NpuPimDevice(card, profile)
