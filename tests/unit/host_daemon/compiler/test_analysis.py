"""What steers a graph, what is constant, and what therefore keys a plan."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from onnx.numpy_helper import from_array

from host_daemon.compiler import frontend
from host_daemon.compiler.analysis import Analysis, analyse
from tests.conformance import models
from tests.conformance.models import BOOL, F32, I64, graph, model, value

NODE = helper.make_node


def analysed(made: ModelProto) -> Analysis:
    return analyse(frontend.read(made.SerializeToString()).proto)


def steering(made: ModelProto) -> set[str]:
    return set(analysed(made).steering)


def int_constant(name: str, *numbers: int) -> TensorProto:
    return from_array(np.array(numbers, np.int64), name)


X, Y = value("x", F32, ["n"]), value("y", F32, None)


def test_plain_arithmetic_is_not_steered() -> None:
    assert steering(models.affine()) == set()
    assert steering(models.gather()) == set()


def test_a_condition_steers() -> None:
    assert steering(models.branch()) == {"flag"}


def test_the_shape_of_an_input_is_not_its_value() -> None:
    nodes = [NODE("Shape", ["x"], ["s"]), NODE("ConstantOfShape", ["s"], ["z"])]
    made = model(graph([*nodes, NODE("Add", ["x", "z"], ["y"])], [X], [Y]))
    assert steering(made) == set()


@pytest.mark.parametrize(
    ("op", "inputs"),
    [
        ("Reshape", ["x", "k"]),
        ("Expand", ["x", "k"]),
        ("Tile", ["x", "k"]),
        ("Pad", ["x", "k"]),
        ("Slice", ["x", "zero", "k"]),
        ("Unsqueeze", ["x", "k"]),
        ("ReduceSum", ["x", "k"]),
        ("ConstantOfShape", ["k"]),
    ],
)
def test_operands_that_decide_shapes_steer(op: str, inputs: list[str]) -> None:
    nodes = [NODE("Add", ["k", "zero"], ["k2"]), NODE("Identity", ["k2"], ["k3"])]
    inputs = ["k3" if name == "k" else name for name in inputs]
    made = model(
        graph(
            [*nodes, NODE(op, inputs, ["y"])],
            [X, value("k", I64, [1])],
            [Y],
            [int_constant("zero", 0)],
        )
    )
    assert steering(made) == {"k"}


def test_results_shaped_by_values_steer() -> None:
    made = model(graph([NODE("NonZero", ["x"], ["y"])], [X], [value("y", I64, None)]))
    assert steering(made) == {"x"}


def loop(cond_out: str, *, uses_state: bool = False, captured: str = "x") -> ModelProto:
    """A loop whose state grows by a captured value; its condition is as said."""
    body_nodes = [
        NODE("Add", ["state", captured], ["grown"]),
        NODE("ReduceMax", ["grown"], ["most"], keepdims=0),
        NODE("Less", ["most", "limit"], ["early"]),
        NODE("Identity", ["go"], ["on"]),
    ]
    if uses_state:
        body_nodes += [NODE("Shape", ["grown"], ["s"]), NODE("Expand", ["grown", "s"], ["same"])]
    body = graph(
        body_nodes,
        [value("turn", I64, []), value("go", BOOL, []), value("state", F32, None)],
        [value(cond_out, BOOL, []), value("grown", F32, None)],
    )
    weights = [from_array(np.array(True), "yes"), from_array(np.float32(100), "limit")]
    return model(
        graph(
            [NODE("Loop", ["trips", "yes", "start"], ["y"], body=body)],
            [X, value("start", F32, ["n"]), value("trips", I64, [])],
            [Y],
            weights,
        )
    )


def test_a_loop_is_steered_by_its_trip_count() -> None:
    assert steering(loop("on")) == {"trips"}
    assert steering(loop("on", uses_state=True)) == {"trips"}


def test_a_loop_that_ends_early_is_steered_by_what_it_looks_at() -> None:
    assert steering(loop("early")) == {"trips", "start", "x"}


def test_a_scan_is_not_steered_by_its_values() -> None:
    body = graph(
        [NODE("Add", ["state", "item"], ["next"]), NODE("Identity", ["next"], ["each"])],
        [value("state", F32, [2]), value("item", F32, [2])],
        [value("next", F32, [2]), value("each", F32, [2])],
    )
    node = NODE("Scan", ["s", "x"], ["last", "y"], body=body, num_scan_inputs=1)
    made = model(
        graph(
            [node],
            [value("s", F32, [2]), value("x", F32, ["n", 2])],
            [value("last", F32, [2]), value("y", F32, ["n", 2])],
        )
    )
    assert steering(made) == set()


def test_chance_that_steers_is_noticed() -> None:
    harmless = [NODE("RandomNormalLike", ["x"], ["r"]), NODE("Add", ["x", "r"], ["y"])]
    assert not analysed(model(graph(harmless, [X], [Y]))).random
    steered = [NODE("RandomNormalLike", ["x"], ["r"]), NODE("NonZero", ["r"], ["y"])]
    assert analysed(model(graph(steered, [X], [value("y", I64, None)]))).random


def test_an_unknown_contrib_op_is_steered_by_everything() -> None:
    node = NODE("NGramRepeatBlock", ["x", "x2"], ["y"], domain="com.microsoft", name="it")
    made = model(graph([node], [value("x", I64, ["n", "m"]), value("x2", F32, ["n", "v"])], [Y]))
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert set(analyse(made).steering) == {"x", "x2"}


def test_constant_expressions_are_free() -> None:
    weight = from_array(np.ones((4, 2), np.float32), "w")
    nodes = [
        NODE("Transpose", ["w"], ["wt"], name="fold"),
        NODE("MatMul", ["wt", "x"], ["y"], name="keep"),
    ]
    made = analysed(model(graph(nodes, [value("x", F32, [4, "n"])], [Y], [weight])))
    assert made.nodes["fold"].free
    assert not made.nodes["keep"].free
    assert made.nodes["keep"].constant_inputs == {0}


def test_a_default_that_may_be_given_is_no_constant() -> None:
    made = analysed(models.scaled())
    (info,) = made.nodes.values()
    assert info.constant_inputs == frozenset()


def test_loops_in_loops_end() -> None:
    """Bodies within bodies are walked a bounded number of times."""
    inner = loop("early").graph.node[0]
    for level in range(12):
        body = graph(
            [inner],
            [value(f"t{level}", I64, []), value(f"g{level}", BOOL, []), value("start", F32, None)],
            [value(f"g{level}", BOOL, []), value(inner.output[0], F32, None)],
        )
        inner = NODE("Loop", ["trips", "yes", "start"], [f"out{level}"], body=body)
    made = loop("on")
    made.graph.node[0].CopyFrom(inner)
    made.graph.output[0].name = inner.output[0]
    for index, node in enumerate(_all_nodes(made)):
        node.name = f"n{index}"
    assert {"trips", "start"} <= set(analyse(made).steering)


def _all_nodes(made: ModelProto) -> list[object]:
    from host_daemon.compiler import graphs

    return list(graphs.nodes(made.graph))
