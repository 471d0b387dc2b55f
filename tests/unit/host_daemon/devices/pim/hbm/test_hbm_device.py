"""A VF of the card: placement, cost, energy, results, and what is refused."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from host_daemon.core.device import ARITHMETIC, Card, DeviceModel, Operation
from host_daemon.devices.pim.hbm import fp16, kernels
from host_daemon.devices.pim.hbm.schedule import schedule
from host_daemon.devices.pim.hbm.timing import Timing
from host_daemon.devices.pim.hbm.work import counted
from host_daemon.devices.registry import find_card, find_kind, find_profile, load_card, model
from vaccel.errors import InvalidArgument, Unsupported
from vaccel.model import Array, DType, Profile

F16, F32 = DType.FLOAT16, DType.FLOAT32


@pytest.fixture(scope="module")
def card() -> Card:
    return load_card(find_card("aquabolt-xl"))


@pytest.fixture(scope="module")
def device(card: Card) -> DeviceModel:
    return model(card, find_profile(card, "pim.16c.6g"))


def operation(op: str, *values: Array, constant: Sequence[int] = (), **more: Any) -> Operation:
    specs = tuple((F16 if each.dtype == np.float16 else F32, each.shape) for each in values)
    return Operation(op, specs, (specs[0],), more, frozenset(constant))


def product(outputs: int, inputs: int, rows: int = 1, *, constant: bool = True) -> Operation:
    shapes = ((F16, (rows, inputs)), (F16, (inputs, outputs)))
    kept = frozenset({1}) if constant else frozenset[int]()
    return Operation("MatMul", shapes, ((F16, (rows, outputs)),), {}, kept)


def halves(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float16)


def test_gemv_costs_what_the_simulator_says(device: DeviceModel) -> None:
    cost = device.cost(product(4096, 1024))
    assert cost.place == "banks"
    assert cost.cycles["banks"] == 13389  # PIMSimulator, 16 channels, refresh
    assert cost.macs == 4096 * 1024
    # Every weight is read once within the banks, and 16 lanes a result leave them.
    assert cost.bytes["banks"] >= 2 * 4096 * 1024
    assert cost.bytes["dram"] >= 4096 * 32
    host = cost.critical_cycles - cost.cycles["banks"]
    assert host >= max(cost.cycles["host"], cost.cycles["bus"])


def test_the_batch_runs_row_by_row_and_large_ones_at_the_host(device: DeviceModel) -> None:
    one, eight = device.cost(product(1024, 1024)), device.cost(product(1024, 1024, 8))
    assert 7 * one.cycles["banks"] < eight.cycles["banks"] < 8.1 * one.cycles["banks"]
    assert device.cost(product(1024, 1024, 9)).place == "host"


def test_weights_that_are_inputs_are_laid_out_first(device: DeviceModel) -> None:
    kept, given = device.cost(product(1024, 1024)), device.cost(product(1024, 1024, constant=False))
    assert "layout" not in kept.bytes
    assert given.bytes["layout"] == 2 * 2 * 1024 * 1024
    assert given.critical_cycles > kept.critical_cycles
    assert given.cycles["banks"] == kept.cycles["banks"]
    assert given.joules["bus"] > kept.joules["bus"]


def test_channels_share_the_work(card: Card) -> None:
    costs = [
        model(card, profile).cost(product(4096, 4096)).cycles["banks"] for profile in card.profiles
    ]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == 13166  # PIMSimulator, 64 channels


@pytest.mark.parametrize("size", [1, 63, 65, 127, 129, 1000])
def test_sizes_that_are_no_multiple_are_padded(device: DeviceModel, size: int) -> None:
    full = device.cost(product(-(-size // 1024) * 1024, -(-size // 256) * 256))
    cost = device.cost(product(size, size))
    assert cost.place == "banks"
    assert cost.cycles["banks"] <= full.cycles["banks"]
    left, right = halves(1, 1, size), halves(2, size, size)
    given = device.run(product(size, size), [left, right])
    assert given is not None
    assert np.array_equal(given[0][0], fp16.gemv(np.ascontiguousarray(right.T), left)[0])


@pytest.mark.parametrize(("tiles", "rounds"), [(32, 100), (3000, 1), (3, 1001)])
def test_long_kernels_go_on_as_they_began(tiles: int, rounds: int) -> None:
    exact = schedule(Timing()).spent(kernels.gemv(tiles, rounds))
    given = counted("gemv", tiles, rounds, Timing()).spent
    assert given.cycles == pytest.approx(exact.cycles, rel=5e-4)
    assert given.opened == pytest.approx(exact.opened, rel=5e-4)
    assert given.refreshes == pytest.approx(exact.refreshes, rel=2e-3)


def test_the_largest_shapes_are_priced_at_once(device: DeviceModel) -> None:
    huge = device.cost(product(1 << 20, 1 << 19))
    assert huge.macs == 1 << 39
    assert huge.cycles["banks"] > 1 << 26
    million = 1 << 20
    wide = (F16, (million, 1 << 19))
    assert device.cost(Operation("Add", (wide, wide), (wide,))).place == "banks"


def test_shapes_that_no_card_holds_are_refused(device: DeviceModel) -> None:
    for node, what in (
        (product(1 << 40, 1 << 30), r"input 1 has shape \[1073741824, 1099511627776\], 2361"),
        (product(1, (1 << 39) + 1), r"MatMul: input 0 has shape \[1, 549755813889\], 109951"),
        (
            Operation("Softmax", ((F32, (1 << 39,)),), ((F32, (1 << 39,)),)),
            r"Softmax: input 0 has shape \[549755813888\], 2199023255552 bytes",
        ),
        (
            Operation("Expand", ((F32, (1,)),), ((F32, (1 << 20, 1 << 20)),)),
            r"Expand: output 0 has shape \[1048576, 1048576\], 4398046511104 bytes",
        ),
    ):
        with pytest.raises(InvalidArgument, match=what) as caught:
            device.cost(node)
        assert "1099511627776 bytes" in (caught.value.hint or "")


def test_energy_is_commands_times_their_joules(device: DeviceModel, card: Card) -> None:
    cost = device.cost(product(4096, 1024))
    energy = card.parameters.own.energy
    tiles, rounds, channels = 8, 4, 16
    accesses = rounds * (tiles * 64 + 8) * 8 * channels
    assert cost.joules["column"] == pytest.approx(accesses * energy.column)
    assert cost.joules["pim"] == pytest.approx(accesses * 16 * energy.mac)
    # Two rows of weights a tile, one of registers, and those around them, eight banks each.
    assert 3 < cost.joules["activate"] / (rounds * tiles * 8 * channels * energy.activate) < 4.5
    assert cost.joules["refresh"] == pytest.approx(13389 // 1950 * channels * energy.refresh)
    assert cost.joules.keys() >= {"host", "bus"}


def test_element_wise_work_goes_where_it_is_sooner_done(device: DeviceModel) -> None:
    small, large = np.zeros(64, np.float16), np.zeros((64, 4096), np.float16)
    for op, count in (("Add", 2), ("Mul", 2), ("Relu", 1)):
        assert device.cost(operation(op, *[small] * count)).place == "host"
        assert device.cost(operation(op, *[large] * count)).place == "banks"
    million = np.zeros(1 << 20, np.float16)
    add = device.cost(operation("Add", million, million))
    assert add.cycles["banks"] == 11806  # PIMSimulator, 16 channels
    broadcast = operation("Add", large, np.zeros(4096, np.float16))
    assert device.cost(broadcast).place == "host"


@pytest.mark.parametrize("op", ["Add", "Mul", "Relu"])
def test_element_wise_results(device: DeviceModel, op: str) -> None:
    values = [halves(seed, 64, 4099) for seed in range(1 if op == "Relu" else 2)]
    given = device.run(operation(op, *values), values)
    assert given is not None
    expected = {"Add": np.add, "Mul": np.multiply, "Relu": lambda x: np.maximum(x, 0)}[op](*values)
    assert np.array_equal(given[0], expected)


def test_batch_normalisation(device: DeviceModel) -> None:
    x = halves(1, 2, 32, 128, 130)
    gamma, beta, mean = (halves(seed, 32) for seed in (2, 3, 4))
    variance = np.abs(halves(5, 32)) + np.float16(0.5)
    node = operation("BatchNormalization", x, gamma, beta, mean, variance, constant=(1, 2, 3, 4))
    assert device.cost(node).place == "banks"
    assert device.computes(node)
    given = device.run(node, [x, gamma, beta, mean, variance])
    assert given is not None
    wide = [v.astype(np.float32)[:, None, None] for v in (gamma, beta, mean, variance)]
    exact = (x - wide[2]) / np.sqrt(wide[3] + 1e-5) * wide[0] + wide[1]
    assert np.allclose(given[0].astype(np.float32), exact, atol=0.03, rtol=0.01)


def _lstm(direction: str) -> tuple[Operation, list[Array | None], list[np.ndarray]]:
    steps, batch, inputs, hidden = 3, 2, 20, 24
    both = 2 if direction == "bidirectional" else 1
    shapes = [(steps, batch, inputs), (both, 4 * hidden, inputs), (both, 4 * hidden, hidden)]
    shapes.append((both, 8 * hidden))
    values = [(halves(n, *shape) / 4).astype(np.float16) for n, shape in enumerate(shapes)]
    names = ["x", "w", "r", "b"]
    node = onnx.helper.make_node(
        "LSTM", names, ["y", "h", "c"], hidden_size=hidden, direction=direction
    )
    named = list(zip(names, values, strict=True))
    kinds = [onnx.helper.make_tensor_value_info(n, 1, v.shape) for n, v in named]
    outs = [onnx.helper.make_tensor_value_info(n, 1, None) for n in ("y", "h", "c")]
    graph = onnx.helper.make_graph([node], "g", kinds, outs)
    wide = {n: v.astype(np.float32) for n, v in named}
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)])
    proto.ir_version = 8
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    expected = session.run(None, wide)
    given = Operation(
        "LSTM",
        tuple((F16, value.shape) for value in values),
        (None, None, None),
        {"hidden_size": hidden, "direction": direction.encode()},
        frozenset({1, 2, 3}),
    )
    return given, list(values), expected


U, LEAST = 2.0**-11, 2.0**-25  # what rounding to fp16 adds: of a value, and of a subnormal one
FLOAT32 = 1e-6  # of sums and curves in float32, all together


def _rounded(value: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return value, error + U * (np.abs(value) + error) + LEAST


def _times(a: np.ndarray, da: np.ndarray, b: np.ndarray, db: np.ndarray):
    return _rounded(a * b, np.abs(a) * db + np.abs(b) * da + da * db)


def _exact(values: Sequence[Array | None], backward: bool, direction: int):
    """Y of one direction in float64, and a bound of its error, followed through every step.

    A gate is a sum of K products, of which a lane adds at most K / 16 one by one before 16 lanes
    are added: no product is rounded more than K / 16 + 17 times. Curves pass an error on by their
    slope, 1/4 and 1; what leaves them is rounded to fp16, as is each product and sum of the cell.
    """
    x, w, r, b = (np.asarray(each, np.float64) for each in values)
    w, r, hidden = w[direction], r[direction], r.shape[2]
    bias = b[direction, : 4 * hidden] + b[direction, 4 * hidden :]
    count = x.shape[2] + hidden
    depth = (-(-count // 16) + 17) * U
    h = dh = c = dc = np.zeros((x.shape[1], hidden))
    y, dy = np.zeros((len(x), x.shape[1], hidden)), np.zeros((len(x), x.shape[1], hidden))
    for t in reversed(range(len(x))) if backward else range(len(x)):
        sums = x[t] @ w.T + h @ r.T + bias
        sizes = np.abs(x[t]) @ np.abs(w).T + (np.abs(h) + dh) @ np.abs(r).T
        error = depth / (1 - depth) * sizes + dh @ np.abs(r).T + 2 * count * LEAST + FLOAT32
        p, dp = np.split(sums, 4, axis=1), np.split(error, 4, axis=1)
        i, o, f = (_rounded(1 / (1 + np.exp(-p[k])), dp[k] / 4 + FLOAT32) for k in range(3))
        g = _rounded(np.tanh(p[3]), dp[3] + FLOAT32)
        kept, new = _times(*f, c, dc), _times(*i, *g)
        c, dc = _rounded(kept[0] + new[0], kept[1] + new[1])
        h, dh = _times(*o, *_rounded(np.tanh(c), dc + FLOAT32))
        y[t], dy[t] = h, dh
    return y, dy


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_an_lstm_keeps_its_error_bound(device: DeviceModel, direction: str) -> None:
    node, values, _ = _lstm(direction)
    given = device.run(node, values)
    assert given is not None
    for number in range(given[0].shape[1]):
        exact, bound = _exact(values, direction == "reverse" or number == 1, number)
        error = np.abs(given[0][:, number].astype(np.float64) - exact)
        assert (error <= bound).all()
        assert bound.max() < 0.1  # a bound that says something
        assert error.max() > 0


def test_an_lstm_is_three_kernels_a_step(device: DeviceModel, card: Card) -> None:
    steps, batch, inputs, hidden = 5, 2, 500, 1024
    shapes = ((steps, batch, inputs), (1, 4 * hidden, inputs), (1, 4 * hidden, hidden))
    node = Operation(
        "LSTM", tuple((F16, shape) for shape in shapes), (None,) * 3, {}, frozenset({1, 2})
    )
    cost = device.cost(node)
    assert cost.place == "banks"
    kernel = "gemv of 12 tiles, 8 rounds; cell of 1 tiles; mul of 1 tiles, 5 times a channel"
    assert cost.note == kernel
    parts = [counted(*each, Timing()).spent for each in (("gemv", 12, 8), ("cell", 1, 1))]
    parts.append(counted("mul", 1, 1, Timing()).spent)
    assert cost.cycles["banks"] == 5 * sum(each.cycles for each in parts)
    launch = device.launch_cost([cost])
    assert launch.nodes == {"banks": 1}
    assert launch.cycles["host"] == cost.cycles["host"] > 0 < launch.cycles["bus"]
    # Each gate: 16 lanes read, a value written. Each state: c read, its curve written, h read.
    moved = 5 * 2 * 1024 * (4 * 34 + 6) + 2 * 5 * 2 * 500
    assert cost.cycles["bus"] == math.ceil(moved / (16 * 16 * 0.92))


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_an_lstm_is_near_that_in_float32(device: DeviceModel, direction: str) -> None:
    node, values, expected = _lstm(direction)
    assert device.cost(node).place == "banks"
    assert device.cost(node).macs == (2 if direction == "bidirectional" else 1) * 6 * 96 * 44
    given = device.run(node, values)
    assert given is not None
    for mine, theirs in zip(given, expected, strict=True):
        assert mine.shape == theirs.shape
        assert np.allclose(mine.astype(np.float32), theirs, atol=4e-3)


def test_lstms_with_more_than_the_plain_cell_are_the_hosts(device: DeviceModel) -> None:
    node, _, _ = _lstm("forward")
    clipped = Operation("LSTM", node.inputs, node.outputs, {"clip": 3.0}, node.constant_inputs)
    assert device.cost(clipped).place == "host"


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.5, 2.0)])
@pytest.mark.parametrize("transposed", [0, 1])
def test_gemm(device: DeviceModel, alpha: float, beta: float, transposed: int) -> None:
    a, b, c = halves(1, 3, 70), halves(2, 70, 50), halves(3, 50)
    right = np.ascontiguousarray(b.T) if transposed else b
    node = operation("Gemm", a, right, c, alpha=alpha, beta=beta, transB=transposed)
    given = device.run(node, [a, right, c])
    assert given is not None
    products = fp16.gemv(np.ascontiguousarray(b.T), a).astype(np.float32)
    expected = products * np.float32(alpha) + c.astype(np.float32) * np.float32(beta)
    assert np.array_equal(given[0], expected.astype(np.float16))


def test_float32_programs_may_ask_for_the_banks(device: DeviceModel) -> None:
    left, right = np.ones((1, 64), np.float32), np.full((64, 32), 0.1, np.float32)
    plain = operation("MatMul", left, right)
    asked = operation("MatMul", left, right, **{ARITHMETIC: "fp16"})
    assert device.cost(plain).place == "host"
    assert device.run(plain, [left, right]) is None
    assert not device.computes(plain)
    assert device.cost(asked).place == "banks"
    assert device.computes(asked)
    given = device.run(asked, [left, right])
    assert given is not None
    assert given[0].dtype == np.float32
    rounded = fp16.gemv(right.T.astype(np.float16), left.astype(np.float16))
    assert np.array_equal(given[0], rounded.astype(np.float32))
    with pytest.raises(Unsupported, match="aquabolt-xl does not compute in int8"):
        device.cost(operation("MatMul", left, right, **{ARITHMETIC: "int8"}))


def test_nodes_of_programs_are_the_banks_where_their_numbers_are(device: DeviceModel) -> None:
    assert device.computes(product(64, 64))
    assert not device.computes(product(64, 64, 9))
    unknown = Operation("MatMul", ((F16, (-1, 64)), (F16, (64, 64))), ((F16, (-1, 64)),))
    assert device.computes(unknown)
    assert device.run(product(64, 64, 9), [halves(1, 9, 64), halves(2, 64, 64)]) is None
    assert device.computes(Operation("MatMul", ((F16, ()), (F16, ())), (None,)))
    assert not device.computes(Operation("MatMul", ((F32, ()), (F32, ())), (None,)))
    assert not device.computes(Operation("Softmax", ((F16, (4, 4)),), (None,)))
    assert not device.computes(Operation("MatMul", ((F16, (4, 4)),) * 2, (None,), domain="mine"))
    large = np.zeros((64, 4096), np.float16)
    assert not device.computes(operation("Relu", large))  # the same in float32


def test_shapes_that_do_not_fit_are_refused(device: DeviceModel) -> None:
    wrong = Operation("MatMul", ((F16, (1, 3)), (F16, (4, 5))), ((F16, (1, 5)),))
    with pytest.raises(InvalidArgument, match=r"MatMul: shapes \[1, 3\] and \[4, 5\]"):
        device.cost(wrong)
    with pytest.raises(InvalidArgument, match="input 1 is missing"):
        device.run(product(8, 8), [halves(1, 1, 8), None])
    with pytest.raises(InvalidArgument, match=r"MatMul: shapes \[\[1, 8\], \[9, 8\]\] do not fit"):
        device.run(product(8, 8), [halves(1, 1, 8), halves(1, 9, 8)])


@pytest.mark.parametrize(
    ("table", "key", "value", "what"),
    [
        ("banks", "blocks", 4, r"banks\.blocks.*4"),
        ("timing", "precharge", "14 ns", r"timing\.precharge.*14 ns"),
        ("timing", "refresh_interval", "1399 cycles", r"timing\.refresh_interval.* = 1399 .*half"),
        ("energy", "mac", "1.5", r"energy\.mac.*1\.5"),
        ("banks", "rows", 0, r"banks\.rows.*0"),
    ],
)
def test_a_card_with_a_wrong_value_is_refused(
    table: str, key: str, value: object, what: str
) -> None:
    given = tomllib.loads(find_card("aquabolt-xl").read_text())
    given[table][key]["value"] = value
    with pytest.raises(InvalidArgument, match=what):
        find_kind("pim").card(given, "a.toml")


def test_an_unknown_family_and_too_many_channels_are_refused(card: Card) -> None:
    given = tomllib.loads(find_card("aquabolt-xl").read_text())
    with pytest.raises(InvalidArgument, match=r"family.*'cube'"):
        find_kind("pim").card(given | {"family": "cube"}, "a.toml")
    given["profile"][0]["cores"]["value"] = 65
    with pytest.raises(InvalidArgument, match=r"65 of profile pim\.4c\.1\.5g, but the card has 64"):
        find_kind("pim").card(given, "a.toml")
    with pytest.raises(InvalidArgument, match="not of card"):
        model(card, Profile("pim.65c.1g", "pim", 65, 1, 1, 1 << 20))


def test_public_figures_and_the_models(card: Card) -> None:
    found = {figure.name: figure for figure in card.figures}
    assert found["peak fp16"].published == 4.8e12
    assert found["peak fp16"].value == pytest.approx(4.096e12)
    assert found["power idle"].value < found["power peak"].value
    assert math.isclose(found["internal bandwidth"].value, 4.096e12)
    assert found["memory"].unverified
