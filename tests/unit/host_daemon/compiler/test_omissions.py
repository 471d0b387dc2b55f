"""Operands and results that are left out: ONNX Runtime would end the process for some."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from onnx import GraphProto, ModelProto, NodeProto, helper
from onnx.numpy_helper import from_array

from host_daemon.compiler import frontend
from host_daemon.compiler.program import Target, compile_model
from tests.conformance.models import BOOL, F32, I64, graph, model, value
from vaccel.errors import InvalidModel

NODE = helper.make_node
X = np.arange(1, 7, dtype=np.float32)
ONES = from_array(np.ones(3, np.float32), "ones")


def giving(
    nodes: NodeProto | list[NodeProto],
    outputs: list[str],
    inputs: Mapping[str, int] = {"x": F32},
    opset: int = 21,
) -> ModelProto:
    nodes = nodes if isinstance(nodes, list) else [nodes]
    takes = [value(name, kind, None) for name, kind in inputs.items()]
    gives = [value(name, F32, None) for name in outputs]
    return model(graph(nodes, takes, gives, [ONES]), opset)


def run(proto: ModelProto, target: Target, **inputs: Any) -> tuple[dict[str, Any], Any]:
    program = compile_model(proto.SerializeToString(), target)
    found = program.run(inputs, [port.name for port in program.outputs])
    return dict(found.results), found.cost.nodes


SPLITS = [
    (["", "b", "c"], {"b": [3, 4], "c": [5, 6]}),
    (["a", "", "c"], {"a": [1, 2], "c": [5, 6]}),
    (["a", "b", ""], {"a": [1, 2], "b": [3, 4]}),
    (["", "", "c"], {"c": [5, 6]}),
]


@pytest.mark.parametrize(("gives", "expected"), SPLITS)
def test_any_part_of_a_split(
    target: Target, gives: list[str], expected: dict[str, list[int]]
) -> None:
    proto = giving(NODE("Split", ["x"], gives, num_outputs=3), list(expected))
    found, nodes = run(proto, target, x=X)
    assert {name: each.tolist() for name, each in found.items()} == expected
    assert nodes == {"vector": 1}


@pytest.mark.parametrize("gives", [["y", "", "v"], ["y", "m", ""], ["y", "", ""]])
def test_results_of_a_normalisation_that_trains(target: Target, gives: list[str]) -> None:
    node = NODE("BatchNormalization", ["x", *["ones"] * 4], gives, training_mode=1)
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    program = compile_model(giving(node, [n for n in gives if n]).SerializeToString(), target)
    names = [port.name for port in program.outputs]
    found = program.run({"x": x}, names).results
    # ONNX Runtime would have written them over the weights.
    again = program.run({"x": x}, names).results
    assert all(np.array_equal(found[name], again[name]) for name in names)
    mean, variance = x.mean((0, 2)), x.var((0, 2))
    if "m" in found:
        np.testing.assert_allclose(found["m"], 0.9 + 0.1 * mean, rtol=1e-5)
    if "v" in found:
        np.testing.assert_allclose(found["v"], 0.9 + 0.1 * variance, rtol=1e-5)


@pytest.mark.parametrize("container", ["If", "Loop"])
def test_within_graphs_normalisations_that_train_change_no_weights(
    target: Target, container: str
) -> None:
    node = NODE("BatchNormalization", ["x", *["ones"] * 4], ["y", "m", ""], training_mode=1)
    means = graph([node, NODE("Identity", ["ones"], ["w"])], [], [value("m", F32, None)])
    means.output.append(value("w", F32, None))
    if container == "If":
        other = graph([NODE("Neg", ["ones"], ["n"])], [], [value("n", F32, None)] * 2)
        holder = NODE("If", ["c"], ["mean", "was"], then_branch=means, else_branch=other)
    else:
        means.node.append(NODE("Identity", ["go"], ["on"]))
        means.input.extend([value("turn", I64, []), value("go", BOOL, [])])
        means.output.insert(0, value("on", BOOL, []))
        holder = NODE("Loop", ["n", "c"], ["mean", "was"], body=means)
    inputs = {"x": F32, "c": BOOL} | ({"n": I64} if container == "Loop" else {})
    proto = giving(holder, ["mean", "was"], inputs)
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    given = {"x": x, "c": np.array(True)} | ({"n": np.array(2)} if "n" in inputs else {})
    program = compile_model(proto.SerializeToString(), target)
    for _ in range(3):
        found = program.run(given, ["mean", "was"]).results
        np.testing.assert_array_equal(found["was"], np.ones_like(found["was"]))
        expected = np.broadcast_to(0.9 + 0.1 * x.mean((0, 2)), found["mean"].shape)
        np.testing.assert_allclose(found["mean"], expected, rtol=1e-5)


def turns() -> GraphProto:
    """s' = s + s; collects s."""
    return graph(
        [
            NODE("Identity", ["go"], ["on"]),
            NODE("Add", ["s", "s"], ["t"]),
            NODE("Identity", ["s"], ["u"]),
        ],
        [value("turn", I64, []), value("go", BOOL, []), value("s", F32, None)],
        [value("on", BOOL, []), value("t", F32, None), value("u", F32, None)],
    )


