"""Residue: what is left of one owner's weights for the next."""

from __future__ import annotations

import numpy as np
import pytest

from host_daemon.devices.nvm.analog.cells import STUCK_HIGH, STUCK_LOW
from host_daemon.devices.nvm.kind import NvmKind
from host_daemon.devices.nvm.store import TileRecord
from vaccel.errors import HostFault

from .conftest import matmul, normal


def field(made, name: str) -> np.ndarray:
    records = [TileRecord.of(made.cells, tile, made.own) for tile in range(4)]
    return np.concatenate([record.record[name][0].ravel() for record in records])


def test_a_million_cells_keep_nothing_of_old_weights(rig) -> None:
    made = rig(rows=512, columns=256, stuck=0.0)
    weights = normal(1024, 512)
    made.device().keep(matmul(weights), {1: weights})
    old = field(made, "target")
    assert old.size == 1 << 20
    done = NvmKind().erase(made.card, made.cells, b"e" * 32)
    assert done.cells >= old.size
    assert done.joules > 0
    for name in ("conductance", "kept"):
        assert abs(np.corrcoef(old, field(made, name))[0, 1]) < 0.01
    # Nor does it show which cells held something.
    assert abs(np.corrcoef(old > 0, field(made, "conductance"))[0, 1]) < 0.01
    assert not field(made, "scale").any()
    fresh = normal(1024, 512, seed=8)
    made.device(seed=b"n" * 32).keep(matmul(fresh), {1: fresh})
    assert abs(np.corrcoef(old, field(made, "conductance"))[0, 1]) < 0.01


def test_not_even_stuck_cells_say_what_they_were_meant_to_be(rig) -> None:
    made, weights = rig(stuck=0.02), normal(256, 256)
    made.device().keep(matmul(weights), {1: weights})
    NvmKind().erase(made.card, made.cells, bytes(32))
    assert not field(made, "target").any()


def test_wear_and_its_count_survive(rig) -> None:
    made, weights = rig(), normal(200, 100)
    made.device().keep(matmul(weights), {1: weights})
    done = NvmKind().erase(made.card, made.cells, bytes(32))
    assert done.owner_writes == 200
    record = TileRecord.of(made.cells, 0, made.own)
    assert record.get("owner_writes") == 0
    assert record.get("worst") == 2
    assert any(each.name == "worst wear" for each in NvmKind().survey(made.card, made.cells))


def test_what_a_hostile_worker_left_does_not_stop_it(rig) -> None:
    made, weights = rig(), normal(200, 100)
    made.device().keep(matmul(weights), {1: weights})
    record = TileRecord.of(made.cells, 0, made.own)
    for name in ("conductance", "target", "kept", "written_at", "factor"):
        record.record[name] = np.nan
    record.record["time"] = 255
    record.record["times"] = 1 << 31
    record.record["stuck"][0][0, 0, 0, :9] = 77
    NvmKind().erase(made.card, made.cells, bytes(32))
    assert np.isfinite(field(made, "conductance")).all()
    made.device().keep(matmul(weights), {1: weights})


def test_the_next_owner_meets_the_same_stuck_cells(rig) -> None:
    made, weights = rig(stuck=0.02), normal(512, 512)
    made.device(seed=b"a" * 32).keep(matmul(weights), {1: weights})
    before = field(made, "stuck")
    assert np.count_nonzero(before) == pytest.approx(0.02 * before.size, rel=0.1)
    NvmKind().erase(made.card, made.cells, b"e" * 32)
    made.device(seed=b"b" * 32).keep(matmul(-weights), {1: -weights})
    assert np.array_equal(before, field(made, "stuck"))


def test_a_moved_state_meets_the_stuck_cells_of_where_it_goes(rig) -> None:
    weights = normal(256, 256)
    here, there = rig(stuck=0.02), rig(stuck=0.02)
    source = here.device(seed=b"a" * 32)
    source.keep(matmul(weights), {1: weights})
    target = there.device(seed=b"b" * 32)
    target.restore(source.save())
    assert not np.array_equal(field(here, "stuck"), field(there, "stuck"))
    stuck, conductance = field(there, "stuck"), field(there, "conductance")
    preset = there.own.tile.preset
    assert (conductance[stuck == STUCK_HIGH] == preset.maximum).all()
    assert (conductance[stuck == STUCK_LOW] == preset.minimum).all()
    assert not field(there, "wear").any()
    assert "write" not in target.keep(matmul(weights), {1: weights}).joules


def test_cells_that_do_not_clear_are_named(rig, monkeypatch) -> None:
    made, weights = rig(), normal(64, 64)
    made.device().keep(matmul(weights), {1: weights})
    monkeypatch.setattr("host_daemon.devices.nvm.erase._ceiling", lambda own: -1.0)
    with pytest.raises(HostFault, match=r"tile 0: .* cells are above"):
        NvmKind().erase(made.card, made.cells, bytes(32))
