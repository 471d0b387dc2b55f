"""The delays of an AiM channel, in cycles of its command clock.

Names are those of JEDEC GDDR6 (JESD250), with the additions of AiM as the public simulator
(arkhadem/aim_simulator, on Ramulator 2) names them: an activation waits longer for a MAC, an
activation function or a copy than for a read, and changing between computing and register access
costs ``mode_change``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from host_daemon.devices.pim.aim.commands import COMPUTE, TOGETHER, Command

# Cycles from a command to data at a register or at the buffer, and between directions of the bus.
_CL_REGISTER = 0
_CWL_REGISTER = 1
_BUS_TURN = 4


class Level(Enum):
    """What two commands must share for a delay between them to hold."""

    CHANNEL = "channel"
    GROUP = "group"
    BANK = "bank"


_Commands = tuple[Command, ...]
_After = Callable[[_Commands, _Commands, int], None]
Rules = dict[Command, dict[Command, int]]
_REGISTERS = (Command.READ_MAC, Command.READ_AF)
_ROW = (Command.ACTIVATE_ONE, Command.ACTIVATE)


@dataclass(frozen=True)
class Timing:
    """Cycles. ``rcd_*`` are from an activation to its first command of that sort; ``rrd_*`` between
    activations of different and of the same group of banks.
    """

    burst: int
    ccd: int
    rcd_mac: int
    rcd_ewmul: int
    rcd_af: int
    rcd_read: int
    rcd_read_copy: int
    rcd_write: int
    rcd_write_copy: int
    rp: int
    ras: int
    rrd_short: int
    rrd_long: int
    write_recovery: int
    read_to_precharge: int
    read_latency: int
    write_latency: int
    write_to_read_short: int
    write_to_read_long: int
    mode_change: int

    @cached_property
    def rules(self) -> dict[Level, Rules]:
        """How long each command waits after each earlier one of the channel, the group, the bank:
        ``rules[level][before][then]``.
        """
        found: dict[Level, Rules] = {level: {each: {} for each in Command} for level in Level}

        def at(level: Level) -> _After:
            def after(before: _Commands, then: _Commands, delay: int) -> None:
                for first in before:
                    for second in then:
                        known = found[level][first].get(second, 0)
                        found[level][first][second] = max(delay, known)

            return after

        self._columns(at(Level.CHANNEL))
        self._turns(at(Level.CHANNEL))
        self._rows(at(Level.CHANNEL))
        self._first_columns(at(Level.CHANNEL), at(Level.BANK))
        self._group(at(Level.GROUP))
        others = tuple(each for each in Command if each is not Command.MODE)
        at(Level.CHANNEL)((Command.MODE,), others, self.mode_change)
        return found

    @cached_property
    def delays(self) -> dict[Command, tuple[tuple[Command, int], ...]]:
        """For each command to all banks, those that it has to wait for, and how long after each,
        where there are no others.
        """
        rules = self.rules[Level.CHANNEL]
        return {
            then: tuple((each, rules[each][then]) for each in TOGETHER if then in rules[each])
            for then in TOGETHER
        }

    @cached_property
    def distances(self) -> dict[Command, int]:
        """Cycles between two equal commands in a row, to all banks or to the same one."""
        return {
            each: max(1, *(self.rules[level][each].get(each, 0) for level in Level))
            for each in Command
        }

    def _columns(self, after: _After) -> None:
        """Commands on open rows, registers and the buffer, one after another of the same sort."""
        one = (Command.READ_ONE, Command.MAC_ONE, Command.BANK_TO_BUFFER)
        on_bus = (Command.READ_ONE, *_REGISTERS)
        after(on_bus, on_bus, self.burst)
        sent = (Command.WRITE_BUFFER, Command.WRITE_MAC, Command.WRITE_BANKS, Command.WRITE_ONE)
        after(sent, sent, self.burst)
        reads = (*one, Command.MAC, *_REGISTERS)
        after(reads, reads, self.ccd)
        writes = (*sent, Command.BUFFER_TO_BANK)
        after(writes, writes, self.ccd)
        # An element-wise product reads and writes its banks.
        after((Command.EWMUL,), (*reads, Command.EWMUL), self.ccd)
        after(reads, (Command.EWMUL,), self.ccd)
        banks = tuple(each for each in writes if each is not Command.WRITE_BUFFER)
        after((Command.EWMUL,), banks, self.ccd)
        after(banks, (Command.EWMUL,), self.ccd)

    def _turns(self, after: _After) -> None:
        """Reads and writes after one another: the pins turn round."""
        to_bank = (Command.WRITE_ONE, Command.WRITE_BANKS)
        to_register = (Command.WRITE_BUFFER, Command.WRITE_MAC)
        for reads, latency in (
            ((Command.READ_ONE,), self.read_latency),
            (_REGISTERS, _CL_REGISTER),
        ):
            turn = latency + self.burst + _BUS_TURN
            after(reads, to_bank, turn - self.write_latency)
            after(reads, to_register, turn - _CWL_REGISTER)
        every = (Command.READ_ONE, *_REGISTERS)
        short, long = self.write_to_read_short, self.write_to_read_long
        buffered = _CWL_REGISTER + self.burst
        after((Command.WRITE_BUFFER,), every, buffered + short)
        after((Command.WRITE_MAC,), every, buffered + long)
        written = self.write_latency + self.burst
        after((Command.WRITE_BANKS,), every, written + long)
        after((Command.WRITE_ONE,), (Command.READ_ONE,), written + short)
        after((Command.WRITE_ONE,), _REGISTERS, written + long)

    def _rows(self, after: _After) -> None:
        """Opening and closing rows."""
        one, everywhere = (Command.ACTIVATE_ONE,), (Command.ACTIVATE,)
        shut_one, shut = (Command.PRECHARGE_ONE,), (Command.PRECHARGE,)
        after(_ROW, one, self.rrd_short)
        after(_ROW, everywhere, self.rrd_long)
        after(everywhere, one, self.rrd_long)
        after(_ROW, shut, self.ras)
        after(everywhere, shut_one, self.ras)
        after(shut, (*_ROW, *shut_one, *shut), self.rp)
        after(shut_one, (*everywhere, *shut_one, *shut), self.rp)
        reads = (Command.READ_ONE, Command.BANK_TO_BUFFER, Command.MAC_ONE)
        after((*reads, *COMPUTE), shut, self.read_to_precharge)
        after(COMPUTE, shut_one, self.read_to_precharge)
        settled = self.write_latency + self.write_recovery
        after((Command.EWMUL,), (*shut_one, *shut), settled)
        after((Command.WRITE_ONE, Command.BUFFER_TO_BANK), shut, settled + self.burst)
        # Writing all banks closes them.
        after((Command.WRITE_BANKS,), _ROW, settled + self.burst + self.rp)

    def _first_columns(self, after: _After, of_bank: _After) -> None:
        """From opening a row to its first command."""
        after(_ROW, (Command.MAC,), self.rcd_mac)
        after(_ROW, (Command.EWMUL,), self.rcd_ewmul)
        after(_ROW, (Command.AF,), self.rcd_af)
        after(_ROW, (Command.WRITE_BANKS,), self.rcd_write)
        for command, delay in (
            (Command.MAC_ONE, self.rcd_mac),
            (Command.BANK_TO_BUFFER, self.rcd_read_copy),
            (Command.READ_ONE, self.rcd_read),
            (Command.BUFFER_TO_BANK, self.rcd_write_copy),
            (Command.WRITE_ONE, self.rcd_write),
        ):
            after((Command.ACTIVATE,), (command,), delay)
            of_bank((Command.ACTIVATE_ONE,), (command,), delay)
        of_bank((Command.ACTIVATE_ONE,), (Command.PRECHARGE_ONE,), self.ras)
        of_bank((Command.PRECHARGE_ONE,), (Command.ACTIVATE_ONE,), self.rp)

    def _group(self, after: _After) -> None:
        """What banks of a group share."""
        reads = (Command.READ_ONE, Command.MAC_ONE, Command.BANK_TO_BUFFER)
        writes = (Command.WRITE_ONE, Command.BUFFER_TO_BANK)
        shut = (Command.PRECHARGE_ONE,)
        after(reads, reads, self.ccd)
        after(writes, writes, self.ccd)
        written = self.write_latency + self.burst
        after((Command.WRITE_ONE,), (Command.READ_ONE,), written + self.write_to_read_long)
        after(reads, shut, self.read_to_precharge)
        after(writes, shut, written + self.write_recovery)
        after((Command.ACTIVATE_ONE,), (Command.ACTIVATE_ONE,), self.rrd_long)

    @cached_property
    def latencies(self) -> dict[Command, int]:
        """Cycles from a command to its completion, as the controller counts them."""
        found = dict.fromkeys(Command, 1)
        written = self.write_latency + self.burst
        found[Command.READ_MAC] = found[Command.READ_AF] = _CL_REGISTER + self.burst
        found[Command.WRITE_BUFFER] = found[Command.WRITE_MAC] = _CWL_REGISTER + self.burst
        found[Command.WRITE_BANKS] = written + self.rp
        found[Command.READ_ONE] = self.read_latency + self.burst
        found[Command.WRITE_ONE] = written
        return found
