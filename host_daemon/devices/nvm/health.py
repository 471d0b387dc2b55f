"""How tiles are, for the operator: what ages, what wears, what was cut off.

Levels turn before results do: wear warns at the card's share of endurance, and a tile that reaches
its endurance takes no more writes; an expected error warns at nine tenths of what is demanded.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from host_daemon.core.device import EXACT, WIRES
from host_daemon.devices.nvm.analog.converters import InputRange, ReadCounts
from host_daemon.devices.nvm.analog.wires import VALID_LOAD
from host_daemon.devices.nvm.resident import Resident
from host_daemon.devices.nvm.store import MOST_STUCK, TileRecord
from host_daemon.devices.nvm.tiles import Tiles
from host_daemon.devices.nvm.writing import Budget
from vaccel.inventory import Condition

_NEAR: Final = 0.9
# A larger share of inputs beyond the range is a warning: a calibrated one leaves out 1 in 20,000.
_CLIPPED: Final = 0.001
_LEVELS: Final = ("ok", "warning", "fault")


def of_vf(
    tiles: Tiles,
    residents: Collection[Resident],
    budget: Budget,
    now: float,
    spilled: Mapping[str, str],
) -> Sequence[Condition]:
    """Everything of a VF; the first line is the worst level of all others."""
    found = [
        *_tiles(tiles),
        *_spilled(spilled),
        *_ages(residents, now),
        *_errors(residents, now),
        *_wires(residents, now),
        *_wear([record for record in tiles.all if record.formatted], tiles.own.tile.warn),
        _budget(budget),
        *_counts(residents),
    ]
    return (health(found), *found)


def of_card(records: Sequence[TileRecord], warn: float) -> Sequence[Condition]:
    """Everything of a card's tiles, free ones included."""
    return tuple(_wear([record for record in records if record.formatted], warn))


def health(found: Sequence[Condition]) -> Condition:
    """The worst of them, and which they are."""
    worst = max((_LEVELS.index(each.level) for each in found), default=0)
    named = ", ".join(each.name for each in found if each.level == _LEVELS[worst])
    return Condition("health", float(worst), "", named if worst else "good", _LEVELS[worst])


def _level(value: float, warn: float, fault: float) -> str:
    return "fault" if value >= fault else "warning" if value >= warn else "ok"


def _tiles(tiles: Tiles) -> Iterator[Condition]:
    used, unfit = len(tiles.taken), sum(r.formatted and not r.fit for r in tiles.all)
    level = "fault" if unfit == len(tiles.all) else "warning" if unfit else "ok"
    note = f"of {len(tiles.all)}" + (f", {unfit} take no more writes" if unfit else "")
    yield Condition("tiles in use", float(used), "", note, level)


def _spilled(spilled: Mapping[str, str]) -> Iterator[Condition]:
    """Products that the digital core computes since tiles were taken."""
    if spilled:
        name, why = next(iter(spilled.items()))
        note = f"no room on tiles, so the digital core multiplies; {name}: {why}"
        yield Condition("products in digital", float(len(spilled)), "", note, "warning")


def _ages(residents: Collection[Resident], now: float) -> Iterator[Condition]:
    records = [each.record for resident in residents for each in resident.placed]
    if not records:
        return
    oldest = min(record.oldest for record in records)
    yield Condition("cell age", now - oldest, "s", "since the oldest weights in use were written")
    calibrated = min(float(r.get("calibrated_at")) for r in records)
    yield Condition("calibrated", now - calibrated, "s", "ago, the tile that waits longest")


