"""The memory controller of one channel: which command goes out at which cycle.

First ready, first come, first served over the transactions up to the next barrier, one command a
cycle, rows left open. In this order of priority:

    1. what a due refresh needs: PRE of open banks, then REF of all
    2. READ or WRITE to an open row
    3. ACT for a transaction whose bank is closed; past a barrier only where that is next in line
    4. PRE of an open row that nothing before the next barrier wants, banks in turn

The rules are those of PIMSimulator's controller as its public trace and sources show them. Time
jumps from one possible command to the next, so that idle cycles cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from host_daemon.devices.pim.hbm.timing import BANKS, BANKS_PER_GROUP, Timing
from host_daemon.devices.pim.hbm.transactions import (
    HAB_ROW,
    LAST_COLUMN,
    SB_ROW,
    Transaction,
)

NEVER: Final = 1 << 62
# A transaction that is sent at cycle 0 is in the queue a cycle later.
FIRST: Final = 1
# The order in which banks are closed, by whose turn it is.
_TURNS: Final = tuple(
    tuple((turn + offset) % BANKS for offset in range(BANKS)) for turn in range(BANKS)
)
# Transactions that a controller sees of a stream without barriers.
DEPTH: Final = 64
_TOGETHER: Final = BANKS // 2  # banks that one command reaches in all-bank modes


class Command(NamedTuple):
    """A command as it leaves the controller. ``kind`` is ACT, PRE, READ, WRITE or REF."""

    cycle: int
    kind: str
    bank: int
    row: int
    transaction: Transaction | None


class Channel:
    """Banks of one channel as its controller knows them. All times are absolute cycles."""

    def __init__(self, timing: Timing) -> None:
        self.timing = timing
        self.now = 0
        self.mode = "SB"
        self.open = 0  # a bit for each bank with an open row
        self.row: list[int] = [0] * BANKS
        self.opened = 0  # banks opened so far: in all-bank modes an ACT opens one of every block
        # From when each command may go to a bank.
        self.can_activate: list[int] = [0] * BANKS
        self.can_read: list[int] = [0] * BANKS
        self.can_write: list[int] = [0] * BANKS
        self.can_precharge: list[int] = [0] * BANKS
        # The same that any command imposes on all banks, and on those of its group.
        self.all_read = self.all_write = self.all_activate = 0
        groups = BANKS // BANKS_PER_GROUP
        self.group_column: list[int] = [0] * groups
        self.group_activate: list[int] = [0] * groups
        self.turn = 0  # whose PRE is next
        self.toggles: frozenset[int] = frozenset()
        interval = timing.refresh_interval
        self.due = [interval // timing.ranks * (rank + 1) for rank in range(timing.ranks)]
        if not interval:
            self.due = [NEVER] * timing.ranks
        self.waiting = -1  # the rank whose refresh waits for banks to close
        self.queue: list[Transaction] = []
        self.busy: list[int] = []
        self.sink: Callable[[Command], None] | None = None

    def run(
        self, transactions: Iterable[Transaction], leave: int = 0, most: int = NEVER
    ) -> int:
        """Issue all but the last ``leave``, which it sees coming; the cycle after the last one.

        They arrive one a cycle, from cycle 0. After ``most`` commands it stops; ``queue`` is what
        has arrived and waits, nothing at the end. ``busy`` are the cycles of all commands.
        """
        self.busy.clear()
        self.now = max(self.now, FIRST)
        source = iter(transactions)
        queue: list[Transaction] = []
        fences = _fill(queue, source, 0)
        while len(queue) > leave and most > 0:
            if not self._stream(queue):
                fences -= self._issue(queue, self._choose(queue))
                if fences < 2:
                    fences = _fill(queue, source, fences)
                self.busy.append(self.now - 1)
            most -= 1
        self.queue = queue if len(queue) > leave else []
        return self.now

    def steps(self, transactions: Iterable[Transaction], leave: int = 0) -> Iterator[None]:
        """The same, one command at a time: slower, and nothing is added up."""
        self.now = max(self.now, FIRST)
        source = iter(transactions)
        queue: list[Transaction] = []
        fences = _fill(queue, source, 0)
        while len(queue) > leave:
            fences -= self._step(queue)
            yield
            if fences < 2:
                fences = _fill(queue, source, fences)

    def feed(self, transactions: Iterable[Transaction], depth: int = DEPTH) -> int:
        """Take transactions without barriers, seeing at most ``depth`` of them. When the last data
        has come or gone.
        """
        source = iter(transactions)
        queue: list[Transaction] = []
        following = next(source, None)
        done = self.now
        while queue or following is not None:
            cycle = self.now
            arriving = following is not None and len(queue) < depth
            choice = self._choose(queue) if queue else (NEVER, 0, 0)
            if choice[0] == cycle or not arriving:
                before = len(queue)
                last = queue[-choice[2] - 1] if choice[2] < 0 and not choice[1] else None
                self._issue(queue, choice)
                if last is not None and len(queue) < before:
                    wait = self.timing.write_return if last.write else self.timing.read_return
                    done = max(done, self.now - 1 + wait)
            else:
                self.now = cycle + 1  # another one arrives before anything can go out
            if arriving and following is not None:
                queue.append(following)
                following = next(source, None)
        return done

    def drain(self, transactions: Iterable[Transaction]) -> None:
        """The same, and wait until then."""
        self.now = self.feed(transactions)

    def settle(self, cycles: int) -> Iterator[None]:
        """What still goes out in the cycles after the last transaction: PREs, and refreshes."""
        end = self.now + cycles
        while self._choose([])[0] < end:
            self._step([])
            yield

    def _stream(self, queue: list[Transaction]) -> bool:
        """Issue several bursts at once: those to one open row, up to the last before a barrier, or
        with it where nothing is behind, that go out at the pace of columns before anything else
        can. Whether there were any.
        """
        first = queue[0]
        bank = first.bank
        if self.sink or self.waiting >= 0 or self.row[bank] != first.row:
            return False
        if not self.open >> bank & 1:
            return False
        timing, left = self.timing, _alike(queue)
        if not left:
            return False
        limit = min(self.due) - 1
        for other in range(BANKS if self.open != 1 << bank else 0):
            if self.open >> other & 1 and other != bank:  # its PRE goes where a column waits
                limit = min(limit, self.can_precharge[other])
        start = max(self.now, self._column_time(bank, first.write))
        pace = max(timing.column_long, timing.column_short, timing.data)
        count = min(left, (limit - start) // pace + 1)
        if count < 1:
            return False
        self.now = start + (count - 1) * pace
        self.busy += range(start, self.now + 1, pace)
        del queue[: count - 1]
        self._column(queue, 0)
        self.now += 1
        return True

    def _step(self, queue: list[Transaction]) -> bool:
        """Issue one command: the best at the first cycle at which there is one. Whether it was the
        last before a barrier.
        """
        return self._issue(queue, self._choose(queue))

    def _issue(self, queue: list[Transaction], choice: tuple[int, int, int]) -> bool:
        time, rank, act = choice
        self.now = time
        passed = False
        if rank:
            self._refresh_step(act)
        elif act < 0:
            passed = queue[-act - 1].barrier
            self._column(queue, -act - 1)
        else:
            self._row(queue, act)
        self.now = time + 1
        return passed

    def _choose(self, queue: list[Transaction]) -> tuple[int, int, int]:
        """(cycle, whether for a refresh, what): what is a bank for a refresh, -1 - place in the
        queue for READ or WRITE, place for ACT, and BANKS * 4 + bank for PRE.
        """
        now = self.now
        nearest = min(self.due)
        if nearest <= now:
            rank = self.due.index(nearest)
            self.waiting = rank
            self.due[rank] = nearest + self.timing.refresh_interval
            return self._choose(queue)
        time, forced, what = NEVER, 0, 0
        if self.waiting >= 0:
            time, what = self._refresh_time()
            forced = 1
        if time > now:
            found, action = self._best(queue, now)
            if found < time:
                time, forced, what = found, 0, action
        if nearest <= time:
            self.now = nearest
            return self._choose(queue)
        return time, forced, what

    def _refresh_time(self) -> tuple[int, int]:
        """When the refresh that waits can go on, and with which bank; -1 for REF itself."""
        best, bank = NEVER, -1
        if self.waiting == 0:
            for each in range(BANKS if self.open else 0):
                if self.open >> each & 1 and max(self.can_precharge[each], self.now) < best:
                    best, bank = max(self.can_precharge[each], self.now), each
        return (self.now, -1) if bank < 0 else (best, bank)

    def _best(self, queue: list[Transaction], now: int) -> tuple[int, int]:
        """(cycle, action) of what can go out first, by priority where several can."""
        column_at = activate_at = NEVER
        column = activate = wanted = 0
        reach = BANKS if self.mode == "SB" else 2  # banks that an ACT may be asked for
        is_open, open_row = self.open, self.row
        can_activate, by_group = self.can_activate, self.group_activate
        soonest = max(now, self.all_activate)  # of any ACT
        behind = bool(queue) and queue[0].barrier  # all but the first wait behind a barrier
        seen = 0  # which banks have had their first READ or WRITE: the next is no sooner
        for place, (write, bank, row, _, barrier, _) in enumerate(queue):
            fence = barrier and place > 0
            if is_open >> bank & 1:
                if open_row[bank] == row and not (behind and place):
                    wanted |= 1 << bank
                    bit = 1 << bank + (BANKS if write else 0)
                    if not (fence or seen & bit) and not (place and _again(queue, place)):
                        seen |= bit
                        time = self._column_time(bank, write)
                        if time <= now:
                            return now, -1 - place
                        if time < column_at:
                            column_at, column = time, -1 - place
            elif not fence and bank < reach and soonest < activate_at:
                # Of those that could go now, the first.
                time = max(soonest, can_activate[bank], by_group[bank // BANKS_PER_GROUP])
                if time < activate_at:
                    activate_at, activate = time, place
            if fence:
                break
        if activate_at < column_at:
            column_at, column = activate_at, activate
        unwanted = is_open & ~wanted
        if column_at > now and unwanted:
            column_at, column = self._precharge_before(column_at, column, unwanted, now)
        return max(column_at, now), column

    def _precharge_before(
        self, time: int, action: int, unwanted: int, now: int
    ) -> tuple[int, int]:
        """The first PRE of a bank that nothing wants, where it can go out before an action."""
        ready = self.can_precharge
        for bank in _TURNS[self.turn]:
            if unwanted >> bank & 1 and (ready[bank] < time and now < time):
                time, action = max(ready[bank], now), 4 * BANKS + bank
                if time == now:
                    break
        return time, action

    def _column_time(self, bank: int, write: bool) -> int:
        group = self.group_column[bank // BANKS_PER_GROUP]
        of_bank, of_all = (
            (self.can_write[bank], self.all_write)
            if write
            else (self.can_read[bank], self.all_read)
        )
        last = of_bank if of_bank > of_all else of_all
        return last if last > group else group

    def _tell(self, kind: str, bank: int, row: int, transaction: Transaction | None = None) -> None:
        if self.sink is not None:
            self.sink(Command(self.now, kind, bank, row, transaction))

    def _refresh_step(self, bank: int) -> None:
        if bank >= 0:
            self._precharge(bank)
            return
        rank, self.waiting = self.waiting, -1
        self._tell("REF", rank, 0)
        if rank == 0:
            until = self.now + self.timing.refresh
            self.can_activate = [until] * BANKS

    def _row(self, queue: list[Transaction], action: int) -> None:
        if action >= 4 * BANKS:
            self.turn = action - 4 * BANKS
            self._precharge(self.turn)
        else:
            self._activate(queue[action])

    def _activate(self, wanted: Transaction) -> None:
        timing, now, bank = self.timing, self.now, wanted.bank
        self.open |= 1 << bank
        self.row[bank] = wanted.row
        self.opened += 1 if self.mode == "SB" else _TOGETHER
        self.can_activate[bank] = max(now + timing.row_cycle, self.can_activate[bank])
        self.can_precharge[bank] = max(now + timing.active, self.can_precharge[bank])
        self.can_read[bank] = max(now + timing.activate_to_read, self.can_read[bank])
        self.can_write[bank] = max(now + timing.activate_to_write, self.can_write[bank])
        self.all_activate = now + timing.activate_short
        self.group_activate[bank // BANKS_PER_GROUP] = now + timing.activate_long
        self._tell("ACT", bank, wanted.row, wanted)
        if self.mode == "SB" and wanted.row == HAB_ROW and wanted.column == LAST_COLUMN:
            self.toggles |= {bank}
            if self.toggles >= {0, 1, 8, 9}:
                self.mode, self.toggles = "HAB", frozenset()

    def _precharge(self, bank: int) -> None:
        now, row = self.now, self.row[bank]
        self.open &= ~(1 << bank)
        self.can_activate[bank] = max(now + self.timing.precharge, self.can_activate[bank])
        self._tell("PRE", bank, row)
        if self.mode == "HAB" and row == SB_ROW:
            self.toggles |= {bank}
            if self.toggles >= {0, 1}:
                self.mode, self.toggles = "SB", frozenset()

    def _column(self, queue: list[Transaction], place: int) -> None:
        timing, now, each = self.timing, self.now, queue.pop(place)
        bank = each.bank
        pause = timing.write_to_precharge if each.write else timing.read_to_precharge
        self.can_precharge[bank] = max(now + pause, self.can_precharge[bank])
        self.group_column[bank // BANKS_PER_GROUP] = now + max(timing.column_long, timing.data)
        next_one = now + max(timing.column_short, timing.data)
        if each.write:
            self.all_write = max(self.all_write, next_one)
            self.all_read = max(self.all_read, now + timing.write_to_read)
        else:
            self.all_read = max(self.all_read, next_one)
            self.all_write = max(self.all_write, now + timing.read_to_write)
        if each.enters:
            self.mode = "HAB_PIM" if each.enters == "pim" else "HAB"
        self._tell("WRITE" if each.write else "READ", bank, each.row, each)


def _alike(queue: list[Transaction]) -> int:
    """How many of the first are of one row and direction, a barrier counted only where it is the
    last; 0 unless all up to a barrier, and that one, are.
    """
    write, bank, row, *_ = queue[0]
    for count, each in enumerate(queue):
        if each.bank != bank or each.row != row or each.write != write:
            return 0
        if each.barrier:
            return count + (len(queue) == count + 1)
    return 0


def _again(queue: list[Transaction], place: int) -> bool:
    """Whether an earlier transaction has the same address, and must go first."""
    own = queue[place]
    for each in queue[:place]:
        if each.column == own.column and each.bank == own.bank and each.row == own.row:
            return True
    return False


def _fill(queue: list[Transaction], source: Iterator[Transaction], fences: int) -> int:
    """Let in all up to two barriers ahead: nothing beyond the second can matter yet. How many
    there are then.
    """
    while fences < 2:
        following = next(source, None)
        if following is None:
            return fences
        queue.append(following)
        fences += following.barrier
    return fences
