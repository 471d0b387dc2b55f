from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest

from host_daemon.devices.nvm.analog.cells import (
    STUCK_HIGH,
    STUCK_LOW,
    Cells,
    ages,
    blank,
    drifted,
    program,
    read_noise,
)
from host_daemon.devices.nvm.analog.presets import FLASH, PCM, PRESETS, RRAM, SONOS, preset
from host_daemon.devices.validate import DEFAULT
from vaccel.errors import InvalidArgument, NotFound

DAY = 86_400.0
AGES = {"t0": 0.0, "1h": 3600.0, "1day": DAY, "1month": 30 * DAY, "1year": 365 * DAY}


def _programmed(target: float, count: int = 100_000, kind=PCM) -> Cells:
    rng = np.random.default_rng(5)
    return program(np.full(count, target, np.float32), kind, rng, 0.0)[0]


def test_pcm_conductances_are_those_of_aihwkit() -> None:
    """200 000 cells there, 100 000 here: 5 standard errors of what is compared."""
    with open(DEFAULT / "analog" / "aihwkit_pcm_conductance.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 13
    for row in rows:
        rng = np.random.default_rng(6)
        cells = _programmed(float(row["g_target_uS"]))
        seen = {"g_prog": cells.conductance, "nu": cells.kept}
        for name, age in AGES.items():
            present = drifted(cells, PCM, age)
            seen[name] = read_noise(present, cells.conductance, PCM, age, rng)
        for name, values in seen.items():
            mean, std = (f"{name}_{part}" for part in ("mean", "std"))
            if name in AGES:
                mean, std = f"g_mean_{name}", f"g_std_{name}"
            error = float(row[std]) / values.size**0.5
            where = (row["g_target_uS"], name)
            assert abs(values.mean() - float(row[mean])) < 6 * error, where
            assert abs(values.std() - float(row[std])) < 0.025 * float(row[std]), where


def test_sonos_after_a_day_is_what_was_measured() -> None:
    """Agrawal et al.: 800 nA lose 3.8 nA in a day, spread by 25.2 nA."""
    cells = _programmed(8.0, kind=SONOS)
    now = drifted(cells, SONOS, DAY) * 100
    assert now.mean() == pytest.approx(800 - 3.83, abs=0.3)
    assert now.std() == pytest.approx(25.59 * (1 - np.exp(-796.2 / 186.86)), rel=0.01)
    half = drifted(cells, SONOS, DAY / 2) * 100
    assert half.mean() == pytest.approx(800 - 1.91, abs=0.3)


def test_sonos_after_five_days_goes_on_slower() -> None:
    cells = _programmed(8.0, 1000, SONOS)
    means = [drifted(cells, SONOS, days * DAY).mean() for days in (4.999, 5.001, 30, 365)]
    assert means[0] == pytest.approx(means[1], abs=1e-3)
    assert means[1] > means[2] > means[3] > 7.0


def test_cells_of_one_block_may_have_different_ages() -> None:
    for kind in (PCM, SONOS):
        cells = _programmed(8.0, 4, kind)
        old = replace(cells, written=np.array([0.0, 0.0, 900.0, 900.0]))
        now = drifted(old, kind, ages(old, 1000.0))
        assert now[:2] == pytest.approx(drifted(cells, kind, 1000.0)[:2])
        assert now[2:] == pytest.approx(drifted(cells, kind, 100.0)[2:])


def test_a_clock_that_goes_backwards_is_refused() -> None:
    cells = replace(_programmed(8.0, 4), written=np.asarray(100.0))
    with pytest.raises(InvalidArgument, match=r"clock = 99\.0 s is 1\.0 s before"):
        ages(cells, 99.0)
    with pytest.raises(InvalidArgument, match="clock = nan s"):
        ages(cells, float("nan"))


def test_stuck_cells_stay_and_are_counted() -> None:
    stuck = np.zeros((4, 8), np.int8)
    stuck[0, 0], stuck[1, 1] = STUCK_LOW, STUCK_HIGH
    before = blank(stuck.shape, PCM, stuck)
    target = np.full(stuck.shape, 12.0, np.float32)
    cells, report = program(target, PCM, np.random.default_rng(1), 0.0, before)
    assert (cells.conductance[0, 0], cells.conductance[1, 1]) == (0, PCM.maximum)
    assert (report.missed, report.cells) == (2, 32)
    assert report.pulses[0, 0] == PCM.write.most_pulses
    later = drifted(cells, PCM, 365 * DAY)
    assert (later[0, 0], later[1, 1]) == (0, PCM.maximum)


def test_what_is_not_written_is_missed_where_it_is_stuck_elsewhere() -> None:
    """The other cell of a pair, which is at its lowest already, and a weight that stays."""
    stuck = np.int8([[STUCK_LOW, STUCK_HIGH, STUCK_LOW, 0]])
    target = np.float32([[0, 0, 9, 9]])
    before = blank(stuck.shape, PCM, stuck)
    cells, report = program(
        target, PCM, np.random.default_rng(1), 0.0, before, target != before.target
    )
    assert (report.cells, report.missed) == (2, 2)
    _, again = program(target, PCM, np.random.default_rng(1), 1.0, cells, np.zeros((1, 4), bool))
    assert (again.cells, again.missed) == (0, 2)


def test_only_what_changed_is_written() -> None:
    rng = np.random.default_rng(2)
    first, _ = program(np.full((16, 16), 5.0, np.float32), PCM, rng, 0.0)
    target = first.target.copy()
    target[3] = 20.0
    second, report = program(target, PCM, rng, 50.0, first, target != first.target)
    assert report.cells == 16
    assert report.pulses[3].all() and not np.delete(report.pulses, 3, axis=0).any()
    same = np.delete(second.conductance, 3, 0) == np.delete(first.conductance, 3, 0)
    assert same.all()
    assert second.written[3, 0] == 50 and second.written[0, 0] == 0


@pytest.mark.parametrize("kind", [PCM, RRAM, SONOS, FLASH], ids=lambda kind: kind.name)
def test_programming_costs_what_its_pulses_cost(kind) -> None:
    target = np.linspace(kind.minimum, kind.maximum, 64 * 64, dtype=np.float32).reshape(64, 64)
    cells, report = program(target, kind, np.random.default_rng(3), 0.0)
    assert report.missed == 0
    assert 1 < report.pulses.mean() < 15
    # Nothing runs out of pulses, or its error would be larger than the law says.
    assert report.pulses.max() < kind.write.most_pulses
    each = kind.write.pulse_joules + kind.write.read_joules
    assert report.joules == pytest.approx(int(report.pulses.sum()) * each)
    slowest = int(report.pulses.max(axis=1).sum())
    assert report.seconds == pytest.approx(
        slowest * (kind.write.pulse_seconds + kind.write.read_seconds)
    )
    assert np.isfinite(cells.conductance).all() and (cells.conductance >= 0).all()
    fields = {"minimum", "maximum", "programming", "drift", "fluctuation", "write"}
    assert set(kind.sources) == fields | {"endurance_writes"}


def test_equal_seeds_give_equal_cells() -> None:
    one, other = (_programmed(3.0, 100) for _ in range(2))
    assert (one.conductance == other.conductance).all() and (one.kept == other.kept).all()


def test_shapes_that_do_not_fit_are_refused() -> None:
    target = np.zeros(4, np.float32)
    with pytest.raises(InvalidArgument, match="target has shape"):
        program(target, PCM, np.random.default_rng(0), 0.0, blank((5,), PCM))
    with pytest.raises(InvalidArgument, match="stuck has shape"):
        blank((5,), PCM, np.zeros(4, np.int8))


def test_presets_have_names() -> None:
    assert all(preset(name) is kind for name, kind in PRESETS.items())
    with pytest.raises(NotFound, match="'mram'"):
        preset("mram")