@pytest.mark.parametrize(("gives", "expected"), [(["", "y"], [[1], [2], [4]]), (["y", ""], [8])])
def test_a_loop(target: Target, gives: list[str], expected: list[Any]) -> None:
    node = NODE("Loop", ["n", "", "x"], gives, body=turns())
    proto = giving(node, ["y"], {"n": I64, "x": F32})
    found, nodes = run(proto, target, n=np.array(3), x=np.ones(1, np.float32))
    np.testing.assert_array_equal(found["y"], expected)
    assert "reference" not in nodes  # the session holds it now


def test_a_branch_and_a_scan_are_no_matter_of_the_reference(target: Target) -> None:
    def branch(op: str) -> GraphProto:
        nodes = [NODE("Neg", ["x"], ["p"]), NODE(op, ["x"], ["q"])]
        return graph(nodes, [], [value(n, F32, None) for n in "pq"])

    node = NODE("If", ["c"], ["", "y"], then_branch=branch("Relu"), else_branch=branch("Neg"))
    found, nodes = run(giving(node, ["y"], {"x": F32, "c": BOOL}), target, x=X, c=np.array(True))
    np.testing.assert_array_equal(found["y"], X)
    assert "reference" not in nodes
    body = graph(
        [NODE("Add", ["s", "e"], ["t"]), NODE("Identity", ["t"], ["u"])],
        [value(n, F32, []) for n in "se"],
        [value(n, F32, []) for n in "tu"],
    )
    scan = NODE("Scan", ["z", "x"], ["", "y"], body=body, num_scan_inputs=1)
    found, nodes = run(
        giving(scan, ["y"], {"x": F32, "z": F32}), target, x=X, z=np.array(0, np.float32)
    )
    np.testing.assert_array_equal(found["y"], np.cumsum(X))
    assert "reference" not in nodes


def test_within_a_branch(target: Target) -> None:
    def branch(first: str) -> GraphProto:
        gives = ["p", ""] if first == "p" else ["", "p"]
        return graph([NODE("Split", ["x"], gives, num_outputs=2)], [], [value("p", F32, None)])

    node = NODE("If", ["c"], ["y"], then_branch=branch("p"), else_branch=branch(""))
    for flag, expected in ((True, X[:3]), (False, X[3:])):
        found, _ = run(giving(node, ["y"], {"x": F32, "c": BOOL}), target, x=X, c=np.array(flag))
        np.testing.assert_array_equal(found["y"], expected)


def test_names_that_are_given_are_nobody_elses() -> None:
    nodes = [
        NODE("Split", ["x"], ["", "b"], name="it", num_outputs=2),
        NODE("Relu", ["b"], ["it/unused0"]),
    ]
    read = frontend.read(giving(nodes, ["it/unused0"]).SerializeToString())
    assert list(read.proto.graph.node[0].output) == ["it/unused0_", "b"]


def test_what_need_not_be_made_stays_left_out() -> None:
    node = NODE("LSTM", ["x", "w", "w"], ["", "", "c"], hidden_size=3)
    proto = giving(node, ["c"], {"x": F32, "w": F32})
    for each, shape in zip(proto.graph.input, ((2, 1, 3), (1, 12, 3)), strict=True):
        each.CopyFrom(value(each.name, F32, shape))
    read = frontend.read(proto.SerializeToString())
    assert list(read.proto.graph.node[0].output) == ["", "", "c"]


def test_a_bias_that_is_named_as_left_out(target: Target) -> None:
    node = NODE("LayerNormalization", ["x", "ones", ""], ["y"])
    found, _ = run(giving(node, ["y"]), target, x=X.reshape(2, 3))
    np.testing.assert_allclose(found["y"].sum(axis=1), [0, 0], atol=1e-5)


@pytest.mark.parametrize("op", ["Max", "Min", "Sum", "Mean", "Einsum", "Concat"])
@pytest.mark.parametrize("takes", [["x", "", "x"], ["x", "x", ""]])
def test_a_hole_in_a_list_of_operands_is_refused_by_name(op: str, takes: list[str]) -> None:
    settings: dict[str, Any] = {"Einsum": {"equation": "i,i,i->i"}, "Concat": {"axis": 0}}
    node = NODE(op, takes, ["y"], name="it", **settings.get(op, {}))
    with pytest.raises(InvalidModel, match=rf"node 'it' \('{op}'\): its operand [12] is left out"):
        frontend.read(giving(node, ["y"]).SerializeToString())


def test_an_output_that_is_listed_twice_is_one(target: Target) -> None:
    proto = giving(NODE("Relu", ["x"], ["y"]), ["y", "y"])
    found, _ = run(proto, target, x=X)
    assert list(found) == ["y"]
    proto.graph.output[1].CopyFrom(value("y", I64, None))
    with pytest.raises(InvalidModel, match="output 'y' is listed twice"):
        frontend.read(proto.SerializeToString())
