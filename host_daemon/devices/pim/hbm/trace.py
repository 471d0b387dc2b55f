"""Command traces from the command line, and how they compare with others.

``python -m host_daemon.devices.pim.hbm.trace gemv 64 256`` prints every command of one channel as
CSV, in the columns of PIMSimulator's trace, ``... trace lstm HIDDEN INPUTS`` those of the three
kernels of a step; ``--compare FILE`` says instead where another trace differs.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from host_daemon.devices.pim.hbm import kernels, program
from host_daemon.devices.pim.hbm.layout import GATES, gemv_size, vector_size
from host_daemon.devices.pim.hbm.parameters import MOST_CHANNELS
from host_daemon.devices.pim.hbm.record import COLUMNS, Row, record, write
from host_daemon.devices.pim.hbm.schedule import schedule
from host_daemon.devices.pim.hbm.timing import Timing
from vaccel import bounds
from vaccel.errors import HostFault, InvalidArgument, VaccelError

# A kernel, its program, and whether GRF_B is cleared as it begins.
_Made = tuple[kernels.Kernel, program.Program, bool]


def _gemv(outputs: int, inputs: int, channels: int, tree: bool = False) -> _Made:
    tiles, rounds = gemv_size(outputs, inputs, channels)
    of = program.gemv_tree(tiles) if tree else program.gemv(tiles)
    make = kernels.gemv_tree if tree else kernels.gemv
    return make(tiles, rounds, len(of)), of, True


def _scaled(tiles: int, words: int) -> kernels.Kernel:
    return kernels.scaled(tiles, 1, words)


# Kernels of elements, by the names of their programs.
_ELEMENTWISE: Final[Mapping[str, Callable[[int, int], kernels.Kernel]]] = {
    "add": kernels.binary,
    "mul": kernels.binary,
    "mad": kernels.ternary,
    "cell": kernels.cell,
    "relu": kernels.unary,
    "batchnorm": _scaled,
}
_SIZES: Final[Mapping[str, tuple[str, ...]]] = {
    "gemv": ("OUTPUTS", "INPUTS"),
    "gemv_tree": ("OUTPUTS", "INPUTS"),
    "lstm": ("HIDDEN", "INPUTS"),
    **dict.fromkeys(_ELEMENTWISE, ("ELEMENTS",)),
}


def _vector(name: str, elements: int, channels: int) -> _Made:
    tiles = vector_size(elements, channels)
    of = program.KERNELS[name](tiles)
    return _ELEMENTWISE[name](tiles, len(of)), of, False


def _made(name: str, sizes: Sequence[int], channels: int) -> tuple[_Made, ...]:
    """The kernels of a name, in order."""
    if name == "lstm":
        hidden, inputs = sizes
        gates = _gemv(GATES * hidden, inputs + hidden, channels)
        return gates, *(_vector(each, hidden, channels) for each in ("cell", "mul"))
    if name in _ELEMENTWISE:
        return (_vector(name, sizes[0], channels),)
    return (_gemv(sizes[0], sizes[1], channels, name == "gemv_tree"),)


def rows(name: str, sizes: Sequence[int], channels: int, timing: Timing) -> list[Row]:
    """The commands of the first of so many channels.

    ``sizes`` are outputs and inputs of GEMV, hidden and input size of a step of an LSTM, or
    elements. Of several kernels each begins when the one before has ended; what the host does
    between takes no cycle here. Raises InvalidArgument naming what is out of range.
    """
    expected = _SIZES[name]
    if len(sizes) != len(expected):
        raise InvalidArgument(
            f"{name} has {len(sizes)} sizes", hint=f"{name} {' '.join(expected)}"
        )
    for what, value in zip(expected, sizes, strict=True):
        if value < 1:
            raise InvalidArgument(f"{what} = {value} is not positive")
    if not 1 <= channels <= MOST_CHANNELS:
        raise InvalidArgument(
            f"channels = {channels}", hint=f"a card has 1 to {MOST_CHANNELS} channels"
        )
    made = _made(name, sizes, channels)
    bursts = sum(
        kernel.rounds * sum(phase.count * len(phase.step) for phase in kernel.pattern)
        for kernel, _, _ in made
    )
    if bursts > bounds.PIM_TRACE_INSTRUCTIONS:
        raise InvalidArgument(
            f"{name} {' '.join(map(str, sizes))} takes {bursts} bursts of a channel, a trace has at"
            f" most {bounds.PIM_TRACE_INSTRUCTIONS}",
            hint="share it among more channels, or trace a smaller one",
        )
    found: list[Row] = []
    start = 0
    for kernel, of, zeroes in made:
        for row in record(kernel, of, timing, zeroes=zeroes):
            found.append((str(start + int(row[0])), *row[1:]))
        start += schedule(timing).spent(kernel).cycles
    return found


def difference(own: Sequence[Row], other: Sequence[Sequence[str]]) -> str:
    """Where another trace, its header first, begins to differ; empty where it does not."""
    for line, (mine, theirs) in enumerate(zip((COLUMNS, *own), other, strict=False), 1):
        if tuple(theirs) != mine:
            return f"line {line}: {','.join(theirs)} there, {','.join(mine)} here"
    if len(other) != len(own) + 1:
        return f"{len(other) - 1} commands there, {len(own)} here"
    return ""


def _read(name: str) -> list[list[str]]:
    """A trace. Raises HostFault, InvalidArgument."""
    try:
        with Path(name).open(newline="", encoding="utf-8") as file:
            found = []
            for row in csv.reader(file):
                found.append(row)
                if len(found) > 4 * bounds.PIM_TRACE_INSTRUCTIONS:
                    raise InvalidArgument(f"trace {name} has over {len(found) - 1} lines")
            return found
    except OSError as error:
        raise HostFault(f"trace {name} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidArgument(f"trace {name} is not CSV: {error}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 0, 1 where the other trace differs, else the error's code."""
    parser = argparse.ArgumentParser(prog="trace", description="Command traces of HBM-PIM.")
    parser.add_argument("kernel", choices=_SIZES)
    sizes = sorted({" ".join(each) for each in _SIZES.values()})
    parser.add_argument("sizes", type=int, nargs="+", help=" | ".join(sizes))
    parser.add_argument("--channels", type=int, default=1, help="that share the work; 1")
    parser.add_argument("--no-refresh", action="store_true")
    parser.add_argument("--compare", metavar="FILE", help="another trace, as CSV")
    given = parser.parse_args(arguments)
    timing = Timing(refresh_interval=0) if given.no_refresh else Timing()
    try:
        found = rows(given.kernel, given.sizes, given.channels, timing)
        other = _read(given.compare) if given.compare else None
    except VaccelError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if other is None:
        write(found, sys.stdout)
        return 0
    differs = difference(found, other)
    print(differs or f"equal: {len(found)} commands, every cycle")
    return 1 if differs else 0


if __name__ == "__main__":
    sys.exit(main())
