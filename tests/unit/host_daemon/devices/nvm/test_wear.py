"""Wear: counted, levelled, bounded by a budget, and said before it hurts."""

from __future__ import annotations

import numpy as np
import pytest

from host_daemon.devices.fields import open_card
from host_daemon.devices.nvm.kind import NvmKind
from host_daemon.devices.nvm.store import TileRecord
from host_daemon.devices.registry import find_card
from vaccel.errors import Exhausted, InvalidArgument

from .conftest import level, matmul, normal, value


def wear(rig) -> list[int]:
    return [int(TileRecord.of(rig.cells, t, rig.own).get("worst")) for t in range(4)]


def test_unchanged_weights_are_not_written_again(rig) -> None:
    made, weights = rig(), normal(200, 100)
    first = made.device()
    assert first.keep(matmul(weights), {1: weights}).joules["write"] > 0
    second = made.device()
    assert "write" not in second.keep(matmul(weights), {1: weights}).joules
    assert sum(wear(made)) == 1


def test_only_rows_that_changed_are_written(rig) -> None:
    made, weights = rig(), normal(200, 100)
    weights[7] *= 0.1  # no column's largest weight is there, and so no scale changes
    device = made.device()
    device.keep(matmul(weights), {1: weights})
    device.drop("m/product")
    changed = weights.copy()
    changed[7] *= 0.5
    device.keep(matmul(changed, "n/product"), {1: changed})
    assert value(device, "rows written") == 201


def test_only_cells_that_changed_are_worn(rig) -> None:
    """Each by what it has seen: not by what its row has."""
    made, weights = rig(stuck=0.0), normal(200, 100)
    device = made.device()
    for turn in range(5):
        changed = weights.copy()
        changed[3, turn] = 0.25  # another cell of one row each time; the first keeps the scale
        changed[0] = 4.0
        device.keep(matmul(changed, f"{turn}/a"), {1: changed})
        device.drop(f"{turn}/a")
    record = TileRecord.of(made.cells, 0, made.own)
    seen = record.record["wear"][0, :, 0]
    assert seen.dtype == np.uint32 and seen.shape == (2, 256, 256)
    # Written once; one changes and goes back; either cell of a pair only where it moves.
    row = seen[:, 3, :6].max(axis=0)
    assert row.tolist() == [2, 3, 3, 3, 2, 1]
    others = seen[:, np.arange(256) != 3]
    assert (others[:, :199, :100].max(axis=0) == 1).all()  # of a pair one stays as it was
    assert not seen[:, 200:].any() and not seen[:, :, 100:].any()
    assert record.get("worst") == 3
    assert value(device, "worst wear") == 3 / made.own.tile.endurance
    assert value(device, "rows written") == 200 + 4  # of which budgets are
    assert record.get("owner_writes") == 204


def test_counts_of_cells_are_32_bits(rig) -> None:
    import tomllib

    table = tomllib.loads(find_card("kcloud-3").read_text())
    table["tile"]["endurance"]["value"] = 1 << 32
    with pytest.raises(InvalidArgument, match=r"endurance.*not an integer from 1 to 4294967295"):
        NvmKind().card(table, "a.toml")


def test_wear_is_levelled_over_tiles(rig) -> None:
    made = rig(endurance=1000)
    device = made.device()
    for turn in range(40):
        weights = normal(64, 64, seed=turn)
        device.keep(matmul(weights, f"{turn}/node{turn}"), {1: weights})
        device.drop(f"{turn}/node{turn}")
    assert wear(made) == [10, 10, 10, 10]


def test_a_budget_ends_with_its_name_and_use(rig) -> None:
    made = rig(rewrites=1, rows=64, columns=64)
    device = made.device()
    for turn in range(4):
        weights = normal(64, 64, seed=turn)
        device.keep(matmul(weights, f"{turn}/a"), {1: weights})
        device.drop(f"{turn}/a")
    assert level(device, "write budget") == "fault"
    weights = normal(64, 64, seed=9)
    with pytest.raises(Exhausted, match=r"budget of nvm\.16t\.512m is 256 rows: 256 are used"):
        device.keep(matmul(weights), {1: weights})


def test_a_budget_of_zero_is_refused_by_name() -> None:
    import tomllib

    table = tomllib.loads(find_card("kcloud-3").read_text())
    table["budget"]["nvm.64t.2g"]["value"] = 0
    with pytest.raises(InvalidArgument, match=r"budget\.nvm\.64t\.2g.* = 0 "):
        NvmKind().card(table, "a.toml")
    open_card(table, "a.toml")


def test_worn_tiles_warn_first_and_then_take_no_more(rig) -> None:
    made = rig(endurance=10, rewrites=1000, rows=64, columns=64)
    device = made.device()
    levels, kept = [], 0
    with pytest.raises(Exhausted, match="4 are worn out"):
        for turn in range(100):
            weights = normal(64, 64, seed=turn)
            device.keep(matmul(weights, f"{turn}/a"), {1: weights})
            result = device.run(matmul(weights, f"{turn}/a"), [weights.T.copy(), None])
            exact = weights.T @ weights
            # Whatever was accepted is as good as ever.
            assert np.sqrt(np.mean((result[0] - exact) ** 2) / np.mean(exact**2)) < 0.3
            kept += 1
            levels.append(level(device, "health"))
            device.drop(f"{turn}/a")
    assert kept == 40
    assert levels[0] == "ok"
    assert "warning" in levels
    assert level(device, "tiles in use") == "fault"


def test_stuck_tiles_are_not_used(rig) -> None:
    device, weights = rig(stuck=0.5).device(), normal(64, 64)
    with pytest.raises(Exhausted, match="4 are stuck"):
        device.keep(matmul(weights), {1: weights})
    assert level(device, "health") == "fault"
    assert level(device, "stuck cells") == "fault"


def test_some_stuck_cells_are_counted(rig) -> None:
    device, weights = rig(stuck=0.01).device(), normal(256, 256)
    device.keep(matmul(weights), {1: weights})
    assert value(device, "stuck cells") == pytest.approx(0.01, rel=0.2)
    assert value(device, "cells missed") > 500
