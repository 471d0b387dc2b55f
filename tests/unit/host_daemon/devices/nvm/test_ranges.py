"""What the full scale of the DACs stands for: each vector's largest, a limit, one from data."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from host_daemon.core.device import INPUT_LIMIT, INPUT_RANGE, MAX_ERROR, Card
from host_daemon.devices.nvm.analog.converters import InputRange
from host_daemon.devices.nvm.kind import NvmKind
from host_daemon.devices.registry import find_card
from vaccel.errors import InvalidArgument

from .conftest import Rig, error, level, matmul, normal, value

Make = Callable[..., Rig]
W = normal(300, 200, seed=4)
X = normal(64, 300, seed=3)


def run(device, x, **attributes):
    operation = matmul(W, **attributes)
    device.keep(operation, {1: W})
    return device.run(operation, [x, None])[0]


def ranged(made: Rig, mode: InputRange, limit: float = 1.0) -> Rig:
    """The same card with another range of its own."""
    own = made.own
    edge = replace(own.periphery, input_range=mode, fixed_range=limit)
    return Rig(replace(made.card, parameters=replace(own, periphery=edge)), made.cells)


def test_a_vector_of_its_own_range_is_never_clipped(rig: Make) -> None:
    device = rig().device()
    run(device, X)
    assert value(device, "inputs clipped") == 0
    assert all(each.name != "input range" for each in device.condition())


@pytest.mark.parametrize("by_card", [True, False])
def test_a_fixed_range_clips_and_counts(rig: Make, by_card: bool) -> None:
    made, said = rig(), {INPUT_LIMIT: "2.0"}
    if by_card:
        made, said = ranged(made, InputRange.FIXED, 2.0), {}
    device = made.device()
    given = run(device, X, **said)
    beyond = int(np.count_nonzero(np.abs(X) > 2))
    assert value(device, "inputs clipped") == beyond  # 200 columns are one block: one DAC a row
    assert level(device, "inputs clipped") == "warning"
    assert value(device, "input range") == 2
    assert error(given, np.clip(X, -2, 2) @ W) < 0.2
    # It is the card's business how large inputs are: half of them are half of its levels.
    tiny = run(device, X / 500, **said)
    assert error(tiny, X @ W / 500) > 2 * error(given, X @ W)


def test_a_calibrated_range_is_that_of_the_first_launch(rig: Make) -> None:
    device, said = rig().device(), {INPUT_RANGE: "calibrated"}
    operation = matmul(W, **said)
    device.keep(operation, {1: W})
    (waiting,) = [each for each in device.condition() if each.name == "input range"]
    assert "1 wait for their next launch" in waiting.note
    device.run(operation, [np.zeros_like(X), None])
    assert "wait" in next(e for e in device.condition() if e.name == "input range").note
    (first,) = device.run(operation, [X * 7, None])
    assert error(first, X @ W * 7) < 0.2
    kept = value(device, "input range")
    assert kept == pytest.approx(np.percentile(np.abs(X * 7), 99.995))
    assert level(device, "inputs clipped") == "ok"
    # What comes later is clipped where it is larger, until the operator has it calibrated again.
    device.run(operation, [X * 70, None])
    assert value(device, "input range") == kept
    assert level(device, "inputs clipped") == "warning"
    clipped = value(device, "inputs clipped")
    device.recalibrate()
    (again,) = device.run(operation, [X * 70, None])
    assert error(again, X @ W * 70) < 0.2
    assert value(device, "input range") == pytest.approx(10 * kept, rel=0.01)
    assert value(device, "inputs clipped") <= clipped + 2


def test_a_calibrated_range_repeats_with_its_launches(rig: Make) -> None:
    """A worker that is killed takes it along; the first launch of the next finds it again."""
    made, said = ranged(rig(), InputRange.CALIBRATED), {}
    one = [run(made.device(), X * scale, **said) for scale in (3.0, 3.0)]
    assert np.array_equal(*one)


def test_a_demanded_error_is_measured_where_the_range_is_filled(rig: Make) -> None:
    for limit in ("0.001", "1.0", "1e20"):
        device = rig().device()
        run(device, X, **{INPUT_LIMIT: limit, MAX_ERROR: "0.15"})
        assert value(device, "expected error") < 0.15


def test_what_is_not_finite_sets_no_range(rig: Make) -> None:
    device, said = rig().device(), {INPUT_RANGE: "calibrated"}
    operation = matmul(W, **said)
    device.keep(operation, {1: W})
    with pytest.raises(InvalidArgument, match="vector 0 of the inputs is not finite"):
        device.run(operation, [np.full_like(X, np.inf), None])
    (given,) = device.run(operation, [X, None])
    assert error(given, X @ W) < 0.2


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({INPUT_RANGE: "wide"}, r"input_range = 'wide' .*maximum or fixed or calibrated"),
        ({INPUT_RANGE: "fixed"}, "no limit of its own .*state vaccel.input_limit"),
        ({INPUT_RANGE: "maximum", INPUT_LIMIT: "2"}, "only a fixed range has a limit"),
        *(({INPUT_LIMIT: text}, f"input_limit = '{text}'") for text in ("0", "-1", "nan", "x")),
        *(({INPUT_LIMIT: text}, f"input_limit = '{text}'") for text in ("inf", "1e-40", "1e31")),
    ],
)
def test_a_range_that_is_none_is_refused_by_name(rig: Make, said, message: str) -> None:
    device = rig().device()
    with pytest.raises(InvalidArgument, match=message):
        run(device, X, **said)
    assert value(device, "tiles in use") == 0


def card(**converter: object) -> Card:
    table = tomllib.loads(find_card("kcloud-3").read_text())
    table["converter"] |= converter
    return NvmKind().card(table, "a.toml")


def test_a_card_states_its_range() -> None:
    limit = {"value": 2.5, "source": "design"}
    made = card(input_range="fixed", input_limit=limit).parameters.periphery
    assert (made.input_range, made.fixed_range) == (InputRange.FIXED, 2.5)
    assert card(input_range="calibrated").parameters.periphery.input_range == "calibrated"
    table = tomllib.loads(find_card("kcloud-3").read_text())
    del table["converter"]["input_range"]
    assert NvmKind().card(table, "a.toml").parameters.periphery.input_range == "maximum"


@pytest.mark.parametrize(
    ("converter", "message"),
    [
        ({"input_range": "wide"}, r"converter\.input_range in a.toml = 'wide' is unknown"),
        ({"input_range": "fixed"}, r"converter\.input_limit in a.toml is missing"),
        (
            {"input_range": "fixed", "input_limit": {"value": -1, "source": "design"}},
            r"input_limit in a.toml = -1 is not a positive number",
        ),
        (
            {"input_range": "maximum", "input_limit": {"value": 1, "source": "design"}},
            r"input_limit in a.toml is an unknown key",
        ),
    ],
)
def test_a_card_of_no_range_is_refused_by_name(converter, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        card(**converter)
