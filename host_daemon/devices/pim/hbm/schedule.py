"""How long a kernel takes: the controller's state machine, each situation computed once.

At a barrier all that matters of a channel is its state relative to now: which rows are open, and
how long each command must still wait. A kernel meets few such situations, so that the effect of
what lies between two barriers, a segment, is looked up: (state, segment, what follows) gives its
cycles and the next state. A refresh only matters to the segment that it falls into; where it does,
its distance is part of the key. Whole steps without refresh are looked up likewise. The result is
that of the state machine, to the cycle, and costs microseconds.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

from host_daemon.devices.pim.hbm.controller import Channel
from host_daemon.devices.pim.hbm.kernels import BLOCKS, Kernel
from host_daemon.devices.pim.hbm.timing import Timing
from host_daemon.devices.pim.hbm.transactions import (
    NO_MEMORY,
    Phase,
    Step,
    closing,
    opening,
)

# Entries after which what was learnt is forgotten: a bound of memory, some 2 KiB a state.
_MOST: Final = 1 << 15
_LISTS: Final = ("idle", "can_activate", "can_read", "can_write", "can_precharge")
_SHARED: Final = ("all_read", "all_write", "all_activate")
_GROUPS: Final = ("group_column", "group_activate")

State = tuple[Any, ...]


def _snapshot(channel: Channel) -> State:
    """All that later commands depend on, relative to now. Rows of closed banks do not matter."""
    now = channel.now
    rows = tuple(
        row if is_open else -1 for row, is_open in zip(channel.row, channel.open, strict=True)
    )
    lists = tuple(
        tuple(max(0, each - now) for each in getattr(channel, name)) for name in _LISTS + _GROUPS
    )
    shared = tuple(max(0, getattr(channel, name) - now) for name in _SHARED)
    return channel.mode, channel.toggles, channel.turn, channel.waiting, rows, lists, shared


def _restored(timing: Timing, state: State, start: int) -> Channel:
    channel = Channel(timing)
    channel.now = start
    channel.mode, channel.toggles, channel.turn, channel.waiting, rows, lists, shared = state
    channel.open = [row >= 0 for row in rows]
    channel.row = [max(row, 0) for row in rows]
    for name, values in zip(_LISTS + _GROUPS, lists, strict=True):
        setattr(channel, name, [value + start for value in values])
    for name, value in zip(_SHARED, shared, strict=True):
        setattr(channel, name, value + start)
    return channel


def _segments(step: Step) -> tuple[Step, ...]:
    """A step cut behind its barriers. Columns are counted from a segment's first: nothing but
    which of its bursts go to the same address depends on them.
    """
    found: list[Step] = []
    begin = 0
    for end, each in enumerate(step):
        if each.barrier:
            cut = step[begin : end + 1]
            # Rows at which a mode changes are told by their columns, too.
            first = 0 if cut[0].row & NO_MEMORY else cut[0].column
            found.append(tuple(one._replace(column=one.column - first) for one in cut))
            begin = end + 1
    return tuple(found)


# How far off a refresh that does not matter is put; what is nearer than _NEAR may matter.
_FAR: Final = 1 << 40
_NEAR: Final = 1500
# A clock that a channel of its own starts at: not 0, where nothing has arrived yet.
_START: Final = 1 << 20



class Effect(NamedTuple):
    """Cycles, the number of the state after, banks opened, and which refreshes fell due."""

    cycles: int
    state: int
    opened: int
    fell: tuple[bool, ...]


class Spent(NamedTuple):
    """What a kernel takes of one channel: cycles from the first command to the last data, banks
    opened (all of a parity at once count as eight), and refreshes of all ranks.
    """

    cycles: int
    opened: int
    refreshes: int


class Schedule:
    """What is known of one timing."""

    def __init__(self, timing: Timing) -> None:
        self.timing = timing
        self._forget()

    def _forget(self) -> None:
        self._states: list[State] = []
        self._index: dict[State, int] = {}
        self._known: dict[tuple[Any, ...], Effect] = {}
        self._cuts: dict[int, tuple[Step, tuple[int, ...]]] = {}
        self._pieces: list[Step] = []
        self._names: dict[Step, int] = {}

    def state_of(self, channel: Channel) -> int:
        """The number of a channel's state."""
        state = _snapshot(channel)
        found = self._index.setdefault(state, len(self._states))
        if found == len(self._states):
            self._states.append(state)
        return found

    def segments(self, step: Step) -> tuple[int, ...]:
        """The numbers of a step's segments. By identity: the step is kept, so that its id stays
        its own.
        """
        if id(step) not in self._cuts:
            numbers = []
            for piece in _segments(step):
                number = self._names.setdefault(piece, len(self._pieces))
                if number == len(self._pieces):
                    self._pieces.append(piece)
                numbers.append(number)
            self._cuts[id(step)] = step, tuple(numbers)
        return self._cuts[id(step)][1]

    def spent(self, kernel: Kernel) -> Spent:
        """What a kernel takes of a channel. Every channel of a launch does the same at the same
        time.
        """
        if len(self._known) > _MOST:
            self._forget()
        run = _Run(self, Channel(self.timing))
        phases = kernel.pattern
        first, last = phases[0].step, closing()
        run.go(Phase(opening(kernel.words)), first if kernel.rounds else last)
        for index in range(kernel.rounds):
            after = first if index < kernel.rounds - 1 else last
            for place, phase in enumerate(phases):
                follows = phases[place + 1].step if place + 1 < len(phases) else after
                run.go(phase, follows)
        run.go(Phase(last), ())
        return Spent(run.now - 1 + self.timing.read_return, run.opened, run.refreshes)

    def undisturbed(self, state: int, step: Step, follows: Step) -> Effect:
        """The effect of a step with no refresh in sight."""
        key = (state, id(step), id(follows))
        if key not in self._known:
            far = (_FAR,) * self.timing.ranks
            cycles, after, opened = 0, state, 0
            for segment, following in self.pairs(step, follows):
                one = self.advance(after, segment, following, far)
                cycles, after, opened = cycles + one.cycles, one.state, opened + one.opened
            self._known[key] = Effect(cycles, after, opened, (False,) * self.timing.ranks)
        return self._known[key]

    def pairs(self, step: Step, follows: Step) -> list[tuple[int, int]]:
        """Each segment of a step with the one after it, -1 where there is none."""
        own = self.segments(step)
        behind = self.segments(follows)[0] if follows else -1
        return list(zip(own, (*own[1:], behind), strict=True))

    def advance(self, state: int, segment: int, following: int, due: tuple[int, ...]) -> Effect:
        """The effect of a segment; ``due`` are the distances of each rank's refresh."""
        key = (state, segment, following, due)
        found = self._known.get(key)
        if found is None:
            channel = _restored(self.timing, self._states[state], _START)
            channel.due = [_START + each for each in due]
            opened: list[int] = []
            # In all-bank modes an ACT opens a bank of every block.
            channel.sink = lambda command: opened.append(
                (command.kind == "ACT") * (1 if channel.mode == "SB" else BLOCKS)
            )
            seen = self._pieces[following] if following >= 0 else ()
            end = channel.run((*self._pieces[segment], *seen), len(seen))
            pairs = zip(channel.due, due, strict=True)
            fell = tuple(after > _START + before for after, before in pairs)
            found = Effect(end - _START, self.state_of(channel), sum(opened), fell)
            self._known[key] = found
        return found


