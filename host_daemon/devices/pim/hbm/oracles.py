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
from host_daemon.devices.pim.hbm.long import spent
from host_daemon.devices.pim.hbm.parameters import MOST_CHANNELS
from host_daemon.devices.pim.hbm.plain import cycles, sent
from host_daemon.devices.pim.hbm.timing import Timing
from host_daemon.devices.pim.hbm.work import HALF
from host_daemon.devices.pim.sizes import matrix, vector
from vaccel.errors import InvalidArgument

_REFRESH: Final = re.compile(r"(default|refresh_disabled)_tREFI([0-9]{1,9}|1e8)")
# Cycles between a rank's refreshes below which the two ranks would do little else.
_LEAST_INTERVAL: Final = 900
# Without PIM: the host reads and writes over the bus.
_PLAIN: Final = ("host", "no_pim", "nopim", "non_pim")
_ELEMENTWISE: Final = {"ADD": kernels.binary, "MUL": kernels.binary, "RELU": kernels.unary}
_TREE: Final = "GEMV_TREE"
_KERNELS: Final = ("GEMV", _TREE, *_ELEMENTWISE)
# Tiles up to which a kernel's time is the state machine's, refresh by refresh: 0.1 s.
_EXACT: Final = 1 << 17

# Tests that PIMSimulator ships, as the file names them, and numbers among their results.
_TEST: Final = re.compile(
    r"\w+\.(?:hbm_(?P<way>read|write)_bandwidth|(?P<kernel>\w+)) (?P<first>\d+)"
    r"(?:x(?P<second>\d+))?(?: MiB)?"
)
_CHANNELS: Final = re.compile(r"(\d+)ch")
_VALUE: Final = re.compile(r"PIM (\d+)|(\d+) GB/s")


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


def _name(row: Mapping[str, str]) -> str:
    given = row.get("kernel", "")
    name = given.upper().replace("GEMVTREE", _TREE)
    if name not in _KERNELS:
        raise InvalidArgument(f"column kernel = {given!r}", hint=f"one of {', '.join(_KERNELS)}")
    return name


def in_banks(name: str, outputs: int, inputs: int, channels: int, timing: Timing) -> int:
    """Cycles of a kernel as PIMSimulator runs it.

    An element-wise kernel leaves out what does not fill a tile of every channel: the simulator
    divides without a remainder, where a card must round up.
    """
    if name in _ELEMENTWISE:
        bursts = -(-outputs // kernels.LANES)
        tiles = bursts // (kernels.TILE_ELEMENTS // kernels.LANES * channels)
        make = _ELEMENTWISE[name]
        return spent(lambda count, _: make(count), tiles, 1, timing, _EXACT).cycles
    tiles = -(-inputs // kernels.TILE_INPUTS)
    rounds = -(-outputs // (kernels.TILE_OUTPUTS * channels))
    of = kernels.gemv_tree if name == _TREE else kernels.gemv
    return spent(of, tiles, rounds, timing, _EXACT).cycles


def pimsimulator(row: Mapping[str, str]) -> int:
    """PIMSimulator's ``mem_cycles_1ns`` of a kernel."""
    mode, timing = row.get("mode", ""), _timing(row.get("refresh", ""))
    channels, name = integer(row, "channels", MOST_CHANNELS), _name(row)
    outputs, inputs = matrix(row) if name in ("GEMV", _TREE) else (vector(row), 0)
    if mode in _PLAIN:
        return cycles(name.removesuffix("_TREE"), outputs, inputs, channels, timing)
    if mode != "pim":
        raise InvalidArgument(f"column mode = {mode!r}", hint=f"pim, or {', '.join(_PLAIN)}")
    return in_banks(name, outputs, inputs, channels, timing)


def shipped(row: Mapping[str, str]) -> float:
    """Of a test that PIMSimulator ships: cycles of its kernel in the banks, data already there; of
    one of bandwidth GB/s, cut off as it prints them.
    """
    test, config = row.get("test", ""), row.get("config", "")
    match, many = _TEST.fullmatch(test), _CHANNELS.search(config)
    if match is None:
        raise InvalidArgument(
            f"column test = {test!r} is unknown", hint="such as PIMBenchFixture.add 1048576"
        )
    channels = {"channels": many[1] if many else ""}
    if match["way"]:
        count = integer({"test": match["first"]}, "test", 1 << 10) << 20
        group = [(match["way"] == "write", count // HALF)]
        return float(count // sent([group], integer(channels, "channels"), Timing()))
    row = channels | {"mode": "pim", "refresh": "default_tREFI3900", "kernel": match["kernel"]}
    row |= {"out_dim": match["first"], "in_dim": match["second"] or match["first"]}
    return float(pimsimulator(row))


def _expected(text: str) -> float | None:
    match = _VALUE.search(text)
    return float(match[1] or match[2]) if match else None


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
    Oracle(
        "pim/pimsimulator_shipped_tests.csv",
        ("test", "config"),
        "value",
        "value",
        shipped,
        passes=1,
        expected=_expected,
    ),
)
