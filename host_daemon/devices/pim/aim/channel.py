"""One AiM channel as a state machine: which row is open, which mode it is in, and when each command
was last on the bus.

A command may go out once every delay after earlier commands has passed, one command a cycle. Of
equal commands only the last one matters, and a run of equal commands goes out at even distances, so
that a run costs one step whatever its length. What has to come first (closing a row, opening one, a
change of mode) is found as the public simulator's controller finds it: the mode is changed at the
moment at which the command itself could have gone out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from host_daemon.devices.pim.aim.commands import ON_REGISTERS, ON_ROWS, Command
from host_daemon.devices.pim.aim.timing import Timing

# Rows are numbers; no row is open.
CLOSED: Final = -1
_LONG_AGO: Final = -(1 << 40)
# Cycles after which no delay of any card is still running.
_HORIZON: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Run:
    """``count`` equal commands, the first at ``cycle``, ``distance`` cycles apart; to one bank, or
    to all of them (-1).
    """

    cycle: int
    command: Command
    count: int = 1
    distance: int = 0
    bank: int = -1


@dataclass(slots=True)
class Channel:
    """A channel at rest at cycle 0: all rows closed, ready to compute.

    ``cycle`` is that of the last command, ``arrival`` the first one at which the next request can
    be served. ``log`` receives what is issued, where it is given.
    """

    timing: Timing
    log: list[Run] | None = None
    cycle: int = 0
    arrival: int = 1
    row: int = CLOSED
    on_registers: bool = False
    counts: dict[Command, int] = field(default_factory=dict)
    _last: dict[Command, int] = field(default_factory=dict)

    def issue(self, command: Command, count: int = 1, row: int = CLOSED) -> int:
        """Serve a request of ``count`` equal commands; those on rows name theirs.

        The cycle of the last one. Writing all banks closes the row each time.
        """
        if command is Command.WRITE_BANKS:
            for _ in range(count - 1):
                self._serve(command, 1, row)
            count = min(count, 1)
        return self._serve(command, count, row) if count > 0 else self.cycle

    def _serve(self, command: Command, count: int, row: int) -> int:
        if command in ON_ROWS and self.row not in (CLOSED, row):
            self._put(Command.PRECHARGE, 1, command)
            self.row = CLOSED
        if command in ON_ROWS and self.row == CLOSED:
            self._put(Command.ACTIVATE, 1, command)
            self.row = row
        self._put(command, count, command)
        if command is Command.WRITE_BANKS:
            self.row = CLOSED
        return self.cycle

    def _put(self, command: Command, count: int, final: Command) -> None:
        """Put a run on the bus, after a change of mode where ``final`` needs one."""
        if (final in ON_REGISTERS) != self.on_registers:
            self._at(self._ready(command), Command.MODE, 1, 0)
            self.on_registers = not self.on_registers
        self._at(self._ready(command), command, count, self.timing.distances[command])

    def _ready(self, command: Command) -> int:
        last = self._last
        earliest = max(self.cycle + 1, self.arrival)
        for before, delay in self.timing.delays[command]:
            earliest = max(earliest, last.get(before, _LONG_AGO) + delay)
        return earliest

    def _at(self, cycle: int, command: Command, count: int, distance: int) -> None:
        self.cycle = self._last[command] = cycle + (count - 1) * distance
        self.counts[command] = self.counts.get(command, 0) + count
        if self.log is not None:
            self.log.append(Run(cycle, command, count, distance if count > 1 else 0))

    def wait(self) -> int:
        """Until the last command is done and its completion is known to whoever sends requests.

        The cycle of that; a request sent then is served one cycle later at the earliest.
        """
        done = self._open_until()
        self.arrival = done + 1
        return done

    def finish(self) -> int:
        """Cycles from the start until the host knows that all is done.

        The mark of the end is served behind the last command, and answered when no write is open.
        """
        served = max(self.cycle + 1, self.arrival)
        return max(served + 1, self._open_until() + 1) + 1

    def _open_until(self) -> int:
        return max((at + self.timing.latencies[each] for each, at in self._last.items()), default=0)

    def _age(self) -> tuple[object, ...]:
        """All that later delays depend on, relative to now."""
        last = tuple((each, min(self.cycle - at, _HORIZON)) for each, at in self._last.items())
        return (max(self.arrival - self.cycle, 1), self.row == CLOSED, self.on_registers, last)

    def repeat(self, step: Callable[[int], None], times: int) -> None:
        """``step(index)`` for each index below ``times``, as if one after the other.

        Once the channel's state has come back to what it was, further steps take as long as the
        last ones did: they are added up instead. A step must issue the same commands whatever its
        index, on rows of its own. With a log every step is taken.
        """
        before: tuple[object, ...] | None = None
        for index in range(times):
            cycle, counts = self.cycle, dict(self.counts)
            step(index)
            now = self._age()
            if now == before and self.log is None:
                self._skip(times - 1 - index, self.cycle - cycle, counts)
                return
            before = now

    def _skip(self, steps: int, cycles: int, before: dict[Command, int]) -> None:
        """As many steps more, each like the last one, which began with the counts ``before``."""
        shift = steps * cycles
        self.cycle += shift
        self.arrival += shift
        for command in self._last:
            self._last[command] += shift
        for command, count in self.counts.items():
            self.counts[command] = count + steps * (count - before.get(command, 0))
