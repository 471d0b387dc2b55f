"""What comes of a channel's situations between two barriers, each computed once.

A situation is the channel's state relative to now. What goes out from there up to the next
barrier, a stretch, always has the same effect while no refresh falls into it, and another for each
distance of one that does.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final, NamedTuple

from host_daemon.devices.pim.hbm.controller import FIRST, NEVER, Channel
from host_daemon.devices.pim.hbm.timing import BANKS, Timing
from host_daemon.devices.pim.hbm.transactions import NO_MEMORY, Step, Transaction

# Commands of a stretch of many banks, so that what a refresh does not change is not done again.
_COMMANDS: Final = 12
_COMMANDS_OF_ONE: Final = 3  # of a transaction: PRE, ACT, READ or WRITE
# Effects after which what was learnt is forgotten: a bound of memory, some 4 KiB each.
_MOST: Final = 1 << 14

State = tuple[Any, ...]
_WAITING: Final = 3  # the rank whose refresh waits, in a state


def _snapshot(channel: Channel) -> State:
    """All that later commands depend on, as if it were ``FIRST`` now: what may go out at once has
    that time. Rows of closed banks do not matter.
    """
    now, is_open = channel.now, channel.open
    back = now - FIRST
    rows = tuple([row if is_open >> bank & 1 else -1 for bank, row in enumerate(channel.row)])
    lists = [
        tuple([each - back if each > now else FIRST for each in times])
        if max(times) > now
        else (FIRST,) * len(times)
        for times in (
            channel.can_activate,
            channel.can_read,
            channel.can_write,
            channel.can_precharge,
            channel.group_column,
            channel.group_activate,
            (channel.all_read, channel.all_write, channel.all_activate),
        )
    ]
    mode = channel.mode, channel.toggles, channel.turn, channel.waiting
    return (*mode, is_open, rows, tuple(channel.queue), *lists)


def _restored(timing: Timing, state: State) -> Channel:
    """A channel in that state, at the cycle ``FIRST``."""
    channel = Channel(timing)
    channel.now = FIRST
    (
        channel.mode,
        channel.toggles,
        channel.turn,
        channel.waiting,
        channel.open,
        rows,
        _,
        can_activate,
        can_read,
        can_write,
        can_precharge,
        group_column,
        group_activate,
        (channel.all_read, channel.all_write, channel.all_activate),
    ) = state
    channel.row = list(rows)
    channel.can_activate = list(can_activate)
    channel.can_read = list(can_read)
    channel.can_write = list(can_write)
    channel.can_precharge = list(can_precharge)
    channel.group_column = list(group_column)
    channel.group_activate = list(group_activate)
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
            if first:
                cut = tuple([one._replace(column=one.column - first) for one in cut])
            found.append(cut)
            begin = end + 1
    return tuple(found)


def _foreseen(segment: Step, behind: Step) -> Step:
    """What can matter of a segment to the one before it: rows that may be opened early. That is
    of each bank the first, but for the bank that the barrier itself needs, and for what carries
    the next barrier.
    """
    first: dict[int, Transaction] = {}
    for each in behind:
        if each.bank != segment[-1].bank and not each.barrier:
            first.setdefault(each.bank, each)
    return tuple(first.values())


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """What goes out between two barriers, and the ``seen`` transactions behind it that the
    controller sees coming; or the first ``most`` commands of it, or some more of them, of what has
    arrived already. Equal ones are one object.
    """

    transactions: Step
    seen: int
    most: int = NEVER


def _pieces(transactions: Step, seen: int) -> tuple[Stretch, ...]:
    if len({each.bank for each in transactions}) < BANKS:
        return (Stretch(transactions, seen),)
    more = _COMMANDS_OF_ONE * (len(transactions) - seen) // _COMMANDS - 2
    first, last = Stretch(transactions, seen, _COMMANDS), Stretch((), seen)
    return first, *[Stretch((), seen, _COMMANDS)] * more, last


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A step with what follows it, as stretches. Both are kept, so that their ids stay theirs."""

    step: Step
    follows: Step
    stretches: tuple[Stretch, ...]


@dataclass(slots=True, eq=False)
class Situation:
    """A channel at a barrier, and what is known to come of it: by stretch or plan where no
    refresh is near, else by (stretch, distances of refreshes, interval).
    """

    state: State
    queue: Step
    effects: dict[object, Effect] = field(default_factory=dict)


class Effect(NamedTuple):
    """Cycles, the situation after, banks opened, which refreshes fell due, and the cycles of a
    stretch in which commands went out.
    """

    cycles: int
    after: Situation
    opened: int
    fell: tuple[bool, ...] = ()
    busy: frozenset[int] = frozenset()


