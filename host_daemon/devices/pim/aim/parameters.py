"""What the file of an AiM card says beyond what all PIM cards say, checked."""

from __future__ import annotations

from dataclasses import dataclass, fields

from host_daemon.devices.fields import Section
from host_daemon.devices.header import Header
from host_daemon.devices.pim.aim.commands import Command
from host_daemon.devices.pim.aim.gemv import BANKS, LANES
from host_daemon.devices.pim.aim.timing import Timing
from vaccel import units
from vaccel.errors import InvalidArgument

# Bytes of a column: what a command moves at each bank, and over the bus.
COLUMN = 32
# Channel masks of the instructions have 32 bits.
MOST_CHANNELS = 32


@dataclass(frozen=True, slots=True)
class Energy:
    """Joules: of opening and closing one bank's row; of reading and writing 32 bytes of one bank;
    of a MAC command in all banks; of a byte on the channel's pins.
    """

    activate: float
    read: float
    write: float
    mac: float
    pins: float

    def of(self, command: Command) -> float:
        """Joules of a command in one channel."""
        pins = COLUMN * self.pins
        return {
            Command.ACTIVATE: BANKS * self.activate,  # closing included
            Command.PRECHARGE: 0.0,
            Command.MAC: self.mac,
            # One of four banks of a group computes.
            Command.EWMUL: self.mac / 4,
            Command.AF: BANKS * self.read,
            Command.WRITE_BUFFER: pins,
            Command.WRITE_MAC: self.write + pins,
            Command.READ_MAC: self.read + pins,
            Command.READ_AF: self.read + pins,
            Command.WRITE_BANKS: BANKS * self.write + pins,
            Command.MODE: 0.0,
            Command.ACTIVATE_ONE: self.activate,
            Command.PRECHARGE_ONE: 0.0,
            Command.MAC_ONE: self.mac / BANKS,
            Command.READ_ONE: self.read + pins,
            Command.WRITE_ONE: self.write + pins,
            Command.BANK_TO_BUFFER: self.read,
            Command.BUFFER_TO_BANK: self.write,
        }[command]


@dataclass(frozen=True, slots=True)
class AimParameters:
    """An AiM card: its delays and its joules. Products of at most ``rows`` left rows are the
    banks'.
    """

    timing: Timing
    energy: Energy
    rows: int
    published_peak: float
    published_internal: float


def read_aim(root: Section, header: Header) -> AimParameters:
    """Check the tables of AiM. Raises InvalidArgument naming field, value and file."""
    if header.cores > MOST_CHANNELS:
        raise InvalidArgument(
            f"{root.name('card.cores')} = {header.cores}, but an AiM card has at most"
            f" {MOST_CHANNELS} channels",
            hint="a channel is a core here",
        )
    section = root.section("timing")
    delays = {
        each.name: section.whole(each.name, units.CYCLES, zero=True) for each in fields(Timing)
    }
    section.finish()
    banks, published = root.section("banks"), root.section("published")
    parameters = AimParameters(
        Timing(**delays),
        _energy(root.section("energy")),
        banks.count("rows", most=64),
        published.quantity("peak_bf16", units.OPERATIONS),
        published.quantity("internal_bandwidth", units.BANDWIDTH),
    )
    # Layout and programs are those of this geometry.
    banks.count("per_channel", least=BANKS, most=BANKS)
    banks.count("lanes", least=LANES, most=LANES)
    banks.finish()
    published.finish()
    if parameters.timing.ccd < 1 or parameters.timing.burst < 1:
        raise InvalidArgument(
            f"{section.name('ccd')} and {section.name('burst')} are at least 1 cycle"
        )
    return parameters


def _energy(section: Section) -> Energy:
    energy = Energy(
        activate=section.quantity("activate", units.ENERGY),
        read=section.quantity("read", units.ENERGY),
        write=section.quantity("write", units.ENERGY),
        mac=section.quantity("mac", units.ENERGY),
        pins=section.quantity("pins", units.ENERGY_PER_BYTE),
    )
    section.finish()
    return energy
