"""The family ``gddr6-aim``: from a card's tables to the banks of a VF, and its public figures."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from host_daemon.core.device import Card
from host_daemon.devices.fields import Provenance, Section
from host_daemon.devices.header import Header
from host_daemon.devices.pim.aim.arithmetic import gemv
from host_daemon.devices.pim.aim.banks import BF16, AimBanks
from host_daemon.devices.pim.aim.commands import Command
from host_daemon.devices.pim.aim.gemv import BANKS, LANES
from host_daemon.devices.pim.aim.parameters import COLUMN, AimParameters, read_aim
from host_daemon.devices.pim.parameters import PimParameters
from vaccel.errors import HostFault
from vaccel.inventory import Figure
from vaccel.model import Profile


class Aim:
    """SK hynix's accelerator in memory."""

    name: ClassVar[str] = "gddr6-aim"

    def prove(self) -> None:
        """That subnormal numbers are not flushed here. Raises HostFault."""
        small = np.full((16, 1), 2.0**-70, np.float32)
        if gemv(small, np.full(16, 2.0**-67, np.float32))[0] != 2.0**-133:
            raise HostFault(
                "this CPU flushes subnormal numbers to zero",
                hint="start without flush-to-zero, which some libraries set for the process",
            )

    def read(self, root: Section, header: Header) -> AimParameters:
        """Check the tables of AiM. Raises InvalidArgument naming field, value and file."""
        return read_aim(root, header)

    def arithmetic(self, own: Any) -> tuple[str, ...]:
        """bf16, and nothing else."""
        return (BF16,)

    def banks(self, card: Card, profile: Profile) -> AimBanks:
        """The banks of a profile's channels."""
        return AimBanks(card, profile)

    def figures(self, header: Header, parameters: PimParameters) -> tuple[Figure, ...]:
        """What the card is said to do, and the model's figures beside it."""
        sources = {each.field: each for each in parameters.provenance}
        own: AimParameters = parameters.own

        def figure(
            name: str, value: float, unit: str, field: str, published: float = 0.0
        ) -> Figure:
            found: Provenance = sources[field]
            source = found.source
            return Figure(name, value, unit, published, source, found.unverified, found.note)

        rate = header.clock_hz / own.timing.ccd * header.cores * BANKS
        peak, inside = 2 * LANES * rate, COLUMN * rate
        energy, power = own.energy, parameters.power
        idle = header.cores * power.channel_idle + power.shared
        busy = header.cores * power.channel_active + power.shared
        busy += header.clock_hz / own.timing.ccd * header.cores * energy.mac
        return (
            figure("channels", header.cores, "", "card.cores"),
            figure("banks", header.cores * BANKS, "", "card.cores"),
            figure("processing units", header.cores * BANKS, "", "card.cores"),
            figure("clock", header.clock_hz, "Hz", "card.clock"),
            figure("memory", header.memory_bytes, "B", "card.memory"),
            figure("bandwidth", header.bandwidth_bytes_per_second, "B/s", "card.bandwidth"),
            figure(
                "internal bandwidth",
                inside,
                "B/s",
                "published.internal_bandwidth",
                own.published_internal,
            ),
            figure("peak bf16", peak, "OP/s", "published.peak_bf16", own.published_peak),
            figure("energy per MAC bf16", energy.mac / (BANKS * LANES), "J", "energy.mac"),
            figure("energy per activation", energy.of(Command.ACTIVATE), "J", "energy.activate"),
            figure("energy per byte on the pins", energy.pins, "J", "energy.pins"),
            figure("power idle", idle, "W", "power.channel_idle"),
            figure("power peak", busy, "W", "power.channel_active"),
            figure("launch overhead", parameters.launch_seconds, "s", "launch.overhead"),
        )
