"""The smallest integer divided by -1 wraps, where the CPU's own division would end the process."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from onnx.numpy_helper import from_array

from host_daemon.compiler import guards
from host_daemon.compiler.program import Target, compile_model
from tests.conformance.models import BOOL, F32, graph, model, value
from vaccel.errors import InvalidArgument

NODE = helper.make_node
KINDS = {TensorProto.INT32: np.int32, TensorProto.INT64: np.int64}


def divided(kind: int, constant: Any = None, opset: int = 18, op: str = "Div") -> ModelProto:
    inputs = [value("a", kind, ["m"])]
    weights = []
    if constant is None:
        inputs.append(value("b", kind, ["k"]))
    else:
        weights.append(from_array(np.asarray(constant), "b"))
    node = NODE(op, ["a", "b"], ["y"], name="it")
    return model(graph([node], inputs, [value("y", kind, ["n"])], weights), opset)


@pytest.mark.parametrize("opset", [7, 18, 21])
@pytest.mark.parametrize("kind", KINDS)
def test_the_smallest_by_minus_one_wraps(target: Target, kind: int, opset: int) -> None:
    dtype = KINDS[kind]
    least = np.iinfo(dtype).min
    program = compile_model(divided(kind, opset=opset).SerializeToString(), target)
    a = np.array([least, least, least + 1, 7, -7, 0, least], dtype)
    b = np.array([-1, 1, -1, -1, 2, -1, least], dtype)
    found = program.run({"a": a, "b": b}, ["y"])
    expected = [least, least, -(least + 1), -7, -3, 0, 1]
    np.testing.assert_array_equal(found.results["y"], np.array(expected, dtype))
    assert found.cost.nodes == {"vector": 1}  # what is put beside it is no part of the model
    spread = program.run({"a": a[:1], "b": b[:2]}, ["y"]).results["y"]
    np.testing.assert_array_equal(spread, [least, least])


@pytest.mark.parametrize("op", ["Div", "Mod"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_divisor_of_zero_is_refused_by_name(target: Target, kind: int, op: str) -> None:
    dtype = KINDS[kind]
    program = compile_model(divided(kind, op=op).SerializeToString(), target)
    with pytest.raises(InvalidArgument, match=r"'it'.*zero"):
        program.run({"a": np.ones(2, dtype), "b": np.array([1, 0], dtype)}, ["y"])
    least = np.array([np.iinfo(dtype).min], dtype)
    found = program.run({"a": least, "b": np.array([-1], dtype)}, ["y"]).results["y"]
    np.testing.assert_array_equal(found, least if op == "Div" else [0])


@pytest.mark.parametrize("kind", KINDS)
def test_by_a_constant_of_minus_one(target: Target, kind: int) -> None:
    dtype = KINDS[kind]
    program = compile_model(divided(kind, dtype(-1)).SerializeToString(), target)
    a = np.array([np.iinfo(dtype).min, 5], dtype)
    found = program.run({"a": a}, ["y"]).results["y"]
    np.testing.assert_array_equal(found, np.array([a[0], -5], dtype))


def test_of_two_constants(target: Target) -> None:
    proto = divided(TensorProto.INT64, np.array([-1], np.int64))
    del proto.graph.input[:]
    proto.graph.initializer.append(from_array(np.array([np.iinfo(np.int64).min]), "a"))
    found = compile_model(proto.SerializeToString(), target).run({}, ["y"]).results["y"]
    np.testing.assert_array_equal(found, [np.iinfo(np.int64).min])


def test_within_a_branch(target: Target) -> None:
    then = graph([NODE("Div", ["a", "b"], ["q"])], [], [value("q", TensorProto.INT32, None)])
    other = graph([NODE("Neg", ["a"], ["p"])], [], [value("p", TensorProto.INT32, None)])
    node = NODE("If", ["flag"], ["y"], then_branch=then, else_branch=other)
    inputs = [value(name, TensorProto.INT32, ["n"]) for name in "ab"] + [value("flag", BOOL, [])]
    proto = model(graph([node], inputs, [value("y", TensorProto.INT32, None)]))
    least = np.array([np.iinfo(np.int32).min], np.int32)
    given = {"a": least, "b": -np.ones(1, np.int32), "flag": np.array(True)}
    found = compile_model(proto.SerializeToString(), target).run(given, ["y"]).results["y"]
    np.testing.assert_array_equal(found, least)


@pytest.mark.parametrize("constant", [np.int64(2), np.array([8, 0, -2])])
def test_by_other_constants_nothing_is_put_in(constant: Any) -> None:
    proto = divided(TensorProto.INT64, constant)
    assert guards.guarded(proto) is proto


@pytest.mark.parametrize("kind", [F32, TensorProto.INT8, TensorProto.UINT64])
def test_nor_for_other_types(kind: int) -> None:
    proto = divided(kind)
    assert guards.guarded(proto) is proto
