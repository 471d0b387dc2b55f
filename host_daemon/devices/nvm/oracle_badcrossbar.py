"""badcrossbar 1.1.0: exact currents of crossbars whose wires have resistance.

Random conductances and voltages are drawn as it was given them (NumPy's default generator, seeds
from 100 on, conductances first).
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from typing import Final

import numpy as np

from host_daemon.devices.nvm.analog.nodal import NodalSolver
from host_daemon.devices.nvm.analog.reals import Reals
from host_daemon.devices.nvm.analog.trials import MOST_SEEDS
from host_daemon.devices.oracle import bounded, number
from vaccel.errors import InvalidArgument

Row = Mapping[str, str]
_FIRST_SEED: Final = 100
_MOST_SIDE: Final = 512
_PATTERNS: Final = ("uniform_g", "all_on", "all_off")
_DRAWN: Final = re.compile(r"U\(([0-9.eE+-]{1,16}),([0-9.eE+-]{1,16})\)")


def _siemens(row: Row, column: str) -> float:
    """Of a resistance; an infinite one conducts nothing."""
    text = row.get(column, "")
    if text.strip().lower() in ("inf", "infinity"):
        return 0.0
    ohms = number(text, f"column {column}")
    if ohms == 0:
        raise InvalidArgument(f"column {column} = {text} is no resistance")
    return 1 / ohms


def _volts(text: str) -> tuple[float, float]:
    """The ends of what voltages are drawn from: of ``0.2`` it is one value."""
    drawn = _DRAWN.fullmatch(text.replace(" ", ""))
    ends = drawn.groups() if drawn else (text, text)
    low, high = (number(end, "column V_read") for end in ends)
    if low > high:
        raise InvalidArgument(f"column V_read = {text!r} ends below its beginning")
    return low, high


def _crossbar(row: Row, seed: int) -> tuple[Reals, Reals]:
    """Conductances in siemens and voltages of a seed."""
    shape = bounded(row, "rows", _MOST_SIDE), bounded(row, "cols", _MOST_SIDE)
    low, high = (_siemens(row, f"R_{end}_ohm") for end in ("off", "on"))
    if low > high:
        raise InvalidArgument(
            f"column R_off_ohm = {row['R_off_ohm']} is less than R_on_ohm = {row['R_on_ohm']}"
        )
    pattern = row.get("g_dist", "")
    if pattern not in _PATTERNS:
        raise InvalidArgument(
            f"column g_dist = {pattern!r} is unknown", hint=f"known: {', '.join(_PATTERNS)}"
        )
    least, most = _volts(row.get("V_read", ""))
    rng = np.random.default_rng(_FIRST_SEED + seed)
    if pattern == "uniform_g":
        cells = rng.uniform(low, high, shape)
    else:
        cells = np.full(shape, high if pattern == "all_on" else low)
    volts = np.full((1, shape[0]), most)
    return cells, volts if least == most else rng.uniform(least, most, (1, shape[0]))


def badcrossbar(row: Row) -> float:
    """The mean relative error of currents that badcrossbar has, by the exact solution."""
    ohms = number(row.get("r_wire_ohm", ""), "column r_wire_ohm")
    errors = []
    for seed in range(bounded(row, "seeds", MOST_SEEDS)):
        cells, volts = _crossbar(row, seed)
        right = volts @ cells
        size = float(np.mean(right**2))
        if size == 0:
            raise InvalidArgument("no current flows: nothing conducts, or V_read = 0")
        lost = NodalSolver(cells, ohms).currents(volts) - right
        errors.append(math.sqrt(float(np.mean(lost**2)) / size))
    return float(np.mean(errors))


def badcrossbar_rate(row: Row) -> float:
    """Our MAC/s of the same solutions, each with the factorisation that the reference makes too."""
    cells, volts = _crossbar(row, 0)
    ohms = number(row.get("r_wire_ohm", ""), "column r_wire_ohm")
    calls, spent = 0, 0.0
    start = time.process_time()
    while spent < 0.01:
        NodalSolver(cells, ohms).currents(volts)
        calls += 1
        spent = time.process_time() - start
    return calls * cells.size / spent
