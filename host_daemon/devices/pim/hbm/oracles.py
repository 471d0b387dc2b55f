"""Samsung's PIMSimulator (SAITPublic, b464dde), which the timing is validated against.

Its configuration is the default ``Timing``: HBM2 at tCK = 1 ns, two ranks of which kernels use the
first, so that refreshes fall at cycle 1950 and every 1950 after, every other one of them the
first rank's. Nothing is fitted: the controller's rules are read from its sources and trace.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from host_daemon.devices.oracle import Oracle, integer, within
from host_daemon.devices.pim.hbm import kernels
from host_daemon.devices.pim.hbm.plain import cycles
from host_daemon.devices.pim.hbm.schedule import schedule
from host_daemon.devices.pim.hbm.timing import Timing
from vaccel.errors import InvalidArgument

_REFRESH: Final = re.compile(r"(default|refresh_disabled)_tREFI([0-9]{1,9}|1e8)")
# Cycles between a rank's refreshes below which the two ranks would do little else.
_LEAST_INTERVAL: Final = 900
# Without PIM: the host reads and writes over the bus.
_PLAIN: Final = ("host", "no_pim", "nopim", "non_pim")
_ELEMENTWISE: Final = {"ADD": kernels.binary, "MUL": kernels.binary, "RELU": kernels.unary}


def _timing(text: str) -> Timing:
    match = _REFRESH.fullmatch(text)
    if match is None:
        raise InvalidArgument(
            f"column refresh = {text!r} is unknown",
            hint="default_tREFI3900 or refresh_disabled_tREFI1e8",
        )
    interval = int(match[2]) if match[2] != "1e8" else 0
    if 0 < interval < _LEAST_INTERVAL:
        raise InvalidArgument(
            f"column refresh = {text!r}: refreshes every {interval} cycles leave no time to work",
            hint=f"at least {_LEAST_INTERVAL}, or 0 for none",
        )
    return Timing(refresh_interval=interval)


def _kernel(row: Mapping[str, str]) -> kernels.Kernel:
    channels, outputs = integer(row, "channels"), integer(row, "out_dim")
    name = row.get("kernel", "")
    if name == "GEMV":
        tiles = -(-integer(row, "in_dim") // kernels.TILE_INPUTS)
        return kernels.gemv(tiles, -(-outputs // (kernels.TILE_OUTPUTS * channels)))
    if name not in _ELEMENTWISE:
        raise InvalidArgument(f"column kernel = {name!r}", hint="GEMV, ADD, MUL or RELU")
    return _ELEMENTWISE[name](-(-outputs // (kernels.TILE_ELEMENTS * channels)))


def pimsimulator(row: Mapping[str, str]) -> int:
    """PIMSimulator's ``mem_cycles_1ns`` of a kernel."""
    mode, timing = row.get("mode", ""), _timing(row.get("refresh", ""))
    if mode in _PLAIN:
        kernel, channels = row.get("kernel", ""), integer(row, "channels")
        if kernel not in ("GEMV", *_ELEMENTWISE):
            raise InvalidArgument(f"column kernel = {kernel!r}", hint="GEMV, ADD, MUL or RELU")
        outputs, inputs = integer(row, "out_dim"), integer(row, "in_dim")
        return cycles(kernel, outputs, inputs, channels, timing)
    if mode != "pim":
        raise InvalidArgument(f"column mode = {mode!r}", hint=f"pim, or {', '.join(_PLAIN)}")
    return schedule(timing).spent(_kernel(row)).cycles


ORACLES: Final = (
    Oracle(
        "pim/pimsimulator_cycles.csv",
        ("channels", "kernel", "mode", "refresh", "out_dim", "in_dim"),
        "mem_cycles_1ns",
        "mem_cycles_1ns",
        pimsimulator,
        "host_cpu_s",
        allowed=within(0.005),
    ),
)
