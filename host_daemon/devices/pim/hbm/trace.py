"""Command traces from the command line, and how they compare with others.

``python -m host_daemon.devices.pim.hbm.trace gemv 64 256`` prints every command of one channel as
CSV, in the columns of PIMSimulator's trace; ``--compare FILE`` says instead where another trace
differs.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from host_daemon.devices.pim.hbm import kernels, program
from host_daemon.devices.pim.hbm.layout import gemv_size, vector_size
from host_daemon.devices.pim.hbm.parameters import MOST_CHANNELS
from host_daemon.devices.pim.hbm.record import COLUMNS, Row, record, write
from host_daemon.devices.pim.hbm.timing import Timing
from vaccel import bounds
from vaccel.errors import HostFault, InvalidArgument, VaccelError

_Made = tuple[kernels.Kernel, program.Program]


def _gemv(sizes: Sequence[int], channels: int) -> _Made:
    tiles, rounds = gemv_size(sizes[0], sizes[1], channels)
    of = program.gemv(tiles)
    return kernels.gemv(tiles, rounds, len(of)), of


def _elementwise(
    make: Callable[[int, int], kernels.Kernel], of: Callable[[int], program.Program]
) -> Callable[[Sequence[int], int], _Made]:
    def made(sizes: Sequence[int], channels: int) -> _Made:
        tiles = vector_size(sizes[0], channels)
        code = of(tiles)
        return make(tiles, len(code)), code

    return made


def _scaled(tiles: int, words: int) -> kernels.Kernel:
    return kernels.scaled(tiles, 1, words)


_KERNELS: Final[Mapping[str, Callable[[Sequence[int], int], _Made]]] = {
    "gemv": _gemv,
    "add": _elementwise(kernels.binary, program.KERNELS["add"]),
    "mul": _elementwise(kernels.binary, program.KERNELS["mul"]),
    "mad": _elementwise(kernels.ternary, program.KERNELS["mad"]),
    "relu": _elementwise(kernels.unary, program.KERNELS["relu"]),
    "batchnorm": _elementwise(_scaled, program.KERNELS["batchnorm"]),
}


def rows(name: str, sizes: Sequence[int], channels: int, timing: Timing) -> list[Row]:
    """The commands of the first of so many channels.

    ``sizes`` are outputs and inputs of GEMV, or elements. Raises InvalidArgument naming what is
    out of range.
    """
    expected = ("OUTPUTS", "INPUTS") if name == "gemv" else ("ELEMENTS",)
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
    kernel, of = _KERNELS[name](sizes, channels)
    bursts = kernel.rounds * sum(phase.count * len(phase.step) for phase in kernel.pattern)
    if bursts > bounds.PIM_TRACE_INSTRUCTIONS:
        raise InvalidArgument(
            f"{name} {' '.join(map(str, sizes))} takes {bursts} bursts of a channel, a trace has at"
            f" most {bounds.PIM_TRACE_INSTRUCTIONS}",
            hint="share it among more channels, or trace a smaller one",
        )
    return record(kernel, of, timing, zeroes=name == "gemv")


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
    parser.add_argument("kernel", choices=_KERNELS)
    parser.add_argument("sizes", type=int, nargs="+", help="OUTPUTS INPUTS of gemv, or ELEMENTS")
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
