"""What the file of an HBM-PIM card says beyond what all PIM cards say, checked."""

from __future__ import annotations

from dataclasses import dataclass

from host_daemon.devices.fields import Section
from host_daemon.devices.header import Header
from host_daemon.devices.pim.hbm.kernels import BLOCKS, LANES
from host_daemon.devices.pim.hbm.timing import BANKS, Timing
from vaccel import units
from vaccel.errors import InvalidArgument

# What the file of a card of any kind may have.
MOST_CHANNELS = 4096
# Fields of ``Timing`` and of the card's table [timing] alike.
_CYCLES = (
    "activate_to_read",
    "activate_to_write",
    "precharge",
    "active",
    "row_cycle",
    "column_short",
    "column_long",
    "activate_short",
    "activate_long",
    "write_recovery",
    "write_to_read_long",
    "read_to_precharge_long",
    "rank_switch",
    "read_latency",
    "write_latency",
    "burst",
    "refresh",
    "refresh_interval",
)


@dataclass(frozen=True, slots=True)
class Energy:
    """Joules: of opening and closing a row of one bank; of a burst between one bank and its block;
    of a multiply-accumulate in a block; of a refresh command in one channel.
    """

    activate: float
    column: float
    mac: float
    refresh: float


@dataclass(frozen=True, slots=True)
class HbmParameters:
    """``rows``: products of matrices with at most so many left rows are the banks'."""

    timing: Timing
    energy: Energy
    rows: int
    published_peak: float
    published_internal: float


def read_hbm(root: Section, header: Header) -> HbmParameters:
    """The tables of the family. Raises InvalidArgument naming field, value and file."""
    timing, banks = root.section("timing"), root.section("banks")
    energy, published = root.section("energy"), root.section("published")
    cycles = {name: timing.whole(name, units.CYCLES) for name in _CYCLES}
    parameters = HbmParameters(
        timing=Timing(**cycles, ranks=timing.count("ranks", most=4)),
        energy=Energy(
            activate=energy.quantity("activate", units.ENERGY),
            column=energy.quantity("column", units.ENERGY),
            mac=energy.quantity("mac", units.ENERGY),
            refresh=energy.quantity("refresh", units.ENERGY),
        ),
        rows=banks.count("rows", most=64),
        published_peak=published.quantity("peak_fp16", units.OPERATIONS),
        published_internal=published.quantity("internal_bandwidth", units.BANDWIDTH),
    )
    # The data layout and the kernels are those of this geometry.
    banks.count("per_channel", least=BANKS, most=BANKS)
    banks.count("blocks", least=BLOCKS, most=BLOCKS)
    banks.count("lanes", least=LANES, most=LANES)
    for section in (timing, banks, energy, published):
        section.finish()
    _check_refresh(parameters.timing, timing)
    return parameters


def _check_refresh(timing: Timing, section: Section) -> None:
    """A channel that refreshes all the time would never get to a kernel's end."""
    least = 2 * timing.ranks * timing.refresh
    if timing.refresh_interval < least:
        raise InvalidArgument(
            f"{section.name('refresh_interval')} = {timing.refresh_interval} cycles leaves less"
            f" than half of the time to {timing.ranks} ranks with refreshes of {timing.refresh}",
            hint=f"at least {least}",
        )
