"""Products of a whole model in short floats: rounded where the NPU rounds, and costed so."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from host_daemon.core.device import ARITHMETIC, Operation
from tests.unit.host_daemon.compiler.arithmetic.networks import (
    NODE,
    compiled,
    network,
    numbers,
    run,
    target,
)
from vaccel.errors import Unsupported
from vaccel.model import DType

KINDS = {
    "bf16": (ml_dtypes.bfloat16, ml_dtypes.bfloat16),
    "fp16": (np.float16, np.float16),
    "fp8_e4m3": (ml_dtypes.float8_e4m3fn, ml_dtypes.bfloat16),
    "fp8_e5m2": (ml_dtypes.float8_e5m2, ml_dtypes.bfloat16),
}


def short(values: np.ndarray, kind: type) -> np.ndarray:
    return values.astype(kind).astype(np.float32)


@pytest.mark.parametrize("name", KINDS)
def test_operands_are_rounded_then_summed_then_rounded(tmp_path: Path, name: str) -> None:
    enters, leaves = KINDS[name]
    w, v, bias = numbers(1, 48, 32), numbers(2, 32, 8), numbers(3, 8)
    nodes = [
        NODE("MatMul", ["x", "w"], ["a"], name="first"),
        NODE("Relu", ["a"], ["b"]),
        NODE("Mul", ["b", "small"], ["c"]),
        NODE("Gemm", ["c", "v", "bias"], ["y"], name="second"),
    ]
    weights = {"w": w, "v": v, "bias": bias, "small": np.array(2**-6, np.float32)}
    made = network(nodes, {"x": ["n", 48]}, weights, opset=19)
    x = numbers(0, 5, 48)
    first = short(short(x, enters) @ short(w, enters), leaves)
    second = short(np.maximum(first, 0) * np.float32(2**-6), enters).astype(np.float64)
    expected = short((second @ short(v, enters) + bias).astype(np.float32), leaves)
    given = run(compiled(made, target(tmp_path), name), x=x)
    np.testing.assert_array_equal(given, expected)


def test_convolutions_and_their_bias(tmp_path: Path) -> None:
    w, bias = numbers(1, 6, 2, 3), numbers(2, 6)
    nodes = [NODE("Conv", ["x", "w", "bias"], ["y"], name="conv", group=2, pads=[1, 1])]
    made = network(nodes, {"x": [1, 4, "t"]}, {"w": w, "bias": bias})
    x = numbers(0, 1, 4, 9)
    plain = network(nodes, {"x": [1, 4, "t"]}, {"w": short(w, ml_dtypes.bfloat16), "bias": bias})
    exact = run(compiled(plain, target(tmp_path)), x=short(x, ml_dtypes.bfloat16))
    given = run(compiled(made, target(tmp_path), "bf16"), x=x)
    np.testing.assert_array_equal(given, short(exact, ml_dtypes.bfloat16))


def test_the_cost_is_that_of_such_products_and_rounding_is_free(tmp_path: Path) -> None:
    nodes = [
        NODE("MatMul", ["x", "w"], ["a"], name="first"),
        NODE("Relu", ["a"], ["b"], name="relu"),
        NODE("MatMul", ["b", "w"], ["y"], name="second"),
    ]
    made = network(nodes, {"x": [64, 64]}, {"w": numbers(1, 64, 64)})
    own = target(tmp_path)
    plain = compiled(made, own).estimate({"x": (64, 64)}, {})
    cost = compiled(made, own, "bf16").estimate({"x": (64, 64)}, {})
    assert cost.nodes == plain.nodes == {"array": 2, "vector": 1}
    spec = (DType.FLOAT32, (64, 64))
    product = Operation("MatMul", (spec, spec), (spec,), {ARITHMETIC: "bf16"}, frozenset({1}))
    one = own.device.cost(product)
    assert cost.cycles["array"] == 2 * one.cycles["array"]
    assert cost.joules["array"] == pytest.approx(2 * one.joules["array"])
    assert cost.critical_cycles < plain.critical_cycles


def test_what_is_rounded_already_is_not_rounded_again(tmp_path: Path) -> None:
    nodes = [
        NODE("MatMul", ["x", "w"], ["a"]),
        NODE("Relu", ["a"], ["b"]),
        NODE("MatMul", ["b", "w"], ["c"]),
        NODE("MatMul", ["x", "w"], ["d"]),
        NODE("Add", ["c", "d"], ["y"]),
    ]
    made = network(nodes, {"x": [4, 16]}, {"w": numbers(1, 16, 16)})
    program = compiled(made, target(tmp_path), "bf16")
    # One pair for x, which two products take, and one for each of the three results.
    assert [node.op_type for node in program.graph.node].count("Cast") == 8
    # Both uses of the weight take one rounded copy, and nobody the weight itself.
    assert [each.name for each in program.graph.initializer] == ["w/bf16"]


def test_products_within_branches_round_too(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    inside = helper.make_tensor_value_info("inside", TensorProto.FLOAT, None)
    other = helper.make_tensor_value_info("other", TensorProto.FLOAT, None)
    then = helper.make_graph([NODE("MatMul", ["x", "w"], ["inside"])], "then", [], [inside])
    orelse = helper.make_graph([NODE("Identity", ["x"], ["other"])], "else", [], [other])
    made = network(
        [NODE("If", ["flag"], ["y"], then_branch=then, else_branch=orelse)],
        {"x": [4, 16]},
        {"w": numbers(1, 16, 16)},
    )
    made.graph.input.append(helper.make_tensor_value_info("flag", TensorProto.BOOL, []))
    program = compiled(made, target(tmp_path), "bf16")
    x = numbers(0, 4, 16)
    kind = ml_dtypes.bfloat16
    expected = short(short(x, kind) @ short(numbers(1, 16, 16), kind), kind)
    np.testing.assert_array_equal(run(program, x=x, flag=np.array(True)), expected)
    np.testing.assert_array_equal(run(program, x=x, flag=np.array(False)), x)


def test_a_model_of_an_old_opset_is_converted_where_it_can_be(tmp_path: Path) -> None:
    nodes = [
        NODE("MatMul", ["x", "w"], ["a"]),
        NODE("Unsqueeze", ["a"], ["y"], axes=[0]),
    ]
    made = network(nodes, {"x": [4, 16]}, {"w": numbers(1, 16, 64)}, opset=9)
    given = run(compiled(made, target(tmp_path), "bf16"), x=numbers(0, 4, 16))
    assert given.shape == (1, 4, 64)
    np.testing.assert_array_equal(given, short(given, ml_dtypes.bfloat16))


@pytest.mark.parametrize(("op", "axes"), [("Neg", {}), ("Softmax", {"axis": 1})])
def test_an_old_model_with_nested_graphs_counts_as_newer_where_nothing_changed(
    tmp_path: Path, op: str, axes: dict[str, int]
) -> None:
    from onnx import TensorProto, helper

    kinds = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "ab"]
    then = helper.make_graph([NODE("MatMul", ["x", "w"], ["a"])], "then", [], kinds[:1])
    orelse = helper.make_graph([NODE(op, ["x"], ["b"], **axes)], "else", [], kinds[1:])
    made = network(
        [NODE("If", ["flag"], ["y"], then_branch=then, else_branch=orelse)],
        {"x": [4, 16]},
        {"w": numbers(1, 16, 16)},
        opset=11,
    )
    made.graph.input.append(helper.make_tensor_value_info("flag", TensorProto.BOOL, []))
    if op == "Softmax":  # since opset 13 it is of one axis
        with pytest.raises(Unsupported, match="opset 11"):
            compiled(made, target(tmp_path), "bf16")
        return
    given = run(compiled(made, target(tmp_path), "bf16"), x=numbers(0, 4, 16), flag=np.array(True))
    np.testing.assert_array_equal(given, short(given, ml_dtypes.bfloat16))


def test_an_arithmetic_that_the_card_lacks_is_refused_by_name(tmp_path: Path) -> None:
    made = network([NODE("MatMul", ["x", "w"], ["y"])], {"x": [4, 16]}, {"w": numbers(1, 16, 4)})
    with pytest.raises(Unsupported, match="a model in 'bf16'") as caught:
        compiled(made, target(tmp_path, "warboy"), "bf16")
    assert "int8" in caught.value.hint
    with pytest.raises(Unsupported, match="four bits take scales"):
        compiled(made, target(tmp_path), "int4")


def test_banks_compute_in_their_own_arithmetic(tmp_path: Path) -> None:
    nodes = [NODE("MatMul", ["x", "w"], ["a"], name="product"), NODE("Relu", ["a"], ["y"])]
    made = network(nodes, {"x": [1, 256]}, {"w": numbers(1, 256, 64)})
    program = compiled(made, target(tmp_path, "aim"), "bf16")
    given = program.run({"x": numbers(0, 1, 256)}, ["y"])
    assert given.cost.nodes["banks"] == 1
    exact = np.maximum(numbers(0, 1, 256) @ numbers(1, 256, 64), 0)
    np.testing.assert_allclose(given.results["y"], exact, atol=0.02 * np.abs(exact).max())
