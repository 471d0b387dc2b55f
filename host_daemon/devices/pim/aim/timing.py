"""The delays of an AiM channel, in cycles of its command clock.

Names are those of JEDEC GDDR6 (JESD250), with the additions of AiM as the public simulator
(arkhadem/aim_simulator, on Ramulator 2) names them: an activation waits longer for a MAC or an
activation function than for a read, and changing between computing and register access costs
``mode_change``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from host_daemon.devices.pim.aim.commands import COMPUTE, Command

# Cycles from a command to data at a register or at the buffer, and between directions of the bus.
_CL_REGISTER = 0
_CWL_REGISTER = 1
_BUS_TURN = 4


_After = Callable[[tuple[Command, ...], tuple[Command, ...], int], None]


@dataclass(frozen=True)
class Timing:
    """Cycles. ``rcd_*`` are from an activation to its first command of that sort."""

    burst: int
    ccd: int
    rcd_mac: int
    rcd_ewmul: int
    rcd_af: int
    rcd_write: int
    rp: int
    ras: int
    write_recovery: int
    read_to_precharge: int
    write_latency: int
    write_to_read_short: int
    write_to_read_long: int
    mode_change: int

    @cached_property
    def delays(self) -> dict[Command, tuple[tuple[Command, int], ...]]:
        """For each command, those it has to wait for, and how long after each."""
        found: dict[Command, dict[Command, int]] = {each: {} for each in Command}

        def after(before: tuple[Command, ...], then: tuple[Command, ...], delay: int) -> None:
            for second in then:
                for first in before:
                    found[second][first] = max(delay, found[second].get(first, 0))

        self._columns(after)
        self._rows(after)
        others = tuple(each for each in Command if each is not Command.MODE)
        after((Command.MODE,), others, self.mode_change)
        return {each: tuple(delays.items()) for each, delays in found.items()}

    @cached_property
    def distances(self) -> dict[Command, int]:
        """Cycles between two equal commands in a row."""
        return {each: max(1, dict(delays).get(each, 0)) for each, delays in self.delays.items()}

    def _columns(self, after: _After) -> None:
        """Commands on open rows, registers and the buffer."""
        registers = (Command.READ_MAC, Command.READ_AF)
        writes = (Command.WRITE_BUFFER, Command.WRITE_MAC, Command.WRITE_BANKS)
        reads = (Command.MAC, *registers)
        after(reads, reads, self.ccd)
        after(registers, registers, self.burst)
        after(writes, writes, max(self.burst, self.ccd))
        # An element-wise product reads and writes its banks.
        after((Command.EWMUL,), (*reads, Command.EWMUL), self.ccd)
        after(reads, (Command.EWMUL,), self.ccd)
        banks = (Command.WRITE_MAC, Command.WRITE_BANKS)
        after((Command.EWMUL,), banks, self.ccd)
        after(banks, (Command.EWMUL,), self.ccd)
        turn = _CL_REGISTER + self.burst + _BUS_TURN
        after(registers, (Command.WRITE_BUFFER, Command.WRITE_MAC), turn - _CWL_REGISTER)
        after(registers, (Command.WRITE_BANKS,), turn - self.write_latency)
        buffered = _CWL_REGISTER + self.burst + self.write_to_read_short
        after((Command.WRITE_BUFFER,), registers, buffered)
        settle = self.burst + self.write_to_read_long
        after((Command.WRITE_MAC,), registers, _CWL_REGISTER + settle)
        after((Command.WRITE_BANKS,), registers, self.write_latency + settle)

    def _rows(self, after: _After) -> None:
        """Opening and closing rows."""
        activate, precharge = (Command.ACTIVATE,), (Command.PRECHARGE,)
        after(activate, precharge, self.ras)
        after(precharge, (Command.ACTIVATE, Command.PRECHARGE), self.rp)
        after(activate, (Command.MAC,), self.rcd_mac)
        after(activate, (Command.EWMUL,), self.rcd_ewmul)
        after(activate, (Command.AF,), self.rcd_af)
        after(activate, (Command.WRITE_BANKS,), self.rcd_write)
        after(COMPUTE, precharge, self.read_to_precharge)
        after((Command.EWMUL,), precharge, self.write_latency + self.write_recovery)
        # Writing all banks closes them.
        closed = self.write_latency + self.burst + self.write_recovery + self.rp
        after((Command.WRITE_BANKS,), activate, closed)

    def latency(self, command: Command) -> int:
        """Cycles from a command to its completion, as the controller counts them."""
        if command in (Command.READ_MAC, Command.READ_AF):
            return _CL_REGISTER + self.burst
        if command in (Command.WRITE_BUFFER, Command.WRITE_MAC):
            return _CWL_REGISTER + self.burst
        if command is Command.WRITE_BANKS:
            return self.write_latency + self.burst + self.rp
        return 1
