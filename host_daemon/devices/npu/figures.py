"""What a card is said to do, with sources: the public figures, and the model's beside them.

For a card with a ``[published]`` table, its memory, clock and bandwidth are public figures too,
save where the file says that they are this project's assumption; a generic card publishes nothing.
``unverified`` is of what the figure comes from: the published value where there is one, else the
values of the file that decide it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from host_daemon.devices.fields import Provenance
from host_daemon.devices.header import Header
from host_daemon.devices.npu import energy
from host_daemon.devices.npu.parameters import NpuParameters
from vaccel.inventory import Figure

# How the sources of the catalogue begin that are nobody's publication.
_ASSUMED: Final = "this project's"


@dataclass(frozen=True, slots=True)
class _Sources:
    """Values of the card's file by field."""

    by_field: dict[str, Provenance]

    def figure(
        self, name: str, value: float, unit: str, fields: str, published: float = 0.0
    ) -> Figure:
        """A figure that comes from these fields, blanks between them; the first is its source."""
        found = [self.by_field[field] for field in fields.split()]
        first, unverified = found[0], any(each.unverified for each in found)
        return Figure(name, value, unit, published, first.source, unverified, first.note)


def figures(header: Header, parameters: NpuParameters) -> tuple[Figure, ...]:
    """All figures of a card, units as ``Figure`` says."""
    sources = _Sources({each.field: each for each in parameters.provenance})
    return (
        *_card(header, parameters, sources),
        *_power(header, parameters, sources),
        *_arithmetic(header, parameters, sources),
    )


def _card(header: Header, own: NpuParameters, sources: _Sources) -> Iterator[Figure]:
    public = bool(own.published_peaks)
    for name, value, unit in (
        ("cores", float(header.cores), ""),
        ("clock", header.clock_hz, "Hz"),
        ("memory", float(header.memory_bytes), "B"),
        ("bandwidth", float(header.bandwidth_bytes_per_second), "B/s"),
    ):
        assumed = sources.by_field[f"card.{name}"].source.startswith(_ASSUMED)
        published = value if public and not assumed else 0.0
        yield sources.figure(name, value, unit, f"card.{name}", published)
    sustained = header.bandwidth_bytes_per_second * own.efficiency
    yield sources.figure("bandwidth sustained", sustained, "B/s", "dram.efficiency card.bandwidth")
    per_core = header.cores * header.clock_hz
    sram = own.sram_bytes_per_cycle * per_core
    yield sources.figure("SRAM bandwidth", sram, "B/s", "sram.bandwidth")
    yield sources.figure("launch overhead", own.launch_seconds, "s", "launch.overhead")
    yield sources.figure("node issue", own.node_cycles / header.clock_hz, "s", "launch.node")
    yield sources.figure("energy per byte of DRAM", own.energy.dram, "J", "energy.dram")
    yield sources.figure("energy per byte of SRAM", own.energy.sram, "J", "energy.sram")


def _power(header: Header, own: NpuParameters, sources: _Sources) -> Iterator[Figure]:
    idle = energy.idle_watts(own, header.cores, header.cores)
    yield sources.figure("power idle", idle, "W", "power.shared power.core_idle")
    most = max(energy.peak_watts(own, header, name) for name in own.arithmetic)
    published = own.published_watts
    field = "power.shared" if published is None else "published.power"
    yield sources.figure("power peak", most, "W", field, published or 0.0)


def _arithmetic(header: Header, own: NpuParameters, sources: _Sources) -> Iterator[Figure]:
    for name, each in own.arithmetic.items():
        peak = energy.peak_operations(own, name, header.cores, header.clock_hz)
        published = own.published_peaks.get(name, 0.0)
        field = f"published.peak_{name}" if published else f"arithmetic.{name}.rate"
        yield sources.figure(f"peak {name}", peak, "OP/s", field, published)
        joules = each.joules + own.energy.register
        fields = f"arithmetic.{name}.energy energy.register"
        yield sources.figure(f"energy per MAC {name}", joules, "J", fields)
