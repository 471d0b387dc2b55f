"""What the file of a PIM card says beyond the common part, whatever its family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from host_daemon.devices.fields import Provenance, Section
from vaccel import units
from vaccel.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Host:
    """The processor that the DRAM is attached to, per channel of the card.

    ``rate`` is fp32 lane operations a second, ``joules`` one such operation, ``bus`` the joules of
    a byte between a bank and the processor: array access, I/O and the processor's own PHY.
    ``efficiency`` is the share of the bus that long streams sustain, refresh included.
    """

    rate: float
    joules: float
    bus: float
    efficiency: float = 1.0


@dataclass(frozen=True, slots=True)
class Power:
    """Static watts of one channel that works, of one that idles (it still refreshes), and of what
    all channels of the card share.
    """

    channel_active: float
    channel_idle: float
    shared: float


@dataclass(frozen=True, slots=True)
class PimParameters:
    """A PIM card. ``own`` is its family's; a launch costs ``launch_seconds`` and
    ``launch_joules``, each of its nodes ``node_seconds``.
    """

    family: str
    own: Any
    host: Host
    power: Power
    launch_seconds: float
    launch_joules: float
    node_seconds: float
    provenance: tuple[Provenance, ...]


def read_host(root: Section) -> Host:
    """The table ``[host]``."""
    section = root.section("host")
    host = Host(
        rate=section.quantity("rate", units.OPERATIONS),
        joules=section.quantity("energy", units.ENERGY),
        bus=section.quantity("bus", units.ENERGY_PER_BYTE),
        efficiency=section.quantity("efficiency", units.SHARE),
    )
    if host.efficiency > 1:
        raise InvalidArgument(
            f"{section.name('efficiency')} = {host.efficiency:.0%} is over 100 %"
        )
    section.finish()
    return host


def read_power(root: Section) -> Power:
    """The table ``[power]``."""
    section = root.section("power")
    power = Power(
        channel_active=section.quantity("channel_active", units.POWER),
        channel_idle=section.quantity("channel_idle", units.POWER),
        shared=section.quantity("shared", units.POWER, zero=True),
    )
    section.finish()
    return power


def read_parameters(root: Section, family: str, own: Any) -> PimParameters:
    """Check the tables that all families share. Raises InvalidArgument naming field and value."""
    launch = root.section("launch")
    parameters = PimParameters(
        family=family,
        own=own,
        host=read_host(root),
        power=read_power(root),
        launch_seconds=launch.quantity("overhead", units.TIME, zero=True),
        launch_joules=launch.quantity("energy", units.ENERGY, zero=True),
        node_seconds=launch.quantity("node", units.TIME, zero=True),
        provenance=tuple(root.provenance),
    )
    launch.finish()
    return parameters