class Known:
    """Situations met under a timing, whatever its refresh."""

    def __init__(self, timing: Timing) -> None:
        self._timing = replace(timing, refresh_interval=0, ranks=1)
        self._forget()

    def _forget(self) -> None:
        self._effects = 0
        self._situations: dict[State, Situation] = {}
        self._plans: dict[tuple[int, int], Plan] = {}
        self._segments: dict[Step, Step] = {(): ()}
        self._cuts: dict[int, tuple[Step, tuple[Step, ...]]] = {}
        self._pieces: dict[tuple[Step, int], tuple[Stretch, ...]] = {}
        self._stretches: dict[tuple[int, int], tuple[Stretch, ...]] = {}
        self._idle = self.situation(Channel(self._timing))

    def begin(self) -> Situation:
        """A channel that nothing was asked of yet."""
        if self._effects > _MOST:
            self._forget()
        return self._idle

    def situation(self, channel: Channel) -> Situation:
        """The state of a channel."""
        state = _snapshot(channel)
        found = self._situations.get(state)
        if found is None:
            found = self._situations[state] = Situation(state, tuple(channel.queue))
        return found

    def plan(self, step: Step, follows: Step) -> Plan:
        """A step and what follows it, nothing at the end, by identity."""
        found = self._plans.get((id(step), id(follows)))
        if found is None:
            own = self._cut(step)
            behind: Step = self._cut(follows)[0] if follows else ()
            pairs = zip(own, (*own[1:], behind), strict=True)
            stretches = [each for pair in pairs for each in self._stretched(*pair)]
            found = self._plans[id(step), id(follows)] = Plan(step, follows, tuple(stretches))
        return found

    def _cut(self, step: Step) -> tuple[Step, ...]:
        found = self._cuts.get(id(step))
        if found is None:
            own = tuple([self._segments.setdefault(each, each) for each in _segments(step)])
            found = self._cuts[id(step)] = step, own
        return found[1]

    def _stretched(self, segment: Step, behind: Step) -> tuple[Stretch, ...]:
        key = id(segment), id(behind)
        found = self._stretches.get(key)
        if found is None:
            foreseen = _foreseen(segment, behind)
            all_of_it, seen = (*segment, *foreseen), len(foreseen)
            found = self._pieces.get((all_of_it, seen))
            if found is None:
                found = self._pieces[all_of_it, seen] = _pieces(all_of_it, seen)
            self._stretches[key] = found
        return found

    def whole(self, situation: Situation, plan: Plan) -> Effect:
        """The effect of a step with no refresh in sight."""
        found = situation.effects.get(plan)
        if found is None:
            cycles, opened, after = 0, 0, situation
            for stretch in plan.stretches:
                one = self.part(after, stretch)
                cycles, after, opened = cycles + one.cycles, one.after, opened + one.opened
            found = situation.effects[plan] = Effect(cycles, after, opened)
        return found

    def part(self, situation: Situation, stretch: Stretch) -> Effect:
        """The effect of a stretch with no refresh in sight."""
        found = situation.effects.get(stretch)
        if found is None:
            found = self._computed(situation, stretch, self._timing, (NEVER,))
            situation.effects[stretch] = found
        return found

    def disturbed(
        self, situation: Situation, stretch: Stretch, timing: Timing, due: tuple[int, ...]
    ) -> Effect:
        """The effect of a stretch where ``due`` are the distances of each rank's refresh.

        One of a rank that kernels leave alone takes a cycle and nothing else: where no command
        would go out in it, all is as without.
        """
        quiet = self.part(situation, stretch)
        fell = tuple([each < quiet.cycles for each in due])
        alone = not fell[0] and sum(fell) == 1 and situation.state[_WAITING] < 0
        if alone and quiet.busy.isdisjoint(due):
            return quiet._replace(fell=fell)
        key = (stretch, due, timing.refresh_interval)
        found = situation.effects.get(key)
        if found is None:
            found = situation.effects[key] = self._computed(situation, stretch, timing, due)
        return found

    def _computed(
        self, situation: Situation, stretch: Stretch, timing: Timing, due: tuple[int, ...]
    ) -> Effect:
        self._effects += 1
        channel = _restored(timing, situation.state)
        before = [FIRST + each for each in due]
        channel.due = list(before)
        waiting = situation.queue
        end = channel.run((*waiting, *stretch.transactions), stretch.seen, stretch.most)
        fell = tuple([after > then for after, then in zip(channel.due, before, strict=True)])
        busy = frozenset([each - FIRST for each in channel.busy])
        return Effect(end - FIRST, self.situation(channel), channel.opened, fell, busy)


@lru_cache(maxsize=32)
def known(timing: Timing) -> Known:
    """What this process knows of a timing without its refresh."""
    return Known(timing)
