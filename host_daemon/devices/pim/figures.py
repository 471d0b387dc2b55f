"""What a PIM card is said to do, and the model's figures beside it: alike for all families."""

from __future__ import annotations

from dataclasses import dataclass

from host_daemon.devices.header import Header
from host_daemon.devices.pim.parameters import PimParameters
from vaccel.inventory import Figure


@dataclass(frozen=True, slots=True)
class Inside:
    """What a family's banks hold. ``field`` names the fields of the card's file that counts and
    joules come from.

    ``units`` a channel, named ``unit``, each read ``access_bytes`` at a time, ``accesses`` times a
    second in all of the card, and do ``lanes`` multiply-adds in ``arithmetic`` with them;
    ``access_joules`` is what that costs, in all. ``mac`` and ``commands`` are joules of one MAC
    and of commands by name; ``way_out`` names what ``byte`` joules carry a byte over.
    """

    unit: str
    units: int
    banks: int
    accesses: float
    access_bytes: int
    access_joules: float
    lanes: int
    arithmetic: str
    mac: float
    commands: dict[str, float]
    way_out: str
    byte: float
    published_internal: float
    published_peak: float
    field: dict[str, str]


def figures(header: Header, parameters: PimParameters, inside: Inside) -> tuple[Figure, ...]:
    """All figures of a card, units as ``Figure`` says, each with its source."""
    sources = {each.field: each for each in parameters.provenance}

    def figure(name: str, value: float, unit: str, field: str, published: float = 0.0) -> Figure:
        found = sources[inside.field.get(field, field)]
        return Figure(
            name, value, unit, published, found.source, found.unverified, found.note
        )

    def peak(name: str, value: float, unit: str, key: str, published: float) -> Figure:
        return figure(name, value, unit, f"published.{key}", published)

    kind, power, channels = inside.arithmetic, parameters.power, header.cores
    idle = channels * power.channel_idle + power.shared
    busy = channels * power.channel_active + power.shared + inside.accesses * inside.access_joules
    read, done = inside.accesses * inside.access_bytes, 2 * inside.lanes * inside.accesses
    return (
        figure("channels", channels, "", "card.cores"),
        figure("banks", channels * inside.banks, "", "banks"),
        figure(inside.unit, channels * inside.units, "", "units"),
        figure("clock", header.clock_hz, "Hz", "card.clock"),
        figure("memory", header.memory_bytes, "B", "card.memory"),
        figure("bandwidth", header.bandwidth_bytes_per_second, "B/s", "card.bandwidth"),
        peak("internal bandwidth", read, "B/s", "internal_bandwidth", inside.published_internal),
        peak(f"peak {kind}", done, "OP/s", f"peak_{kind}", inside.published_peak),
        figure(f"energy per MAC {kind}", inside.mac, "J", "energy.mac"),
        *(
            figure(f"energy per {name}", joules, "J", f"energy.{name}")
            for name, joules in inside.commands.items()
        ),
        figure(f"energy per byte on the {inside.way_out}", inside.byte, "J", "byte"),
        figure("power idle", idle, "W", "power.channel_idle"),
        figure("power peak", busy, "W", "power.channel_active"),
        figure("launch overhead", parameters.launch_seconds, "s", "launch.overhead"),
    )
