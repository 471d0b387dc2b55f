"""The channel's controller, cycle by cycle: slow, obvious, and no time is ever worked out.

Each cycle asks, in the order of priority, whether a command may go out now, by its distance from
the commands before it; the distances are written out from the names of JEDEC's standard.
"""

from __future__ import annotations

from host_daemon.devices.pim.hbm.kernels import Kernel
from host_daemon.devices.pim.hbm.timing import Timing
from host_daemon.devices.pim.hbm.transactions import Transaction

LONG_AGO = -(10**9)


class Stepped:
    """One channel. ``issued`` are (cycle, kind, bank)."""

    def __init__(self, timing: Timing) -> None:
        self.timing = timing
        self.mode = "SB"
        self.rows: dict[int, int] = {}  # of open banks
        self.last: dict[tuple[str, int], int] = {}  # of (kind, bank)
        self.issued: list[tuple[int, str, int]] = []
        self.due = [timing.refresh_interval // timing.ranks * k for k in range(1, timing.ranks + 1)]
        self.waiting = -1
        self.turn = 0
        self.toggles: set[int] = set()

    def _since(self, now: int, kinds: str, banks: range | list[int]) -> int:
        """Cycles since any of these commands to any of these banks."""
        times = [self.last.get((kind, bank), LONG_AGO) for kind in kinds.split() for bank in banks]
        return now - max(times)

    def _may(self, now: int, kind: str, bank: int) -> bool:
        t, own, every = self.timing, [bank], range(16)
        group = range(bank // 4 * 4, bank // 4 * 4 + 4)
        data = t.burst // 2
        if kind == "ACT":
            return (
                self._since(now, "PRE", own) >= t.precharge
                and self._since(now, "ACT", own) >= t.row_cycle
                and self._since(now, "ACT", group) >= t.activate_long
                and self._since(now, "ACT", every) >= t.activate_short
                and self._since(now, "REF", [0]) >= t.refresh
            )
        if kind == "PRE":
            after_read = data + max(t.read_to_precharge_long, t.column_long) - t.column_long
            return (
                self._since(now, "ACT", own) >= t.active
                and self._since(now, "READ", own) >= after_read
                and self._since(now, "WRITE", own) >= t.write_latency + data + t.write_recovery
            )
        opens, turn = t.activate_to_read, t.write_latency + data + t.write_to_read_long
        if kind == "WRITE":
            opens = t.activate_to_write
            turn = t.read_latency + data + t.rank_switch - t.write_latency
        return (
            self._since(now, "ACT", own) >= opens
            and self._since(now, "READ WRITE", group) >= max(t.column_long, data)
            and self._since(now, kind, every) >= max(t.column_short, data)
            and self._since(now, "READ" if kind == "WRITE" else "WRITE", every) >= turn
        )

    def _issue(self, now: int, kind: str, bank: int) -> None:
        self.last[kind, bank] = now
        self.issued.append((now, kind, bank))

    def _close(self, now: int, bank: int) -> None:
        self._issue(now, "PRE", bank)
        if self.rows.pop(bank) == 0x1FFF and self.mode == "HAB":
            self.toggles.add(bank)
            if self.toggles >= {0, 1}:
                self.mode, self.toggles = "SB", set()

    def _refresh(self, now: int) -> bool:
        """What a due refresh needs, if it can go out."""
        if self.timing.refresh_interval:
            for rank, due in enumerate(self.due):
                if due <= now:
                    self.waiting = rank
                    self.due[rank] += self.timing.refresh_interval
                    break
        if self.waiting < 0:
            return False
        if self.waiting == 0 and self.rows:
            ready = [bank for bank in sorted(self.rows) if self._may(now, "PRE", bank)]
            if ready:
                self._close(now, ready[0])
            return bool(ready)
        self._issue(now, "REF", self.waiting)
        self.waiting = -1
        return True

    def _access(self, now: int, queue: list[Transaction], first: list[Transaction]) -> bool:
        for place, each in enumerate(first):
            kind = "WRITE" if each.write else "READ"
            same = [one for one in first[:place] if one[1:4] == each[1:4]]
            barred = each.barrier and place > 0
            hit = self.rows.get(each.bank) == each.row
            if hit and not same and not barred and self._may(now, kind, each.bank):
                self._issue(now, kind, each.bank)
                del queue[place]
                if each.enters:
                    self.mode = "HAB_PIM" if each.enters == "pim" else "HAB"
                return True
        return False

    def _open(self, now: int, seen: list[Transaction]) -> bool:
        for place, each in enumerate(seen):
            asked = not (each.barrier and place > 0) and (self.mode == "SB" or each.bank < 2)
            if asked and each.bank not in self.rows and self._may(now, "ACT", each.bank):
                self._issue(now, "ACT", each.bank)
                self.rows[each.bank] = each.row
                if self.mode == "SB" and (each.row, each.column) == (0x17FF, 31):
                    self.toggles.add(each.bank)
                    if self.toggles >= {0, 1, 8, 9}:
                        self.mode, self.toggles = "HAB", set()
                return True
        return False

    def run(self, kernel: Kernel) -> int:
        """The cycle of the last transaction."""
        queue, now = list(kernel), 0
        while queue:
            now += 1
            if self._refresh(now):
                continue
            # In reach: all up to the next barrier; behind one that is first in line, one more.
            ends = [place for place, each in enumerate(queue) if each.barrier][:2]
            first = queue[: ends[0] + 1]
            seen = queue[: ends[-1] + 1] if ends[0] == 0 else first
            if self._access(now, queue, first) or self._open(now, seen):
                continue
            wanted = {each.bank for each in first if self.rows.get(each.bank) == each.row}
            for offset in range(16):
                bank = (self.turn + offset) % 16
                if bank in self.rows and bank not in wanted and self._may(now, "PRE", bank):
                    self.turn = bank
                    self._close(now, bank)
                    break
        return now
