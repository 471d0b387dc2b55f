"""The kind ``nvm``: from a card file to the model of a VF, and what happens between two VFs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from host_daemon.core.device import Card, DeviceModel
from host_daemon.core.lasting import Erasure
from host_daemon.devices.fields import open_card
from host_daemon.devices.header import read_header
from host_daemon.devices.nvm import health
from host_daemon.devices.nvm.device import NvmDevice
from host_daemon.devices.nvm.erase import erase
from host_daemon.devices.nvm.figures import figures
from host_daemon.devices.nvm.parameters import NvmParameters, read_parameters
from host_daemon.devices.nvm.store import VERSION, TileRecord, record_bytes
from vaccel.errors import InvalidArgument
from vaccel.inventory import Condition
from vaccel.model import Profile


class NvmKind:
    """Tiles of non-volatile cells with converters, and a digital core."""

    name: ClassVar[str] = "nvm"

    def prove(self) -> None:
        """Nothing that depends on the CPU: products are those of the float32 BLAS, plus noise."""

    def card(self, table: Mapping[str, Any], where: str) -> Card:
        """Check a card file. Raises InvalidArgument naming the field, its value and the file."""
        root = open_card(table, where)
        root.choice("kind", (self.name,))
        header = read_header(root)
        names = tuple(profile.name for profile in header.profiles)
        parameters = read_parameters(root, names)
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
            arithmetic=("analog", "fp32"),
            source=header.summary,
            parameters=parameters,
            figures=figures(header, parameters),
            cell_bytes=record_bytes(parameters.tile),
            cell_layout=VERSION,
        )

    def model(self, card: Card, profile: Profile) -> DeviceModel:
        """The model of what a VF of this profile owns."""
        if profile not in card.profiles:
            there = ", ".join(each.name for each in card.profiles)
            raise InvalidArgument(
                f"profile {profile.name!r} is not of card {card.name}", hint=f"it has: {there}"
            )
        return NvmDevice(card, profile)

    def erase(self, card: Card, cells: memoryview, seed: bytes) -> Erasure:
        """Clear tiles and verify it. Raises HostFault naming the tile that does not verify."""
        own: NvmParameters = card.parameters
        count = len(cells) // record_bytes(own.tile)
        done = [erase(cells, own, seed, tile) for tile in range(count)]
        return Erasure(
            sum(each.cells for each in done),
            max((each.passes for each in done), default=0),
            max((each.seconds for each in done), default=0.0),
            sum(each.joules for each in done),
            sum(each.owner_writes for each in done),
        )

    def survey(self, card: Card, cells: memoryview) -> Sequence[Condition]:
        """How worn the tiles of a card are."""
        own: NvmParameters = card.parameters
        count = len(cells) // record_bytes(own.tile)
        records = [TileRecord.of(cells, tile, own) for tile in range(count)]
        found = health.of_card(records, own.tile.warn)
        return (health.health(found), *found)
