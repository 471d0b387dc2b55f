"""Runs a program of instructions on the channels of a card, command by command.

This is the slow way: it says when each command was on each channel's bus, for traces and for
checking the closed forms. The host sends instructions in order, one a cycle at best, and goes on
once each channel named has room for all that one asks of it. Reading registers, and SYNC, hold it
up until every channel named has answered; all else it sends ahead.

A program that asks the same of all channels it names, and nothing of single banks, takes a step an
instruction (``_together``); any other takes one a command (``_stepped``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from host_daemon.devices.pim.aim.channel import CLOSED, Channel, Run
from host_daemon.devices.pim.aim.commands import ON_ONE, Command
from host_daemon.devices.pim.aim.controller import DEPTH, NEVER, Controller, Request, Sort
from host_daemon.devices.pim.aim.gemv import FUNCTION_ROW
from host_daemon.devices.pim.aim.isr import BROADCAST, FUNCTION, START, Instruction, Opcode
from host_daemon.devices.pim.aim.timing import Timing
from vaccel import bounds
from vaccel.errors import InvalidArgument

_COMMANDS: Final = {
    Opcode.WR_GB: Command.WRITE_BUFFER,
    Opcode.WR_BIAS: Command.WRITE_MAC,
    Opcode.RD_MAC: Command.READ_MAC,
    Opcode.RD_AF: Command.READ_AF,
    Opcode.WR_ABK: Command.WRITE_BANKS,
    Opcode.MAC_ABK: Command.MAC,
    Opcode.AF: Command.AF,
    Opcode.EWMUL: Command.EWMUL,
    Opcode.WR_SBK: Command.WRITE_ONE,
    Opcode.W_MEM: Command.WRITE_ONE,
    Opcode.RD_SBK: Command.READ_ONE,
    Opcode.R_MEM: Command.READ_ONE,
    Opcode.MAC_SBK: Command.MAC_ONE,
    Opcode.COPY_BKGB: Command.BANK_TO_BUFFER,
    Opcode.COPY_GBBK: Command.BUFFER_TO_BANK,
}
_SORTS: Final = {Command.READ_ONE: Sort.READ, Command.WRITE_ONE: Sort.WRITE}
_MARKS: Final = frozenset((Opcode.SYNC, Opcode.EOC))
# The host waits for these.
_AWAITED: Final = _MARKS | {Opcode.RD_MAC, Opcode.RD_AF}
# Cycles without any effect after which a channel is taken to have stopped for good.
_STUCK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Issued:
    """A command on a channel's bus, to one bank or to all (-1). ``row`` is not part of it: see the
    instruction.
    """

    cycle: int
    channel: int
    command: Command
    bank: int = -1


@dataclass(frozen=True, slots=True)
class Execution:
    """``cycles`` from the start until the host knows that all is done; runs by channel."""

    cycles: int
    runs: tuple[tuple[Run, ...], ...]

    def commands(self, channel: int) -> Iterator[Issued]:
        """Every command of a channel, in order."""
        for run in self.runs[channel]:
            for index in range(run.count):
                yield Issued(run.cycle + index * run.distance, channel, run.command, run.bank)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What an instruction asks of each of ``channels``: ``count`` commands, or a mark (None)."""

    command: Command | None
    channels: tuple[int, ...] = ()
    count: int = 1
    bank: int = -1
    row: int = CLOSED
    awaited: bool = False


def execute(program: Sequence[Instruction], timing: Timing, channels: int) -> Execution:
    """Run a program that ends with EOC on so many channels.

    Raises InvalidArgument where it names other channels, does not end, takes operands of a bank
    that has none beside it, or is too long to be stepped through.
    """
    asked = tuple(_decoded(program, channels))
    marked = {each.channels for each in asked if each.command is not None}
    single = any(each.command in ON_ONE for each in asked)
    if len(marked) < 2 and not single:
        return _together(asked, timing, channels, marked.pop() if marked else ())
    return _stepped(asked, timing, channels)


def _decoded(program: Sequence[Instruction], channels: int) -> Iterator[_Asked]:
    if not program or program[-1].opcode is not Opcode.EOC:
        raise InvalidArgument("an AiM program does not end with EOC", hint="add the line: AiM EOC")
    registers = dict(START)
    every = tuple(range(channels))
    for number, each in enumerate(program, start=1):
        if each.opcode is Opcode.EOC and number < len(program):
            raise InvalidArgument(f"instruction {number}: EOC before the end")
        if each.opcode is Opcode.W_CFR:
            registers[each.register] = each.data
        if each.opcode in _MARKS:
            yield _Asked(None, every, awaited=True)
            continue
        command = _COMMANDS.get(each.opcode)
        if command is None:  # the host's own registers and sums: nothing leaves for DRAM
            yield _Asked(None)
            continue
        _check(each, number, channels, registers[BROADCAST])
        one = each.bank if command in ON_ONE else -1
        row = FUNCTION_ROW + registers[FUNCTION] if command is Command.AF else each.row
        awaited = each.opcode in _AWAITED
        yield _Asked(command, each.channels, max(1, each.size), one, row, awaited)


def _check(each: Instruction, number: int, channels: int, broadcast: int) -> None:
    beyond = [index for index in each.channels if index >= channels]
    if beyond:
        field = f"mask = {each.mask:#x}" if each.mask else f"channel = {each.channel}"
        raise InvalidArgument(
            f"instruction {number}, {each.opcode}: {field} names channels that are"
            f" not there: there are {channels}",
            hint=f"masks are up to {(1 << channels) - 1:#x}",
        )
    if each.opcode is Opcode.MAC_SBK and not broadcast and each.bank % 2:
        raise InvalidArgument(
            f"instruction {number}, {each.opcode}: bank = {each.bank} has no vector: with W CFR 0 0"
            " an even bank multiplies with the next one",
            hint="name an even bank, or take the buffer's vector: W CFR 0 1",
        )


