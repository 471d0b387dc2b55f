"""Programs of AiM from and to files.

``python -m host_daemon.devices.pim.aim.trace gemv OUTPUTS INPUTS`` prints a product's program in
the public simulator's format. ``... trace run FILE`` runs one, ``-`` from standard input, and
prints ``cycle,channel,command`` for each command of a channel; cycles and counts go to standard
error.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from host_daemon.devices.pim.aim import isr
from host_daemon.devices.pim.aim.gemv import Gemv, instructions
from host_daemon.devices.pim.aim.oracles import SIMULATED
from host_daemon.devices.pim.aim.parameters import MOST_CHANNELS
from host_daemon.devices.pim.aim.program import execute
from vaccel import bounds
from vaccel.errors import HostFault, InvalidArgument, VaccelError

# Of text: an instruction is a line of at most some forty characters.
_BYTES = 64 * bounds.PIM_TRACE_INSTRUCTIONS


def _read(name: str) -> str:
    try:
        if name == "-":
            text = sys.stdin.read(_BYTES + 1)
        else:
            with Path(name).open(encoding="utf-8") as file:
                text = file.read(_BYTES + 1)
    except OSError as error:
        raise HostFault(f"program {name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"program {name} is not UTF-8: {error.reason}") from error
    if len(text) > _BYTES:
        raise InvalidArgument(f"program {name} is longer than {_BYTES} characters")
    return text


def _run(name: str, channels: int, shown: int) -> None:
    if not 0 <= shown < channels <= MOST_CHANNELS:
        raise InvalidArgument(
            f"channel {shown} of {channels} cannot be shown",
            hint=f"a card has 1 to {MOST_CHANNELS} channels, counted from 0",
        )
    done = execute(isr.read(_read(name)), SIMULATED, channels)
    counts: Counter[str] = Counter()
    print("cycle,channel,command")
    for each in done.commands(shown):
        counts[each.command] += 1
        print(f"{each.cycle},{each.channel},{each.command}")
    found = " ".join(f"{name}={count}" for name, count in sorted(counts.items()))
    print(f"{done.cycles} cycles of 0.5 ns; {found}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="trace", description="Programs of GDDR6-AiM.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    product = verbs.add_parser("gemv", help="print the program of a matrix-vector product")
    product.add_argument("outputs", type=int)
    product.add_argument("inputs", type=int)
    product.add_argument("--keep", action="store_true", help="write the global buffer once")
    run = verbs.add_parser("run", help="run a program, and print a channel's commands")
    run.add_argument("file")
    run.add_argument("--show", type=int, default=0, help="the channel to print")
    for each in (product, run):
        each.add_argument("--channels", type=int, default=MOST_CHANNELS)
    given = parser.parse_args(arguments)
    try:
        if given.verb == "gemv":
            gemv = Gemv(given.outputs, given.inputs, given.channels, given.keep)
            print(isr.write(instructions(gemv)), end="")
        else:
            _run(given.file, given.channels, given.show)
    except VaccelError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
