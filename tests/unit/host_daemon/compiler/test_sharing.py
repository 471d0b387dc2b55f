"""Equal constants are one, and what a program gives and costs stays what it was."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper
from onnx.numpy_helper import from_array

from host_daemon.compiler import sharing
from host_daemon.compiler.program import Target, compile_model

NODE = helper.make_node
F32 = TensorProto.FLOAT


def value(name: str) -> object:
    return helper.make_tensor_value_info(name, F32, ["n", 2])


def constant(name: str, *numbers: float) -> TensorProto:
    return from_array(np.array(numbers, np.float32), name)


def model(
    nodes: list[NodeProto], weights: list[TensorProto], result: str = "y", ir: int = 8
) -> ModelProto:
    graph = helper.make_graph(nodes, "main", [value("x")], [value(result)], initializer=weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=ir)


def names(graph: GraphProto) -> list[str]:
    return [tensor.name for tensor in graph.initializer]


def test_an_equal_constant_is_the_first_of_its_kind() -> None:
    nodes = [NODE("Add", ["x", "a"], ["s"]), NODE("Mul", ["s", "b"], ["y"])]
    made = sharing.shared(model(nodes, [constant("a", 1, 2), constant("b", 1, 2)]))
    assert names(made.graph) == ["a"]
    assert [list(node.input) for node in made.graph.node] == [["x", "a"], ["s", "a"]]


def test_a_constant_that_a_node_gives_is_shared_as_an_initializer_is() -> None:
    nodes = [
        NODE("Constant", [], ["b"], value=constant("", 1, 2)),
        NODE("Add", ["x", "a"], ["s"]),
        NODE("Mul", ["s", "b"], ["y"]),
    ]
    made = sharing.shared(model(nodes, [constant("a", 1, 2)]))
    assert [node.op_type for node in made.graph.node] == ["Add", "Mul"]
    assert list(made.graph.node[1].input) == ["s", "a"]


@pytest.mark.parametrize(
    "other",
    [
        constant("b", 1, 3),
        constant("b", 1),
        from_array(np.array([1, 2], np.float64), "b"),
        from_array(np.array([[1, 2]], np.float32), "b"),
    ],
    ids=["value", "length", "type", "rank"],
)
def test_what_differs_stays_apart(other: TensorProto) -> None:
    given = model([NODE("Add", ["x", "a"], ["y"])], [constant("a", 1, 2), other])
    assert sharing.shared(given) is given


def test_the_two_zeros_are_not_one() -> None:
    weights = [constant("a", 0.0, 0.0), constant("b", -0.0, 0.0)]
    given = model([NODE("Add", ["x", "a"], ["s"]), NODE("Div", ["s", "b"], ["y"])], weights)
    assert sharing.shared(given) is given


def test_large_constants_are_left_alone() -> None:
    weights = [from_array(np.ones(9, np.float32), name) for name in ("a", "b")]
    given = model([NODE("Add", ["x", "a"], ["y"])], weights)
    assert sharing.shared(given) is given


def test_what_is_given_out_or_used_in_a_branch_keeps_its_name() -> None:
    branch = helper.make_graph([NODE("Identity", ["b"], ["z"])], "branch", [], [value("z")])
    nodes = [
        NODE("Add", ["x", "a"], ["s"]),
        NODE("If", ["c"], ["t"], then_branch=branch, else_branch=branch),
        NODE("Add", ["s", "t"], ["u"]),
    ]
    weights = [constant("a", 1, 2), constant("b", 1, 2), constant("r", 1, 2)]
    given = model(nodes, [*weights, from_array(np.array(True), "c")], result="r")
    assert sharing.shared(given) is given


def test_a_default_of_an_input_is_nobody_elses() -> None:
    given = model([NODE("Add", ["x", "a"], ["y"])], [constant("a", 1, 2), constant("b", 1, 2)])
    given.graph.input.append(helper.make_tensor_value_info("a", F32, [2]))
    assert sharing.shared(given) is given


def test_few_constants_and_old_models_are_left_to_onnx_runtime() -> None:
    nodes = [NODE("Add", ["x", "w0"], ["y"])]
    weights = [constant(f"w{index}", 1, 2) for index in range(sharing.MANY)]
    assert sharing.is_due(model(nodes, weights))
    assert not sharing.is_due(model(nodes, weights[1:]))
    assert not sharing.is_due(model(nodes, weights, ir=3))


def test_a_program_gives_and_costs_what_it_did(target: Target) -> None:
    count = 2 * sharing.MANY
    ops = ("Add", "Mul", "Max", "Min")
    nodes = [
        NODE(ops[i % 4], [f"v{i}" if i else "x", f"w{i}"], [f"v{i + 1}"]) for i in range(count)
    ]
    weights = [constant(f"w{i}", 1 + i % 7, 1 / (1 + i % 5)) for i in range(count)]
    data = model(nodes, weights, result=f"v{count}").SerializeToString()
    x = np.random.default_rng(3).standard_normal((3, 2), np.float32)
    plain = ort.InferenceSession(data, providers=["CPUExecutionProvider"])
    outcome = compile_model(data, target).run({"x": x}, [f"v{count}"])
    assert np.array_equal(outcome.results[f"v{count}"], plain.run(None, {"x": x})[0])
    assert outcome.cost.nodes == {"vector": count}
