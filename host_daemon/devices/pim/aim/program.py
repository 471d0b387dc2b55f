"""Runs a program of instructions on the channels of a card, command by command.

This is the slow way: it says when each command was on each channel's bus, for traces and for
checking the closed forms. The host sends instructions in order. Reading registers holds it up until
every channel named has answered; all else it sends ahead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from host_daemon.devices.pim.aim.channel import Channel, Run
from host_daemon.devices.pim.aim.commands import Command
from host_daemon.devices.pim.aim.gemv import FUNCTION, FUNCTION_ROW
from host_daemon.devices.pim.aim.isr import FIELDS, Instruction, Opcode
from host_daemon.devices.pim.aim.timing import Timing
from vaccel.errors import InvalidArgument, Unsupported

_COMMANDS: Final = {
    Opcode.WR_GB: Command.WRITE_BUFFER,
    Opcode.WR_BIAS: Command.WRITE_MAC,
    Opcode.RD_MAC: Command.READ_MAC,
    Opcode.RD_AF: Command.READ_AF,
    Opcode.WR_ABK: Command.WRITE_BANKS,
    Opcode.MAC_ABK: Command.MAC,
    Opcode.AF: Command.AF,
    Opcode.EWMUL: Command.EWMUL,
}
# The host's own registers and sums: no command leaves for DRAM.
_AT_HOST: Final = frozenset((Opcode.W_CFR, Opcode.W_GPR, Opcode.R_GPR, Opcode.EWADD))
_BLOCKING: Final = frozenset((Opcode.RD_MAC, Opcode.RD_AF, Opcode.SYNC))


@dataclass(frozen=True, slots=True)
class Issued:
    """A command on a channel's bus. ``row`` is not part of it: see the instruction."""

    cycle: int
    channel: int
    command: Command


@dataclass(frozen=True, slots=True)
class Execution:
    """``cycles`` from the start until the host knows that all is done; runs by channel."""

    cycles: int
    runs: tuple[tuple[Run, ...], ...]

    def commands(self, channel: int) -> Iterator[Issued]:
        """Every command of a channel, in order."""
        for run in self.runs[channel]:
            for index in range(run.count):
                yield Issued(run.cycle + index * run.distance, channel, run.command)


def execute(program: Sequence[Instruction], timing: Timing, channels: int) -> Execution:
    """Run a program that ends with EOC on so many channels.

    Raises InvalidArgument where it names other channels or does not end, Unsupported for
    instructions on single banks.
    """
    if not program or program[-1].opcode is not Opcode.EOC:
        raise InvalidArgument("an AiM program does not end with EOC", hint="add the line: AiM EOC")
    alike = _alike(program, channels)
    there = {first: Channel(timing, log=[]) for first in sorted(set(alike))}
    function = 0
    for number, each in enumerate(program[:-1], start=1):
        if each.opcode is Opcode.EOC:
            raise InvalidArgument(f"instruction {number}: EOC before the end")
        if each.opcode is Opcode.W_CFR and each.register == FUNCTION:
            function = each.data
        if each.opcode in _AT_HOST:
            continue
        named = [index for index in _named(each, number, channels) if index in there]
        for index in named:
            _issue(there[index], each, number, function)
        if each.opcode in _BLOCKING:
            _wait(there, named)
    cycles = max(channel.finish() for channel in there.values())
    runs = {index: tuple(channel.log or ()) for index, channel in there.items()}
    return Execution(cycles, tuple(runs[first] for first in alike))


def _alike(program: Sequence[Instruction], channels: int) -> list[int]:
    """For each channel the first one that gets the same instructions: one stands for all."""
    masks = {each.mask for each in program if "mask" in FIELDS[each.opcode]}
    first: dict[tuple[int, ...], int] = {}
    return [
        first.setdefault(tuple(mask >> index & 1 for mask in masks), index)
        for index in range(channels)
    ]


def _named(each: Instruction, number: int, channels: int) -> tuple[int, ...]:
    if each.opcode is Opcode.SYNC:
        return tuple(range(channels))
    if each.mask >> channels:
        raise InvalidArgument(
            f"instruction {number}, {each.opcode}: mask = {each.mask:#x} names channels that are"
            f" not there: there are {channels}",
            hint=f"masks are up to {(1 << channels) - 1:#x}",
        )
    return each.channels


def _issue(channel: Channel, each: Instruction, number: int, function: int) -> None:
    if each.opcode is Opcode.SYNC:
        return
    command = _COMMANDS.get(each.opcode)
    if command is None:
        raise Unsupported(
            f"instruction {number}, {each.opcode}: commands to single banks are not modelled",
            hint="use the one for all banks",
        )
    row = FUNCTION_ROW + function if each.opcode is Opcode.AF else each.row
    channel.issue(command, max(1, each.size), row)


def _wait(there: Mapping[int, Channel], named: Sequence[int]) -> None:
    """Hold up what the host sends next, to any channel, until the channels named have answered."""
    done = max(there[index].wait() for index in named)
    for channel in there.values():
        channel.arrival = max(channel.arrival, done + 1)
