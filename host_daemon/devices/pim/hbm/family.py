"""The family ``hbm-pim``: from a card's tables to the banks of a VF, and its public figures."""

from __future__ import annotations

from typing import Any, ClassVar

from host_daemon.core.device import Card
from host_daemon.devices.fields import Section
from host_daemon.devices.header import Header
from host_daemon.devices.pim.hbm import fp16
from host_daemon.devices.pim.hbm.banks import FP16, HbmBanks
from host_daemon.devices.pim.hbm.kernels import BLOCKS, LANES
from host_daemon.devices.pim.hbm.parameters import HbmParameters, read_hbm
from host_daemon.devices.pim.hbm.timing import BANKS, BURST_BYTES
from host_daemon.devices.pim.parameters import PimParameters
from vaccel.inventory import Figure
from vaccel.model import Profile


class HbmPim:
    """Samsung's HBM with a PIM block between each pair of banks."""

    name: ClassVar[str] = "hbm-pim"

    def prove(self) -> None:
        """That this CPU rounds halves as the blocks do. Raises HostFault."""
        fp16.prove()

    def read(self, root: Section, header: Header) -> HbmParameters:
        """Check the tables of HBM-PIM. Raises InvalidArgument naming field, value and file."""
        return read_hbm(root, header)

    def arithmetic(self, own: Any) -> tuple[str, ...]:
        """Halves, and nothing else."""
        return (FP16,)

    def banks(self, card: Card, profile: Profile) -> HbmBanks:
        """The banks of a profile's channels."""
        return HbmBanks(card, profile)

    def figures(self, header: Header, parameters: PimParameters) -> tuple[Figure, ...]:
        """What the card is said to do, and the model's figures beside it."""
        sources = {each.field: each for each in parameters.provenance}
        own: HbmParameters = parameters.own

        def figure(
            name: str, value: float, unit: str, field: str, published: float = 0.0
        ) -> Figure:
            found = sources[field]
            note = found.note
            return Figure(name, value, unit, published, found.source, found.unverified, note)

        accesses = header.clock_hz / own.timing.column_long * header.cores * BLOCKS
        energy, power = own.energy, parameters.power
        idle = header.cores * power.channel_idle + power.shared
        busy = header.cores * power.channel_active + power.shared
        busy += accesses * (energy.column + LANES * energy.mac)
        return (
            figure("channels", header.cores, "", "card.cores"),
            figure("banks", header.cores * BANKS, "", "banks.per_channel"),
            figure("PIM blocks", header.cores * BLOCKS, "", "banks.blocks"),
            figure("clock", header.clock_hz, "Hz", "card.clock"),
            figure("memory", header.memory_bytes, "B", "card.memory"),
            figure("bandwidth", header.bandwidth_bytes_per_second, "B/s", "card.bandwidth"),
            figure(
                "internal bandwidth",
                accesses * BURST_BYTES,
                "B/s",
                "published.internal_bandwidth",
                own.published_internal,
            ),
            figure(
                "peak fp16",
                2 * LANES * accesses,
                "OP/s",
                "published.peak_fp16",
                own.published_peak,
            ),
            figure("energy per MAC fp16", energy.mac, "J", "energy.mac"),
            figure("energy per activation", energy.activate, "J", "energy.activate"),
            figure("energy per refresh", energy.refresh, "J", "energy.refresh"),
            figure("energy per byte on the bus", parameters.host.bus, "J", "host.bus"),
            figure("power idle", idle, "W", "power.channel_idle"),
            figure("power peak", busy, "W", "power.channel_active"),
            figure("launch overhead", parameters.launch_seconds, "s", "launch.overhead"),
        )
