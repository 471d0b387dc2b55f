"""What the file of an NVM card says beyond the common part, checked. A core of it is a tile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from host_daemon.core.device import EXACT, SOLUTIONS
from host_daemon.devices.fields import Provenance, Section
from host_daemon.devices.nvm.analog.cells import Preset
from host_daemon.devices.nvm.analog.converters import Converter, InputRange, Periphery
from host_daemon.devices.nvm.analog.crossbar import Mapping as WeightMapping
from host_daemon.devices.nvm.analog.crossbar import Scaling
from host_daemon.devices.nvm.analog.presets import PRESETS
from host_daemon.devices.nvm.ranges import FILL
from vaccel import units
from vaccel.errors import InvalidArgument

# Cells of one weight: a positive and a negative one.
PAIR: Final = 2
# Each cell's writes are counted in 32 bits.
_MOST_WRITES: Final = (1 << 32) - 1
_MOST_REWRITES: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile: ``rows`` inputs by ``columns`` outputs, each weight in ``slices`` pairs of cells.

    ``stuck`` is the share of cells that never obey. ``mvm_seconds`` is one product of a vector
    with a tile, its conversions included. ``endurance`` is how often a cell can be written.
    """

    rows: int
    columns: int
    preset: Preset
    mapping: WeightMapping
    stuck: float
    mvm_seconds: float
    endurance: int
    warn: float  # worn by this share of its endurance, a tile's health is a warning

    @property
    def slices(self) -> int:
        """Pairs of cells of one weight."""
        return self.mapping.slices


@dataclass(frozen=True, slots=True)
class Energy:
    """Joules: a cell in one MVM, a conversion either way, a digital operation, a byte of memory,
    a launch. Those of a write are the cell technology's.
    """

    cell: float
    dac: float
    adc: float
    digital: float
    dram: float
    launch: float


@dataclass(frozen=True, slots=True)
class Power:
    """Static watts: of a tile that works, of one that idles, and of all that tiles share."""

    tile_active: float
    tile_idle: float
    shared: float


@dataclass(frozen=True, slots=True)
class NvmParameters:
    """An NVM card. ``per cycle`` is of the card's clock; lanes are of the digital core of a tile.

    ``rewrites`` is how often a VF of each profile may write all of its tiles, by profile.
    """

    tile: Tile
    periphery: Periphery
    dac_bits: int
    adc_bits: int
    lanes: int
    efficiency: float
    launch_seconds: float
    node_cycles: int
    energy: Energy
    power: Power
    rewrites: Mapping[str, int]
    published_peak: float  # operations per second; 0 where nobody published one
    published_watts: float
    published_efficiency: float  # operations per joule
    provenance: tuple[Provenance, ...]


def read_parameters(root: Section, profiles: tuple[str, ...]) -> NvmParameters:
    """Check the tables of an NVM card. Raises InvalidArgument naming field, value and file."""
    converter, digital, launch = (root.section(n) for n in ("converter", "digital", "launch"))
    dac_bits, adc_bits = converter.count("dac", most=16), converter.count("adc", most=16)
    tile = _tile(root.section("tile"))
    published = root.section("published") if root.has("published") else None
    parameters = NvmParameters(
        tile=tile,
        periphery=_periphery(converter, root.section("wires"), dac_bits, adc_bits),
        dac_bits=dac_bits,
        adc_bits=adc_bits,
        lanes=digital.count("lanes"),
        efficiency=digital.quantity("efficiency", units.SHARE),
        launch_seconds=launch.quantity("overhead", units.TIME, zero=True),
        node_cycles=launch.whole("node", units.CYCLES, zero=True),
        energy=_energy(root.section("energy")),
        power=_power(root.section("power")),
        rewrites=_budget(root.section("budget"), profiles),
        published_peak=_published(published, "peak", units.OPERATIONS),
        published_watts=_published(published, "power", units.POWER),
        published_efficiency=_published(published, "efficiency", units.OPERATIONS_PER_WATT),
        provenance=tuple(root.provenance),
    )
    for section in (converter, digital, launch, *((published,) if published else ())):
        section.finish()
    if parameters.efficiency > 1:
        raise InvalidArgument(
            f"{digital.name('efficiency')} = {parameters.efficiency:.0%} is over 100 %"
        )
    return parameters


def _tile(section: Section) -> Tile:
    name = section.choice("preset", tuple(PRESETS))
    mapping = WeightMapping(
        scaling=Scaling(section.choice("scaling", tuple(Scaling))),
        slices=section.count("slices", most=8),
        levels=section.count("levels", least=0, most=1 << 12),
    )
    if mapping.slices > 1 and mapping.levels == 0:
        raise InvalidArgument(
            f"{section.name('levels')} = 0 with {mapping.slices} slices: a digit has levels"
        )
    tile = Tile(
        rows=section.count("rows", most=4096),
        columns=section.count("columns", most=4096),
        preset=PRESETS[name],
        mapping=mapping,
        stuck=section.quantity("stuck", units.SHARE, zero=True),
        mvm_seconds=section.quantity("mvm", units.TIME),
        endurance=section.count("endurance", most=_MOST_WRITES),
        warn=section.quantity("warn", units.SHARE),
    )
    section.finish()
    for field, share in (("stuck", tile.stuck), ("warn", tile.warn)):
        if share > 1:
            raise InvalidArgument(f"{section.name(field)} = {share:.0%} is over 100 %")
    return tile


def _periphery(section: Section, wires: Section, dac_bits: int, adc_bits: int) -> Periphery:
    ohms = wires.quantity("segment", units.RESISTANCE, zero=True)
    exact = wires.choice("solve", SOLUTIONS) == EXACT
    wires.finish()
    mode = InputRange.MAXIMUM
    if section.has("input_range"):
        mode = InputRange(section.choice("input_range", tuple(InputRange)))
    limit = section.number("input_limit") if mode is InputRange.FIXED else FILL
    return Periphery(
        dac=Converter.of(dac_bits),
        adc=Converter.of(adc_bits, float(section.count("adc_range", most=1 << 12))),
        input_range=mode,
        fixed_range=limit,
        bound_management=section.flag("bound_management"),
        out_noise=section.quantity("output_noise", units.SHARE, zero=True),
        weight_noise=section.quantity("weight_noise", units.SHARE, zero=True),
        wire_ohms=ohms,
        exact_wires=exact,
    )


def _energy(section: Section) -> Energy:
    energy = Energy(
        cell=section.quantity("cell", units.ENERGY, zero=True),
        dac=section.quantity("dac", units.ENERGY, zero=True),
        adc=section.quantity("adc", units.ENERGY, zero=True),
        digital=section.quantity("digital", units.ENERGY, zero=True),
        dram=section.quantity("dram", units.ENERGY_PER_BYTE, zero=True),
        launch=section.quantity("launch", units.ENERGY, zero=True),
    )
    section.finish()
    return energy


def _power(section: Section) -> Power:
    power = Power(
        tile_active=section.quantity("tile_active", units.POWER, zero=True),
        tile_idle=section.quantity("tile_idle", units.POWER, zero=True),
        shared=section.quantity("shared", units.POWER, zero=True),
    )
    section.finish()
    return power


def _budget(section: Section, profiles: tuple[str, ...]) -> dict[str, int]:
    """How often a VF may write all of its tiles; a VF that may not write could hold nothing."""
    found = {name: section.count(name, most=_MOST_REWRITES) for name in profiles}
    section.finish()
    return found


def _published(section: Section | None, key: str, dimension: units.Dimension) -> float:
    if section is None or not section.has(key):
        return 0.0
    return section.quantity(key, dimension)
