"""Kernels of any length: exact up to so many tiles, then as they went on.

Beyond, each further tile takes what the second half of so many took: nothing but the place of
refreshes differs, and there are hundreds of them.
"""

from __future__ import annotations

from collections.abc import Callable

from host_daemon.devices.pim.hbm.kernels import Kernel
from host_daemon.devices.pim.hbm.schedule import Spent, schedule
from host_daemon.devices.pim.hbm.timing import Timing

Make = Callable[[int, int], Kernel]


def spent(make: Make, tiles: int, rounds: int, timing: Timing, exact: int) -> Spent:
    """What ``make(tiles, rounds)`` takes of a channel, exact up to ``exact`` tiles in all."""
    if tiles > exact:
        half = spent(make, exact // 2, rounds, timing, exact)
        return _on(half, spent(make, exact, rounds, timing, exact), exact // 2, tiles - exact)
    most = max(2, exact // max(1, tiles))
    if rounds > most:
        half = spent(make, tiles, most // 2, timing, exact)
        whole = spent(make, tiles, most, timing, exact)
        return _on(half, whole, most - most // 2, rounds - most)
    return schedule(timing).spent(make(tiles, rounds))


def _on(before: Spent, after: Spent, steps: int, more: int) -> Spent:
    """``more`` steps beyond ``after``, which is ``steps`` beyond ``before``."""
    pairs = zip(before, after, strict=True)
    return Spent(*(last + (last - first) * more // steps for first, last in pairs))
