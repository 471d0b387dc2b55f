"""Products of a whole model in int8: exact sums, a scale for each channel, and costed so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from host_daemon.compiler.arithmetic import integers
from host_daemon.compiler.arithmetic.integers import quantise
from tests.unit.host_daemon.compiler.arithmetic.networks import (
    NODE,
    compiled,
    network,
    numbers,
    run,
    target,
)


def activation(x: np.ndarray) -> tuple[np.ndarray, np.float32]:
    """Numbers less their zero point, and their scale, as ONNX defines DynamicQuantizeLinear."""
    low, high = min(np.float32(0), x.min()), max(np.float32(0), x.max())
    scale = np.float32((high - low) / np.float32(255))
    zero = np.clip(np.rint(-low / scale), 0, 255)
    return np.clip(np.rint(x / scale) + zero, 0, 255) - zero, scale


def test_products_of_a_matrix(tmp_path: Path) -> None:
    x, w, bias = numbers(0, 7, 96), numbers(1, 24, 96), numbers(2, 24)
    short, scale = quantise(w.T, 1)
    whole, x_scale = activation(x)
    sums = (whole @ short.astype(np.float64)).astype(np.float32)
    node = NODE(
        "Gemm", ["x", "w", "bias"], ["y"], name="product", transB=1, alpha=0.5, beta=2.0
    )
    made = network([node], {"x": ["n", 96]}, {"w": w, "bias": bias})
    given = run(compiled(made, target(tmp_path), "int8"), x=x)
    np.testing.assert_allclose(given, sums * x_scale * scale * 0.5 + 2 * bias, rtol=1e-5)
    plain = run(compiled(made, target(tmp_path)), x=x)
    assert 0 < np.abs(given - plain).max() < 0.02 * np.abs(plain).max()


@pytest.mark.parametrize("group", [1, 4, 16])
def test_both_ways_of_a_convolution_are_equal_to_the_bit(
    tmp_path: Path, group: int, monkeypatch
) -> None:
    x, w, bias = numbers(0, 2, 16, 9, 9), numbers(1, 32, 16 // group, 3, 3), numbers(2, 32)
    node = NODE("Conv", ["x", "w", "bias"], ["y"], name="c", group=group, strides=[2, 2])
    made = network([node], {"x": [2, 16, 9, 9]}, {"w": w, "bias": bias})
    given = run(compiled(made, target(tmp_path), "int8"), x=x)
    monkeypatch.setattr(integers, "is_exact_in_float", lambda _: False)
    other = compiled(made, target(tmp_path), "int8")
    assert any(node.op_type == "ConvInteger" for node in other.graph.node)
    np.testing.assert_array_equal(given, run(other, x=x))
    # By hand, one pixel: the first, which no padding reaches.
    short, scale = quantise(w, 0)
    whole, x_scale = activation(x)
    taps = whole[0, : 16 // group, :3, :3] * short[0]
    assert given[0, 0, 0, 0] == pytest.approx(taps.sum() * x_scale * scale[0] + bias[0], rel=1e-5)


def test_where_float32_is_exact_is_decided_by_the_weights() -> None:
    ones = np.full((2, 518, 1, 1), 127, np.int8)
    assert integers.is_exact_in_float(ones)
    assert not integers.is_exact_in_float(np.full((2, 519, 1, 1), 127, np.int8))
    assert integers.is_exact_in_float(np.full((2, 4000, 1, 1), 16, np.int8))


def test_the_cost_is_that_of_int8_and_of_finding_the_range(tmp_path: Path) -> None:
    nodes = [
        NODE("Conv", ["x", "w"], ["a"], name="conv", pads=[1, 1, 1, 1]),
        NODE("Relu", ["a"], ["y"], name="relu"),
    ]
    made = network(nodes, {"x": [1, 64, 32, 32]}, {"w": numbers(1, 64, 64, 3, 3)})
    own = target(tmp_path)
    plain = compiled(made, own).estimate({"x": (1, 64, 32, 32)}, {})
    cost = compiled(made, own, "int8").estimate({"x": (1, 64, 32, 32)}, {})
    assert cost.nodes == {"array": 1, "vector": 2}  # relu, and the range of x
    per_mac = own.device.card.parameters.arithmetic["int8"].joules
    macs = 32 * 32 * 64 * 64 * 9
    register = own.device.card.parameters.energy.register
    assert cost.joules["array"] == pytest.approx(macs * (per_mac + register))
    assert cost.critical_cycles < plain.critical_cycles


def test_what_has_no_weights_stays_as_it_is(tmp_path: Path) -> None:
    nodes = [
        NODE("MatMul", ["x", "w"], ["a"]),
        NODE("Transpose", ["a"], ["b"]),
        NODE("MatMul", ["a", "b"], ["y"], name="scores"),
    ]
    made = network(nodes, {"x": [4, 16]}, {"w": numbers(1, 16, 16)})
    program = compiled(made, target(tmp_path), "int8")
    by_name = {node.name: node.op_type for node in program.graph.node}
    assert by_name["scores"] == "MatMul"
    assert "MatMulInteger" in by_name.values()


@pytest.mark.parametrize("fill", [0.0, 1e-42, 3e38])
def test_odd_weights_and_inputs(tmp_path: Path, fill: float) -> None:
    w = np.full((16, 8), fill, np.float32)
    w[:, 0] = 1
    made = network([NODE("MatMul", ["x", "w"], ["y"])], {"x": ["n", 16]}, {"w": w})
    program = compiled(made, target(tmp_path), "int8")
    zeros = run(program, x=np.zeros((2, 16), np.float32))
    assert not zeros.any()
    assert run(program, x=np.zeros((0, 16), np.float32)).shape == (0, 8)
    assert np.isfinite(run(program, x=np.full((2, 16), 1e-3, np.float32))).all()
    program.run({"x": np.full((2, 16), np.nan, np.float32)}, ["y"])


def test_a_model_that_is_quantised_already_is_left_alone(tmp_path: Path) -> None:
    nodes = [
        NODE("QuantizeLinear", ["x", "s", "z"], ["xq"]),
        NODE("DequantizeLinear", ["xq", "s", "z"], ["xd"]),
        NODE("DequantizeLinear", ["w", "s", "wz"], ["wd"]),
        NODE("MatMul", ["xd", "wd"], ["y"], name="product"),
    ]
    weights = {
        "w": np.ones((16, 8), np.int8),
        "s": np.array(0.1, np.float32),
        "z": np.array(0, np.uint8),
        "wz": np.array(0, np.int8),
    }
    made = network(nodes, {"x": [4, 16]}, weights)
    program = compiled(made, target(tmp_path), "int8")
    assert [node.op_type for node in program.graph.node] == [n.op_type for n in nodes]
