"""A matrix-vector product on AiM: how it is cut, its instructions, and its time.

Each bank of each channel holds one output's weights; a pass covers 16 outputs a channel. The global
buffer of a channel holds 1,024 inputs: longer inputs are taken in chunks, each with a DRAM row of
weights, while the MAC registers go on adding. A chunk writes the buffer, then multiplies 16 inputs
a command in all banks. A pass begins with the bias and ends by reading the MAC registers, which the
host waits for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from host_daemon.devices.pim.aim.channel import Channel
from host_daemon.devices.pim.aim.commands import Command
from host_daemon.devices.pim.aim.isr import BROADCAST, FUNCTION, Instruction, Opcode
from host_daemon.devices.pim.aim.timing import Timing
from vaccel.errors import InvalidArgument

BANKS: Final = 16
LANES: Final = 16
# bf16 values of a DRAM row of a bank, and of the global buffer.
ROW: Final = 1024
# Tables of activation functions lie in rows that no program can name.
FUNCTION_ROW: Final = 1 << 29


@dataclass(frozen=True, slots=True)
class Gemv:
    """``outputs`` x ``inputs`` on so many channels.

    ``keep``: the first pass alone writes the buffer. Results are right only where all inputs fit
    (``fits``); a simulator without data times it all the same. ``function``: the sums go through
    the activation function of that number before they are read.
    """

    outputs: int
    inputs: int
    channels: int
    keep: bool = False
    function: int | None = None

    def __post_init__(self) -> None:
        for name, value in (
            ("outputs", self.outputs),
            ("inputs", self.inputs),
            ("channels", self.channels),
        ):
            if value < 1:
                raise InvalidArgument(f"a product on AiM has {name} = {value}, at least 1")

    @property
    def passes(self) -> int:
        """Rounds of 16 outputs a channel."""
        return -(-self.outputs // (BANKS * self.channels))

    @property
    def chunks(self) -> int:
        """DRAM rows of an output."""
        return -(-self.inputs // ROW)

    @property
    def last_columns(self) -> int:
        """Groups of 16 inputs in the last chunk; all others have 64."""
        return -(-(self.inputs - (self.chunks - 1) * ROW) // LANES)

    @property
    def fits(self) -> bool:
        """Whether later passes still find their inputs in the buffer."""
        return self.chunks == 1

    def columns(self, chunk: int) -> int:
        """Groups of 16 inputs of a chunk."""
        return ROW // LANES if chunk < self.chunks - 1 else self.last_columns


@dataclass(frozen=True, slots=True)
class Spent:
    """Cycles of the channels, which all do the same, and commands of one."""

    cycles: int
    commands: Mapping[Command, int]


def instructions(gemv: Gemv) -> list[Instruction]:
    """The program as the host sends it."""
    mask = (1 << gemv.channels) - 1
    found = [Instruction(Opcode.W_CFR, register=BROADCAST, data=1)]
    if gemv.function is not None:
        found.append(Instruction(Opcode.W_CFR, register=FUNCTION, data=gemv.function))
    for turn in range(gemv.passes):
        found.append(Instruction(Opcode.WR_BIAS, register=0, mask=mask))
        for chunk in range(gemv.chunks):
            size, row = gemv.columns(chunk), turn * gemv.chunks + chunk
            if not gemv.keep or turn == 0:
                found.append(Instruction(Opcode.WR_GB, size=size, register=0, mask=mask))
            found.append(Instruction(Opcode.MAC_ABK, size=size, mask=mask, row=row))
        if gemv.function is not None:
            found.append(Instruction(Opcode.AF, mask=mask))
        read = Opcode.RD_MAC if gemv.function is None else Opcode.RD_AF
        found.append(Instruction(read, register=0, mask=mask))
    found.append(Instruction(Opcode.EOC))
    return found


def spend(gemv: Gemv, timing: Timing) -> Spent:
    """What one channel does and how long, without sending commands one by one."""
    # The host first says where vectors come from, and which function is meant: a cycle each.
    channel = Channel(timing, arrival=1 if gemv.function is None else 2)
    run(gemv, channel)
    return Spent(channel.finish(), channel.counts)


@lru_cache(maxsize=4096)
def spent(gemv: Gemv, timing: Timing) -> Spent:
    """``spend``, remembered: a program asks again for the same products at each launch."""
    return spend(gemv, timing)


def run(gemv: Gemv, channel: Channel) -> None:
    """Put a product on a channel."""

    def one(turn: int, *, write: bool) -> None:
        channel.issue(Command.WRITE_MAC)
        first = turn * gemv.chunks

        def chunk(index: int) -> None:
            _chunk(channel, ROW // LANES, first + index, write=write)

        channel.repeat(chunk, gemv.chunks - 1)
        _chunk(channel, gemv.last_columns, first + gemv.chunks - 1, write=write)
        if gemv.function is None:
            channel.issue(Command.READ_MAC)
        else:
            channel.issue(Command.AF, 1, FUNCTION_ROW + gemv.function)
            channel.issue(Command.READ_AF)
        channel.wait()

    def again(turn: int) -> None:
        one(turn + 1, write=not gemv.keep)

    one(0, write=True)
    channel.repeat(again, gemv.passes - 1)


def _chunk(channel: Channel, columns: int, row: int, *, write: bool) -> None:
    if write:
        channel.issue(Command.WRITE_BUFFER, columns)
    channel.issue(Command.MAC, columns, row)