def _together(
    asked: Sequence[_Asked], timing: Timing, channels: int, named: tuple[int, ...]
) -> Execution:
    """The same for every channel of ``named``, none of single banks."""
    channel = Channel(timing, log=[], cycle=-1, arrival=0)
    log: list[Run] = channel.log if channel.log is not None else []
    sent: deque[tuple[int, Run]] = deque()  # runs of final commands, by what went before them
    total, now = 0, 0
    for each in asked:
        if not each.channels:
            now += 1
            continue
        channel.arrival = max(channel.arrival, now)
        if each.command is None:
            now = channel.finish()
            continue
        channel.issue(each.command, each.count, each.row)
        total += each.count
        sent.extend(_split(log, each.command, each.count, total))
        if each.awaited:
            now = channel.cycle + timing.latencies[each.command] + 1
        else:
            # The last one finds room once the one that is DEPTH before it has gone out.
            now = max(now, _issue_time(sent, total - 1 - DEPTH) + 1) + 1
    done = tuple(log)
    return Execution(now, tuple(done if index in named else () for index in range(channels)))


def _split(log: list[Run], command: Command, count: int, total: int) -> Iterator[tuple[int, Run]]:
    """The last ``count`` commands of a log that are final ones, as runs and their first index."""
    found: list[Run] = []
    left = count
    for run in reversed(log):
        if left <= 0:
            break
        if run.command is command:
            found.append(run)
            left -= run.count
    first = total - count
    for run in reversed(found):
        yield first, run
        first += run.count


def _issue_time(sent: deque[tuple[int, Run]], index: int) -> int:
    """When a request went out, by its number; -1 where that is long ago. Forgets older ones."""
    while sent and sent[0][0] + sent[0][1].count <= index:
        sent.popleft()
    if not sent or index < sent[0][0]:
        return -1
    first, run = sent[0]
    return run.cycle + (index - first) * run.distance


class _Host:
    """Sends instructions to the controllers of channels, of which each stands for its like."""

    def __init__(self, asked: Sequence[_Asked], there: dict[int, Controller]) -> None:
        self._asked = asked
        self._there = there
        self._place = 0
        self._awaited = 0
        self._waiting: dict[int, deque[Request]] = {index: deque() for index in there}

    @property
    def ended(self) -> bool:
        """Whether the last instruction has been answered."""
        return self._place == len(self._asked)

    def tick(self, now: int) -> bool:
        """Before a cycle of the channels. Whether anything was sent."""
        before = sum(map(len, self._waiting.values()))
        left = self._send(now) if before else 0
        if self._awaited:
            return left < before
        if before:
            self._place += not left
            return left < before
        each = self._asked[self._place]
        for index in each.channels:
            if index in self._there:
                self._waiting[index].extend(_requests(each))
                self._awaited += each.count if each.awaited else 0
        left = self._send(now)
        self._place += not (left or self._awaited)
        return True

    def _send(self, now: int) -> int:
        for index, queue in self._waiting.items():
            while queue and self._there[index].accept(queue[0], now):
                queue.popleft()
        return sum(map(len, self._waiting.values()))

    def answered(self, count: int) -> None:
        """Channels have answered so many of what it waits for."""
        self._awaited -= count
        self._place += bool(count) and not self._awaited


def _requests(asked: _Asked) -> Iterator[Request]:
    command = asked.command
    sort = _SORTS.get(command, Sort.AIM) if command is not None else Sort.AIM
    answers = asked.awaited or sort is Sort.READ
    for _ in range(asked.count):
        yield Request(command, asked.bank, asked.row, sort, answers, asked.awaited)


def _stepped(asked: Sequence[_Asked], timing: Timing, channels: int) -> Execution:
    """Command by command, on one channel of each sort."""
    alike = _alike(asked, channels)
    there = {first: Controller(timing) for first in sorted(set(alike))}
    _bound(asked, there)
    host, now, still = _Host(asked, there), 0, 0
    while True:
        moved = host.tick(now)
        answered = 0
        for controller in there.values():
            answered += controller.tick(now)
            moved = moved or controller.changed
        host.answered(answered)
        if host.ended:
            break
        following = now + 1
        if not moved:
            following = min(controller.next_time(now) for controller in there.values())
        still = 0 if moved else still + following - now
        if still > _STUCK or following == NEVER:
            raise InvalidArgument(
                "the program stops for good: a row cannot be closed that an access waits for",
                hint="put AiM SYNC behind reads and writes of single banks",
            )
        now = following
    runs = {index: tuple(controller.log) for index, controller in there.items()}
    return Execution(now + 1, tuple(runs[first] for first in alike))


def _alike(asked: Sequence[_Asked], channels: int) -> list[int]:
    """For each channel the first one that gets the same instructions: one stands for all."""
    sets = {frozenset(each.channels) for each in asked}
    first: dict[tuple[bool, ...], int] = {}
    return [
        first.setdefault(tuple(index in each for each in sets), index)
        for index in range(channels)
    ]


def _bound(asked: Sequence[_Asked], there: dict[int, Controller]) -> None:
    commands = sum(
        each.count * sum(index in there for index in each.channels) for each in asked
    )
    if commands > bounds.PIM_TRACE_COMMANDS:
        raise InvalidArgument(
            f"the program has {commands} commands on channels that differ, at most"
            f" {bounds.PIM_TRACE_COMMANDS} can be stepped through",
            hint="run it in parts, or ask the same of all channels",
        )