def _errors(residents: Collection[Resident], now: float) -> Iterator[Condition]:
    worst: Resident | None = None
    nearest, level = 0.0, "ok"
    for resident in residents:
        # The operator looks: nothing is charged, and no launch's noise is touched.
        known = resident.measured(now) or math.isfinite(resident.measured_at)
        if not known and resident.quick:
            resident.probe(now)
        if math.isnan(resident.expected):
            continue
        if worst is None or resident.expected > worst.expected:
            worst = resident
        if resident.most_error is not None:
            nearest = max(nearest, resident.expected / resident.most_error)
    if worst is None:
        return
    if nearest:
        level = _level(nearest, _NEAR, 1.0 + 1e-12)
    yield Condition(
        "expected error", worst.expected, "1", f"of {worst.name}, relative to exact results", level
    )
    if nearest:
        yield Condition("error demanded", nearest, "1", "expected over accepted error", level)


def _wires(residents: Collection[Resident], now: float) -> Iterator[Condition]:
    """Whether the closed form of the wires holds, of the tile that loses most."""
    looked = [resident for resident in residents if resident.quick]
    placed = [(resident.seed, each) for resident in looked for each in resident.placed]
    if not placed or not placed[0][1].own.periphery.wire_ohms:
        return
    load = max(each.see(seed, now).load for seed, each in placed)
    note = "what wires take at worst, over what is left; solved "
    note += "in closed form" if load else "exactly"
    level = "ok"
    if load > VALID_LOAD:
        level = "warning"
        note += f", which is out of its range past {VALID_LOAD}: ask for {WIRES} = {EXACT}"
    yield Condition("wire load", load, "", note, level)


def _wear(records: Sequence[TileRecord], warn: float) -> Iterator[Condition]:
    worst = max((record.wear for record in records), default=0.0)
    mean = sum(record.wear for record in records) / len(records) if records else 0.0
    note = "writes of the most written cell over a cell's endurance"
    yield Condition("worst wear", worst, "1", note, _level(worst, warn, 1.0))
    yield Condition("mean wear", mean, "1", "of tiles that were ever used, their worst cells")
    writes = sum(int(record.get("writes")) for record in records)
    yield Condition("rows written", float(writes), "", "by all owners")
    stuck = max((record.stuck_share for record in records), default=0.0)
    level = _level(stuck, MOST_STUCK / 2, MOST_STUCK + 1e-12)
    yield Condition("stuck cells", stuck, "1", "share of the worst tile", level)


def _budget(budget: Budget) -> Condition:
    share = budget.used / budget.rows
    note = f"{budget.used} of {budget.rows} rows that {budget.profile} may write"
    return Condition("write budget", share, "1", note, _level(share, _NEAR, 1.0))


def _inputs(residents: Collection[Resident], clipped: int) -> Iterator[Condition]:
    """The ranges that DACs have, where they are not each vector's own, and what they cut off."""
    ranges = {
        resident.edge.fixed_range: resident.edge.input_range
        for resident in residents
        if resident.edge.input_range is not InputRange.MAXIMUM
    }
    waiting = sum(
        resident.edge.input_range is InputRange.CALIBRATED and not resident.ranged
        for resident in residents
    )
    if ranges:
        note = ", ".join(sorted(set(ranges.values())))
        note += f"; {waiting} wait for their next launch" if waiting else ""
        yield Condition("input range", max(ranges), "", f"the largest of {len(ranges)}: {note}")
    driven = sum(resident.driven for resident in residents)
    level = "warning" if clipped > _CLIPPED * driven else "ok"
    yield Condition("inputs clipped", float(clipped), "", "beyond the DAC's range", level)


def _counts(residents: Collection[Resident]) -> Iterator[Condition]:
    total = sum((resident.counts for resident in residents), ReadCounts())
    clipped = sum(resident.clipped for resident in residents)
    missed = sum(int(p.record.get("missed")) for resident in residents for p in resident.placed)
    level = "warning" if clipped else "ok"
    yield Condition("weights clipped", float(clipped), "", "beyond the range set", level)
    yield Condition("cells missed", float(missed), "", "that did not verify when written")
    yield from _inputs(residents, total.clipped)
    level = "warning" if total.saturated else "ok"
    note = f"of {total.vectors} vectors read: the ADC's end"
    yield Condition("outputs saturated", float(total.saturated), "", note, level)
