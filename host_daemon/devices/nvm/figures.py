"""What an NVM card is said to do, with sources: the public figures, and the model's beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from host_daemon.devices.fields import Provenance
from host_daemon.devices.header import Header
from host_daemon.devices.nvm import energy
from host_daemon.devices.nvm.parameters import NvmParameters
from vaccel.inventory import Figure

_ASSUMED: Final = "this project's"


def figures(header: Header, own: NvmParameters) -> tuple[Figure, ...]:
    """All figures of a card, units as ``Figure`` says."""
    sources = {each.field: each for each in own.provenance}
    return (*_card(header, own, sources), *_tiles(header, own, sources))


def _figure(
    sources: dict[str, Provenance],
    name: str,
    value: float,
    unit: str,
    fields: str,
    published: float = 0.0,
) -> Figure:
    """A figure that comes from these fields, blanks between them; the first is its source."""
    found = [sources[field] for field in fields.split()]
    unverified = any(each.unverified for each in found)
    return Figure(name, value, unit, published, found[0].source, unverified, found[0].note)


def _card(header: Header, own: NvmParameters, sources: dict[str, Provenance]) -> Iterator[Figure]:
    public = own.published_peak > 0
    for name, value, unit in (
        ("cores", float(header.cores), ""),
        ("clock", header.clock_hz, "Hz"),
        ("memory", float(header.memory_bytes), "B"),
        ("bandwidth", float(header.bandwidth_bytes_per_second), "B/s"),
    ):
        assumed = sources[f"card.{name}"].source.startswith(_ASSUMED)
        published = value if public and not assumed else 0.0
        yield _figure(sources, name, value, unit, f"card.{name}", published)
    idle = header.cores * own.power.tile_idle + own.power.shared
    yield _figure(sources, "power idle", idle, "W", "power.shared power.tile_idle")
    field = "published.power" if own.published_watts else "power.shared"
    most = _peak_watts(header, own)
    yield _figure(sources, "power peak", most, "W", field, own.published_watts)


def _tiles(header: Header, own: NvmParameters, sources: dict[str, Provenance]) -> Iterator[Figure]:
    tile = own.tile
    weights = float(tile.rows * tile.columns * header.cores)
    yield _figure(sources, "weights", weights, "", "tile.rows tile.columns")
    yield _figure(sources, "MVM of a tile", tile.mvm_seconds, "s", "tile.mvm")
    joules = energy.mvm_joules(own)
    yield _figure(sources, "energy per MVM", joules, "J", "energy.cell energy.dac energy.adc")
    ohms = own.periphery.wire_ohms
    yield _figure(sources, "wire resistance", ohms, "ohm", "wires.segment")
    yield _figure(sources, "endurance", float(tile.endurance), "", "tile.endurance")
    peak = energy.peak_operations(own, header.cores)
    field = "published.peak" if own.published_peak else "tile.mvm"
    yield _figure(sources, "peak analog", peak, "OP/s", field, own.published_peak)
    per_mac = joules / (tile.rows * tile.columns)
    field = "published.efficiency" if own.published_efficiency else "energy.adc"
    published = 2 / own.published_efficiency if own.published_efficiency else 0.0
    yield _figure(sources, "energy per MAC analog", per_mac, "J", field, published)


def _peak_watts(header: Header, own: NvmParameters) -> float:
    """All tiles busy with MVMs."""
    static = header.cores * own.power.tile_active + own.power.shared
    return static + header.cores * energy.mvm_joules(own) / own.tile.mvm_seconds
