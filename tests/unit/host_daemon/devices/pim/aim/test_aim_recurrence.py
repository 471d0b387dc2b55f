"""LSTM cells whose gates and activation functions are in the banks."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from host_daemon.core.device import ARITHMETIC, Operation
from host_daemon.devices.pim.aim.banks import AimBanks
from host_daemon.devices.pim.aim.family import Aim
from host_daemon.devices.pim.aim.gemv import Gemv, instructions, spend
from host_daemon.devices.pim.aim.oracles import SIMULATED
from host_daemon.devices.pim.aim.program import execute
from host_daemon.devices.registry import find_card, find_profile, load_card, model
from vaccel.errors import InvalidArgument
from vaccel.model import DType

F32 = DType.FLOAT32
CARD = load_card(find_card("aim"))
RANDOM = np.random.default_rng(11)


def device() -> AimBanks:
    """Banks beside a host so slow that small cells are worth it, too."""
    banks = Aim().banks(CARD, find_profile(CARD, "pim.32c.16g"))
    banks._host.operations_per_cycle = 64
    return banks


def numbers(*shape: int) -> Any:
    return (RANDOM.standard_normal(shape) * 0.4).astype(np.float32)


def lstm(arrays: list[Any], constant: bool = True, **attributes: Any) -> Operation:
    steps, batch, _ = arrays[0].shape
    directions, _, hidden = arrays[2].shape
    inputs = tuple(None if each is None else (F32, each.shape) for each in arrays)
    outputs = (
        (F32, (steps, directions, batch, hidden)),
        (F32, (directions, batch, hidden)),
        (F32, (directions, batch, hidden)),
    )
    given = {ARITHMETIC: "bf16", "hidden_size": hidden, **attributes}
    weights = frozenset({1, 2, 3} if constant else ())
    return Operation("LSTM", inputs, outputs, given, weights)


def arrays(
    steps: int = 3, batch: int = 2, size: int = 300, hidden: int = 200, directions: int = 1
) -> list[Any]:
    return [
        numbers(steps, batch, size),
        numbers(directions, 4 * hidden, size) * 0.2,
        numbers(directions, 4 * hidden, hidden) * 0.2,
        numbers(directions, 8 * hidden),
    ]


def reference(given: list[Any], direction: int, backward: bool) -> Any:
    """In float64, without any rounding: Y of a direction."""
    x, w, r, b = (each.astype(float) for each in given[:4])
    hidden = r.shape[2]
    y = np.zeros((len(x), x.shape[1], hidden))
    h, c = (
        given[index][direction].astype(float)
        if len(given) > index
        else np.zeros((x.shape[1], hidden))
        for index in (5, 6)
    )
    for step in range(len(x))[:: -1 if backward else 1]:
        z = x[step] @ w[direction].T + h @ r[direction].T + b[direction].reshape(2, -1).sum(0)
        i, o, f = (1 / (1 + np.exp(-z[:, n * hidden : (n + 1) * hidden])) for n in range(3))
        c = f * c + i * np.tanh(z[:, 3 * hidden :])
        h = o * np.tanh(c)
        y[step] = h
    return y


@pytest.mark.parametrize(
    ("direction", "directions"), [("forward", 1), ("reverse", 1), ("bidirectional", 2)]
)
def test_results_are_those_of_an_lstm(direction: str, directions: int) -> None:
    given = arrays(directions=directions)
    asked = lstm(given, direction=direction)
    assert device().cost(asked) is not None
    result = device().run(asked, given)
    assert result is not None
    y, last_h, last_c = result
    for index in range(directions):
        backward = direction == "reverse" or index == 1
        assert np.allclose(y[:, index], reference(given, index, backward), atol=0.02)
        assert np.array_equal(last_h[index], y[0 if backward else -1, index])
    assert last_c.shape == last_h.shape


def test_states_that_are_given_are_taken() -> None:
    given = arrays()
    states = [numbers(1, 2, 200), numbers(1, 2, 200)]
    result = device().run(lstm([*given, None, *states]), [*given, None, *states])
    assert result is not None
    expected = reference([*given, None, *states], 0, False)
    assert np.allclose(result[0][:, 0], expected, atol=0.02)


def test_a_step_is_two_products_with_their_functions() -> None:
    cost = device().cost(lstm(arrays(steps=1, batch=1)))
    assert cost is not None
    sigmoid = spend(Gemv(600, 500, 32, keep=True, function=0), SIMULATED)
    tanh = spend(Gemv(200, 500, 32, keep=True, function=1), SIMULATED)
    assert cost.cycles["banks"] == sigmoid.cycles + tanh.cycles
    assert cost.macs == 800 * 500
    assert cost.joules["bank AF16"] > 0
    longer = device().cost(lstm(arrays(steps=7, batch=1)))
    assert longer is not None
    assert longer.cycles["banks"] == 7 * cost.cycles["banks"]


def test_products_with_a_function_are_their_programs() -> None:
    for gemv in (Gemv(600, 500, 4, function=1), Gemv(600, 3000, 4, keep=True, function=2)):
        whole, closed = execute(instructions(gemv), SIMULATED, 4), spend(gemv, SIMULATED)
        assert whole.cycles == closed.cycles
        assert Counter(each.command for each in whole.commands(3)) == closed.commands


def test_other_cells_are_the_hosts() -> None:
    given = arrays()
    for attributes in (
        {"activations": ["Relu", "Tanh", "Tanh"]},
        {"clip": 3.0},
        {"input_forget": 1},
    ):
        assert device().cost(lstm(given, **attributes)) is None
        assert device().run(lstm(given, **attributes), given) is None
    assert device().cost(lstm(arrays(steps=1, batch=9))) is None
    peepholes = [*given, None, None, None, numbers(1, 600)]
    assert device().cost(lstm(peepholes)) is None
    standard = lstm(given, activations=["Sigmoid", "Tanh", "Tanh"])
    assert device().cost(standard) is not None
    fresh = device().cost(lstm(arrays(steps=1, batch=1), constant=False))
    # Weights that are not the program's are laid out first: there and back over the bus.
    assert fresh is not None
    assert fresh.bytes["dram"] > 2 * 2 * 800 * 500


def test_shapes_that_do_not_fit_are_refused() -> None:
    given = arrays()
    given[1] = given[1][:, :, :-1]
    with pytest.raises(InvalidArgument, match=r"LSTM: weight \[1, 800, 299\]"):
        device().cost(lstm(given))


def test_large_cells_are_worth_it_beside_a_server_too() -> None:
    whole = model(CARD, find_profile(CARD, "pim.32c.16g"))
    shapes = ((F32, (20, 1, 1024)), (F32, (1, 4096, 1024)), (F32, (1, 4096, 1024)))
    asked = Operation(
        "LSTM", shapes, ((F32, (20, 1, 1, 1024)),), {ARITHMETIC: "bf16"}, frozenset({1, 2})
    )
    cost = whole.cost(asked)
    assert cost.place == "banks"
    assert cost.cycles["host"] < cost.cycles["banks"]
