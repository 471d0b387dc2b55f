"""Programs of AiM from and to files.

``python -m host_daemon.devices.pim.aim.trace gemv OUTPUTS INPUTS`` prints a product's program in
the public simulator's format. ``... trace run FILE`` runs one, ``-`` from standard input, and
prints ``cycle,channel,command,bank`` for each command of a channel, no bank where it is for all;
cycles and counts go to standard error. ``... trace results FILE --data NUMBERS`` runs it over data:
each line of NUMBERS has the 16 numbers of one W GPR or W MEM, in order; what each R GPR and R MEM
reads is printed behind it.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from host_daemon.devices.pim.aim import isr
from host_daemon.devices.pim.aim.arithmetic import LANES
from host_daemon.devices.pim.aim.gemv import Gemv, instructions
from host_daemon.devices.pim.aim.isr import Opcode
from host_daemon.devices.pim.aim.machine import Machine
from host_daemon.devices.pim.aim.oracles import SIMULATED
from host_daemon.devices.pim.aim.parameters import MOST_CHANNELS
from host_daemon.devices.pim.aim.program import execute
from vaccel import bounds
from vaccel.errors import HostFault, InvalidArgument, VaccelError

# Of text: an instruction is a line of at most some forty characters.
_BYTES = 64 * bounds.PIM_TRACE_INSTRUCTIONS
# Of data: 16 numbers of a line, with room for their digits.
_DATA_BYTES = 512 * bounds.PIM_TRACE_INSTRUCTIONS


def _read(name: str, what: str = "program", most: int = _BYTES) -> str:
    try:
        if name == "-":
            text = sys.stdin.read(most + 1)
        else:
            with Path(name).open(encoding="utf-8") as file:
                text = file.read(most + 1)
    except OSError as error:
        raise HostFault(f"{what} {name} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"{what} {name} is not UTF-8: {error.reason}") from error
    if len(text) > most:
        raise InvalidArgument(f"{what} {name} is longer than {most} characters")
    return text


def _program(gemv: Gemv) -> str:
    lines = gemv.passes * (2 + gemv.chunks * (1 if gemv.keep else 2))
    if lines > bounds.PIM_TRACE_INSTRUCTIONS:
        raise InvalidArgument(
            f"gemv {gemv.outputs} {gemv.inputs} takes {lines} instructions, a program has at most"
            f" {bounds.PIM_TRACE_INSTRUCTIONS}",
            hint="share it among more channels, or write a smaller one",
        )
    return isr.write(instructions(gemv))


def _bursts(text: str) -> list[list[float]]:
    """The bursts of a text. Raises InvalidArgument naming the line."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.replace(",", " ").split()
        if not words or words[0].startswith("#"):
            continue
        try:
            values = [float(word) for word in words]
        except ValueError:
            raise InvalidArgument(f"data, line {number}: {line[:80]!r} is not numbers") from None
        if len(values) != LANES:
            raise InvalidArgument(f"data, line {number}: {len(values)} numbers, not {LANES}")
        found.append(values)
    return found


def _results(name: str, data: str | None, channels: int) -> None:
    _check(channels)
    program = isr.read(_read(name))
    given = _bursts(_read(data, "data", _DATA_BYTES)) if data else []
    found = Machine(channels).run(program, [np.asarray(each, np.float32) for each in given])
    reads = [each for each in program if each.opcode in (Opcode.R_GPR, Opcode.R_MEM)]
    for each, values in zip(reads, found, strict=True):
        print(f"{each}: {' '.join(_shown(float(value)) for value in values)}")


def _shown(value: float) -> str:
    return f"{value:.8g}" if math.isfinite(value) else str(value)


def _check(channels: int, shown: int = 0) -> None:
    if not 0 <= shown < channels <= MOST_CHANNELS:
        raise InvalidArgument(
            f"channel {shown} of {channels} cannot be shown",
            hint=f"a card has 1 to {MOST_CHANNELS} channels, counted from 0",
        )


def _run(name: str, channels: int, shown: int) -> None:
    _check(channels, shown)
    done = execute(isr.read(_read(name)), SIMULATED, channels)
    counts: Counter[str] = Counter()
    print("cycle,channel,command,bank")
    for each in done.commands(shown):
        counts[each.command] += 1
        bank = each.bank if each.bank >= 0 else ""
        print(f"{each.cycle},{each.channel},{each.command},{bank}")
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
    results = verbs.add_parser("results", help="run a program over data, print what it reads")
    results.add_argument("file")
    results.add_argument("--data", metavar="NUMBERS", help="16 numbers a line, for W GPR and W MEM")
    for each in (product, run, results):
        each.add_argument("--channels", type=int, default=MOST_CHANNELS)
    given = parser.parse_args(arguments)
    try:
        if given.verb == "gemv":
            gemv = Gemv(given.outputs, given.inputs, given.channels, given.keep)
            print(_program(gemv), end="")
        elif given.verb == "results":
            _results(given.file, given.data, given.channels)
        else:
            _run(given.file, given.channels, given.show)
    except VaccelError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
