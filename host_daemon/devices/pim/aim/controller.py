"""One AiM channel's controller as it serves single banks too: which command goes out when.

The rules are those of the public simulator's controller (arkhadem/aim_simulator, on Ramulator 2).
Requests to AiM wait in one queue and are served in order. Reads and writes of single banks wait in
queues of their own, of which one is served at a time, first ready first, then first come first; a
request whose bank has just been opened for it goes before all others. Either sort is taken in only
while none of the other waits. A read that finds writes waiting is answered from them, whatever its
address: the simulator compares addresses that it never sets. A mark (SYNC, EOC) is passed once all
before it in the queue have gone out, and answered when no write is open: an access whose bank is
just being opened is not waited for.

``channel.py`` is the same for programs without single banks, many commands at a step.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from host_daemon.devices.pim.aim.channel import CLOSED, Run
from host_daemon.devices.pim.aim.commands import ON_ONE, ON_ONE_ROW, ON_REGISTERS, ON_ROWS, Command
from host_daemon.devices.pim.aim.timing import Level, Timing

BANKS: Final = 16
_PER_GROUP: Final = 4
# Requests of a sort that wait at a channel, at most: one more than the simulator's 32.
DEPTH: Final = 33
# Shares of a queue of 32 at which the controller turns to writes, and back to reads.
_MANY, _FEW = 0.8 * 32, 0.2 * 32
NEVER: Final = 1 << 62
_CLOSING: Final = (Command.PRECHARGE_ONE, Command.PRECHARGE, Command.WRITE_BANKS)


class Sort(Enum):
    """Which queue a request waits in."""

    AIM = "aim"
    READ = "read"
    WRITE = "write"


@dataclass(slots=True, eq=False)
class Request:
    """One command that the host asks for; ``final`` is None of a mark.

    ``answers``: its completion is told, in order. ``awaited``: the host waits for it.
    """

    final: Command | None
    bank: int = -1
    row: int = CLOSED
    sort: Sort = Sort.AIM
    answers: bool = False
    awaited: bool = False
    arrived: int = 0
    command: Command = Command.MODE


@dataclass(slots=True)
class Controller:
    """A channel at rest at cycle 0: all rows closed, ready to compute.

    ``changed`` tells whether the last cycle did anything.
    """

    timing: Timing
    log: list[Run] = field(default_factory=list)
    changed: bool = False
    _rows: list[int] = field(default_factory=lambda: [CLOSED] * BANKS)
    _on_registers: bool = False
    _to_writes: bool = False
    _aim: deque[Request] = field(default_factory=deque)
    _reads: list[Request] = field(default_factory=list)
    _writes: list[Request] = field(default_factory=list)
    _opened: list[Request] = field(default_factory=list)
    _answers: deque[tuple[int, Request]] = field(default_factory=deque)
    _open: list[int] = field(default_factory=list)
    _after: dict[tuple[Command, Level, int], int] = field(default_factory=dict)

    def accept(self, request: Request, now: int) -> bool:
        """Take a request in before a cycle, where there is room for its sort."""
        if request.sort is Sort.AIM:
            if self._reads or self._writes or len(self._aim) == DEPTH:
                return False
            self._aim.append(request)
        else:
            if self._aim:
                return False
            if request.sort is Sort.READ and self._writes:
                self._answers.append((now, request))
                return True
            queue = self._reads if request.sort is Sort.READ else self._writes
            if len(queue) == DEPTH:
                return False
            queue.append(request)
        request.arrived = now
        return True

    def tick(self, now: int) -> int:
        """One cycle. How many requests that the host waits for were answered."""
        answered = self._complete(now)
        chosen = self._choose(now)
        if chosen is not None:
            self._serve(chosen, now)
        self.changed = answered is not None or chosen is not None
        return answered or 0

    def _complete(self, now: int) -> int | None:
        """None where nothing came to its end in this cycle."""
        found: int | None = None
        if self._answers:
            due, request = self._answers[0]
            if due <= now and not (request.final is None and self._open):
                self._answers.popleft()
                found = int(request.awaited)
        still = [each for each in self._open if each > now]
        if len(still) < len(self._open):
            self._open = still
            found = found or 0
        return found

    def _choose(self, now: int) -> Request | None:
        chosen = self._best(self._opened, now)
        if chosen is None or self._ready(chosen) > now:
            chosen = self._waiting(now)
        if chosen is None or chosen.final is None:
            return chosen
        if self._ready(chosen) > now:
            return None
        # What a bank was opened for comes first.
        held = chosen.command in _CLOSING and any(
            each.bank == chosen.bank for each in self._opened
        )
        return None if held else chosen

    def _waiting(self, now: int) -> Request | None:
        if self._aim:
            chosen = self._aim[0]
            chosen.command = self._needs(chosen)
            return chosen
        if self._to_writes:
            if len(self._writes) < _FEW and self._reads:
                self._to_writes = False
        elif len(self._writes) > _MANY or not self._reads:
            self._to_writes = True
        return self._best(self._writes if self._to_writes else self._reads, now)

    def _best(self, queue: list[Request], now: int) -> Request | None:
        best: Request | None = None
        for each in queue:
            each.command = self._needs(each)
            if best is None or self._rank(each, now) < self._rank(best, now):
                best = each
        return best

    def _rank(self, request: Request, now: int) -> tuple[bool, int]:
        return self._ready(request) > now, request.arrived

    def _needs(self, request: Request) -> Command:
        """The next command on the way to the final one."""
        final = request.final
        if final in ON_ONE_ROW:
            row = self._rows[request.bank]
            if row == CLOSED:
                return Command.ACTIVATE_ONE
            return final if row == request.row else Command.PRECHARGE_ONE
        if final in ON_ROWS:
            if any(row not in (CLOSED, request.row) for row in self._rows):
                return Command.PRECHARGE
            return Command.ACTIVATE if CLOSED in self._rows else final
        return final or Command.MODE

    def _ready(self, request: Request) -> int:
        command, bank, after = request.command, request.bank, self._after
        ready = after.get((command, Level.CHANNEL, 0), 0)
        if command in ON_ONE:
            of_group = after.get((command, Level.GROUP, bank // _PER_GROUP), 0)
            of_bank = after.get((command, Level.BANK, bank), 0)
            ready = max(ready, of_group, of_bank)
        return ready

    def _serve(self, request: Request, now: int) -> None:
        if request.final is None:
            self._aim.popleft()
            self._answers.append((now, request))
            return
        on_registers = request.sort is Sort.AIM and request.final in ON_REGISTERS
        if on_registers != self._on_registers:
            request.command = Command.MODE
            self._on_registers = on_registers
        command = request.command
        self._issue(command, request, now)
        if command is request.final:
            self._remove(request)
            due = now + self.timing.latencies[command]
            if request.answers:
                self._answers.append((due, request))
            else:
                self._open.append(due)
        elif request.sort is not Sort.AIM and command is Command.ACTIVATE_ONE:
            self._remove(request)
            self._opened.append(request)

    def _remove(self, request: Request) -> None:
        if request.sort is Sort.AIM:
            self._aim.popleft()
            return
        for queue in (self._opened, self._reads, self._writes):
            if request in queue:
                queue.remove(request)
                return

    def _issue(self, command: Command, request: Request, now: int) -> None:
        bank, after = request.bank, self._after
        for level, rules in self.timing.rules.items():
            place = {Level.CHANNEL: 0, Level.GROUP: bank // _PER_GROUP, Level.BANK: bank}[level]
            for then, delay in rules[command].items() if place >= 0 else ():
                key = then, level, place
                after[key] = max(after.get(key, 0), now + delay)
        if command is Command.ACTIVATE:
            self._rows = [request.row] * BANKS
        elif command in (Command.PRECHARGE, Command.WRITE_BANKS):
            self._rows = [CLOSED] * BANKS
        elif command is Command.ACTIVATE_ONE:
            self._rows[bank] = request.row
        elif command is Command.PRECHARGE_ONE:
            self._rows[bank] = CLOSED
        self._note(command, bank if command in ON_ONE else -1, now)

    def _note(self, command: Command, bank: int, now: int) -> None:
        """Into the log: equal commands at equal distances are one run."""
        last = self.log[-1] if self.log else None
        if last and (last.command, last.bank) == (command, bank):
            distance = now - last.cycle - (last.count - 1) * last.distance
            if last.count == 1 or distance == last.distance:
                self.log[-1] = Run(last.cycle, command, last.count + 1, distance, bank)
                return
        self.log.append(Run(now, command, bank=bank))

    def next_time(self, now: int) -> int:
        """The first cycle after this one in which something can happen, if nothing arrives."""
        times = list(self._open)
        if self._answers:
            due, request = self._answers[0]
            if request.final is not None or not self._open:
                times.append(due)
        waiting = self._opened + list(self._aim)[:1] + self._reads + self._writes
        for each in waiting:
            if each.final is None:
                times.append(now)
            else:
                each.command = self._needs(each)
                times.append(self._ready(each))
        return max(min(times, default=NEVER), now + 1)
