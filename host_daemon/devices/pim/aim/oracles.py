"""The public AiM simulator that the timing is validated against, and its parameters.

arkhadem/aim_simulator 0f28a07 (on Ramulator 2), preset ``GDDR6_AiM_timing``: a command clock of
2 GHz. It does not refresh: its refresh manager looks for ranks, which GDDR6 has none of there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from host_daemon.devices.oracle import Oracle, integer, within
from host_daemon.devices.pim.aim.gemv import Gemv, spend
from host_daemon.devices.pim.aim.parameters import MOST_CHANNELS
from host_daemon.devices.pim.aim.timing import Timing
from host_daemon.devices.pim.sizes import matrix
from vaccel.errors import InvalidArgument

SIMULATED: Final = Timing(
    burst=2,
    ccd=2,
    rcd_mac=56,
    rcd_ewmul=25,
    rcd_af=86,
    rcd_read=36,
    rcd_read_copy=66,
    rcd_write=28,
    rcd_write_copy=48,
    rp=32,
    ras=54,
    rrd_short=5,
    rrd_long=6,
    write_recovery=33,
    read_to_precharge=12,
    read_latency=50,
    write_latency=6,
    write_to_read_short=9,
    write_to_read_long=11,
    mode_change=32,
)


def gemv_of(row: Mapping[str, str]) -> Gemv:
    """The product of a row. Raises InvalidArgument naming column and value, or the case where it
    gives no sizes: its name alone does not say what was run.

    A case that ends with ``_gb_written_once`` writes the global buffer in its first pass only,
    whatever the length of its inputs: the simulator holds no data that could be wrong.
    """
    case = row.get("case", "")
    if not (row.get("out_dim") or row.get("in_dim")):
        raise InvalidArgument(f"column case = {case!r} has no out_dim and in_dim beside it")
    outputs, inputs = matrix(row)
    channels = integer(row, "channels", MOST_CHANNELS)
    return Gemv(outputs, inputs, channels, case.endswith("_gb_written_once"))


def cycles(row: Mapping[str, str]) -> int:
    """The simulator's ``memory_system_cycles``, in cycles of the command clock."""
    return spend(gemv_of(row), SIMULATED).cycles


ORACLES: Final = (
    Oracle(
        "pim/aim_simulator_cycles.csv",
        ("case", "out_dim", "in_dim", "channels"),
        "cycles",
        "cycles",
        cycles,
        "host_cpu_s",
        allowed=within(0.005),
    ),
)
