"""How long a kernel takes: the controller's state machine, each situation computed once.

At a barrier all that matters of a channel is its state relative to now: which rows are open, and
how long each command must still wait. A kernel meets few such situations, so that the effect of
what lies between two barriers, a stretch, is computed once: it gives cycles and the next situation.
Whole steps are composed of them likewise. When refreshes fall due matters only to the stretch that
one falls into; there its distance is part of the key, and all else is common to all intervals. The
result is that of the state machine, to the cycle, and costs microseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Final, NamedTuple

from host_daemon.devices.pim.hbm.controller import FIRST, NEVER, Channel
from host_daemon.devices.pim.hbm.kernels import Kernel
from host_daemon.devices.pim.hbm.known import Effect, Known, Plan, Stretch, known
from host_daemon.devices.pim.hbm.timing import Timing
from host_daemon.devices.pim.hbm.transactions import Phase, Step, closing, opening

# Kernels after which those known are forgotten.
_KERNELS: Final = 4096


class Spent(NamedTuple):
    """What a kernel takes of one channel: cycles from the first command to the last data, banks
    opened (all of a parity at once count as eight), and refreshes of all ranks.
    """

    cycles: int
    opened: int
    refreshes: int


class Schedule:
    """Kernels under one timing."""

    def __init__(self, timing: Timing) -> None:
        self.timing = timing
        self.due = tuple(Channel(timing).due)
        self._known = known(replace(timing, refresh_interval=0, ranks=1))
        self._spent: dict[Kernel, Spent] = {}

    def spent(self, kernel: Kernel) -> Spent:
        """What a kernel takes of a channel. Every channel of a launch does the same at the same
        time.
        """
        found = self._spent.get(kernel)
        if found is None:
            if len(self._spent) >= _KERNELS:
                self._spent.clear()
            found = self._spent[kernel] = self._run(kernel)
        return found

    def _run(self, kernel: Kernel) -> Spent:
        run = _Run(self._known, self.timing, self.due)
        phases = kernel.pattern
        first, last = phases[0].step, closing()
        if kernel.before:
            run.prepare(kernel.before)
        run.go(Phase(opening(kernel.words)), first if kernel.rounds else last)

        def once(after: Step) -> None:
            for place, phase in enumerate(phases):
                run.go(phase, phases[place + 1].step if place + 1 < len(phases) else after)

        run.repeat(lambda: once(first), kernel.rounds - 1)
        if kernel.rounds:
            once(last)
        run.go(Phase(last), ())
        return Spent(run.now - 1 + self.timing.read_return, run.opened, run.refreshes)


class _Run:
    """A kernel on its way: the cycle, the situation, and when refreshes are due."""

    def __init__(self, known: Known, timing: Timing, due: tuple[int, ...]) -> None:
        self.known = known
        self.timing = timing
        self.now = FIRST
        self.first = self.due = due
        self.next_due = min(due)
        self.situation = known.begin()
        self.opened = self.refreshes = 0

    def prepare(self, accesses: Step) -> None:
        """Ordinary accesses before all else, by the state machine itself."""
        channel = Channel(self.timing)
        channel.feed(accesses)
        self.now, self.due, self.opened = channel.now, tuple(channel.due), channel.opened
        self.next_due = min(self.due)
        self.refreshes = sum(one != other for one, other in zip(self.due, self.first, strict=True))
        self.situation = self.known.situation(channel)

    def go(self, phase: Phase, follows: Step) -> None:
        """All repetitions of a phase, the last with what follows in sight."""
        if phase.count > 1:
            again = self.known.plan(phase.step, phase.step)
            self.repeat(lambda: self._once(again), phase.count - 1)
        if phase.count:
            self._once(self.known.plan(phase.step, follows))

    def repeat(self, once: Callable[[], None], times: int) -> None:
        """The same several times: added up, as many as end before a refresh, where the situation
        stays the same.
        """
        while times > 0:
            before, start, due, opened = self.situation, self.now, self.next_due, self.opened
            once()
            times -= 1
            if self.situation is before and self.next_due == due:
                cycles = self.now - start
                more = max(0, min(times, (due - self.now) // cycles))
                self.now += more * cycles
                self.opened += more * (self.opened - opened)
                times -= more

    def _once(self, plan: Plan) -> None:
        effect = self.known.whole(self.situation, plan)
        if self.now + effect.cycles <= self.next_due:
            self._take(effect)
            return
        for stretch in plan.stretches:
            effect = self.known.part(self.situation, stretch)
            if self.now + effect.cycles <= self.next_due:
                self._take(effect)
            else:
                self._disturbed(stretch, effect.cycles)

    def _disturbed(self, stretch: Stretch, cycles: int) -> None:
        # A refresh further off than a stretch can last that two others fall into is not told apart
        # from one that never comes.
        near = cycles + 2 * (self.timing.refresh + 2 * self.timing.row_cycle)
        distances = [each - self.now if each > self.now else 0 for each in self.due]
        due = tuple([each if each < near else NEVER for each in distances])
        effect = self.known.disturbed(self.situation, stretch, self.timing, due)
        self._take(effect)
        if any(effect.fell):
            interval = self.timing.refresh_interval
            pairs = zip(self.due, effect.fell, strict=True)
            self.due = tuple([each + interval * one for each, one in pairs])
            self.next_due = min(self.due)
            self.refreshes += sum(effect.fell)

    def _take(self, effect: Effect) -> None:
        self.now += effect.cycles
        self.situation = effect.after
        self.opened += effect.opened


@lru_cache(maxsize=32)
def schedule(timing: Timing) -> Schedule:
    """What this process knows of a timing."""
    return Schedule(timing)


def direct(kernel: Kernel, timing: Timing) -> int:
    """The same cycles by the state machine alone, from the first command to the last."""
    channel = Channel(timing)
    channel.feed(kernel.before)
    return channel.run(kernel) - 1 + timing.read_return
