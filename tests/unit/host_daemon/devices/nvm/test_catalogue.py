"""Cards say what is published of them, and the models come near it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from host_daemon.core.device import WIRES
from host_daemon.devices.nvm.analog.crossbar import CrossbarArray
from host_daemon.devices.nvm.kind import NvmKind
from host_daemon.devices.nvm.parameters import NvmParameters
from host_daemon.devices.registry import cards, find_card, load_card
from vaccel.errors import Unsupported

from .conftest import Rig, level, matmul, normal

NVM = [name for name in cards() if load_card(find_card(name)).kind == "nvm"]


def test_there_are_three() -> None:
    assert NVM == ["hermes", "kcloud-3", "mythic-m1076"]


@pytest.mark.parametrize("name", NVM)
def test_published_figures_come_out(name: str) -> None:
    for figure in load_card(find_card(name)).figures:
        if figure.published:
            assert figure.value == pytest.approx(figure.published, rel=0.05), figure.name


@pytest.mark.parametrize("name", NVM)
def test_endurance_is_the_cells(name: str) -> None:
    own = load_card(find_card(name)).parameters
    assert isinstance(own, NvmParameters)
    assert own.tile.endurance == own.tile.preset.endurance_writes
    # What every VF of a card may write leaves its cells alive.
    assert max(own.rewrites.values()) < own.tile.endurance


@pytest.mark.parametrize("name", NVM)
def test_wires_are_in_results_and_their_closed_form_holds(name: str) -> None:
    card = load_card(find_card(name))
    own = card.parameters
    assert isinstance(own, NvmParameters) and own.periphery.wire_ohms > 0
    figure = next(each for each in card.figures if each.name == "wire resistance")
    assert figure.value == own.periphery.wire_ohms and figure.source
    rows, columns = own.tile.rows, own.tile.columns
    weights = np.random.default_rng(1).standard_normal((rows, columns), dtype=np.float32)
    gains = []
    for edge in (own.periphery, replace(own.periphery, wire_ohms=0.0)):
        rng = np.random.default_rng(2)
        array, _ = CrossbarArray.program(weights, own.tile.preset, edge, own.tile.mapping, rng)
        seen = array.fresh()
        assert seen.wires_valid
        gains.append(float(np.abs(seen.weights).sum(dtype=np.float64)))
    assert 0.9 < gains[0] / gains[1] < 0.99


def test_out_of_range_is_said_where_the_operator_looks(rig: Callable[..., Rig]) -> None:
    made = rig()
    own = made.own
    edge = replace(own.periphery, wire_ohms=10.0)
    made = Rig(replace(made.card, parameters=replace(own, periphery=edge)), made.cells)
    device = made.device()
    device.keep(matmul(normal(256, 256)), {1: normal(256, 256)})
    assert level(device, "wire load") == "warning"
    (said,) = [each for each in device.condition() if each.name == "wire load"]
    assert "out of its range past 2.1: ask for vaccel.wires = exact" in said.note


def test_large_tiles_are_not_solved_exactly() -> None:
    card = load_card(find_card("mythic-m1076"))
    device = NvmKind().model(card, card.profiles[0])
    small = normal(8, 8)
    with pytest.raises(Unsupported, match=r"vaccel\.wires = exact on tiles of 1024 x 1024"):
        device.keep(matmul(small, **{WIRES: "exact"}), {1: small})


def test_what_is_written_is_calibrated_and_metered(rig: Callable[..., Rig]) -> None:
    device, weights = rig().device(), normal(256, 256)
    cost = device.keep(matmul(weights), {1: weights})
    assert cost is not None
    assert cost.joules["write"] > 0 and cost.joules["adc"] > 0 and cost.joules["digital"] > 0
    x = normal(64, 256, seed=2)
    (given,) = device.run(matmul(weights), [x, None])
    exact = x @ weights
    assert np.sum(given * exact) / np.sum(exact**2) == pytest.approx(1, abs=0.01)