class _Run:
    """A kernel on its way: the cycle, the state, and when refreshes are due."""

    def __init__(self, known: Schedule, channel: Channel) -> None:
        self.known = known
        self.now = 1  # the first transaction takes a cycle to arrive
        self.due = list(channel.due)
        self.next_due = min(self.due)
        self.state = known.state_of(channel)
        self.opened = self.refreshes = 0

    def go(self, phase: Phase, follows: Step) -> None:
        """All repetitions of a phase, the last with what follows in sight."""
        left = phase.count
        while left > 1:
            left -= self._repeat(phase.step, left - 1)
        if left:
            self._once(phase.step, follows)

    def _repeat(self, step: Step, most: int) -> int:
        """One repetition, or as many as end before a refresh where the state stays the same."""
        before, start, due, opened = self.state, self.now, self.next_due, self.opened
        self._once(step, step)
        if self.state != before or self.next_due != due:
            return 1
        cycles = self.now - start
        more = max(0, min(most - 1, (due - self.now) // cycles))
        self.now += more * cycles
        self.opened += more * (self.opened - opened)
        return 1 + more

    def _once(self, step: Step, follows: Step) -> None:
        effect = self.known.undisturbed(self.state, step, follows)
        if self.now + effect.cycles <= self.next_due:
            self._take(effect)
            return
        for segment, following in self.known.pairs(step, follows):
            self._segment(segment, following)

    def _segment(self, segment: int, following: int) -> None:
        distances = (max(0, each - self.now) for each in self.due)
        due = tuple(each if each < _NEAR else _FAR for each in distances)
        effect = self.known.advance(self.state, segment, following, (_FAR,) * len(due))
        if self.now + effect.cycles > self.next_due:
            effect = self.known.advance(self.state, segment, following, due)
        self._take(effect)
        if any(effect.fell):
            interval = self.known.timing.refresh_interval
            pairs = zip(self.due, effect.fell, strict=True)
            self.due = [each + interval * one for each, one in pairs]
            self.next_due = min(self.due)
            self.refreshes += sum(effect.fell)

    def _take(self, effect: Effect) -> None:
        self.now += effect.cycles
        self.state = effect.state
        self.opened += effect.opened


@lru_cache(maxsize=32)
def schedule(timing: Timing) -> Schedule:
    """What this process knows of a timing."""
    return Schedule(timing)


def direct(kernel: Kernel, timing: Timing) -> int:
    """The same cycles by the state machine alone, from the first command to the last."""
    return Channel(timing).run(kernel) - 1 + timing.read_return
