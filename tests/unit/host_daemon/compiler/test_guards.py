"""Recurrences over nothing are refused by name wherever they are: ONNX Runtime would abort."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper
from onnx.numpy_helper import from_array

from host_daemon.compiler.program import CompiledProgram, Target, compile_model
from tests.conformance.models import BOOL, F32, I64, graph, model, value
from vaccel.errors import InvalidArgument, InvalidModel, VaccelError

NODE = helper.make_node
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def recurrence(op: str, x: str = "x") -> NodeProto:
    return NODE(op, [x, "w", "r"], ["h"], hidden_size=2, name="cell")


def weights(op: str) -> list[TensorProto]:
    ones = np.ones((1, 2 * GATES[op], 2), np.float32)
    return [from_array(ones, "w"), from_array(ones, "r")]


def compiled(
    nodes: Sequence[NodeProto], inputs: Sequence[Any], op: str, target: Target, extra: Any = ()
) -> CompiledProgram:
    made = graph(nodes, inputs, [value("y", F32, None)], [*weights(op), *extra])
    return compile_model(model(made, 17).SerializeToString(), target)


def nested(op: str, target: Target) -> CompiledProgram:
    then = graph([recurrence(op)], [], [value("h", F32, None)])
    orelse = graph([NODE("Identity", ["x"], ["z"])], [], [value("z", F32, None)])
    node = NODE("If", ["flag"], ["y"], then_branch=then, else_branch=orelse)
    inputs = [value("x", F32, ["s", "b", 2]), value("flag", BOOL, [])]
    return compiled([node], inputs, op, target)


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("shape", [(0, 1, 2), (1, 0, 2), (0, 0, 2)])
def test_within_a_branch(target: Target, op: str, shape: tuple[int, ...]) -> None:
    program = nested(op, target)
    nothing = {"x": np.zeros(shape, np.float32), "flag": np.array(True)}
    for _ in range(2):
        with pytest.raises(InvalidArgument, match="node 'cell' runs over nothing"):
            program.run(nothing, ["y"])
    # Not where it is not come to, and with elements as ever.
    assert program.run(nothing | {"flag": np.array(False)}, ["y"]).results["y"].shape == shape
    some = {"x": np.ones((3, 1, 2), np.float32), "flag": np.array(True)}
    found = program.run(some, ["y"])
    assert found.results["y"].shape == (3, 1, 1, 2)
    assert found.cost.nodes == {"vector": 1}  # the guard is no part of the model


@pytest.mark.parametrize("op", ["GRU", "LSTM"])
def test_behind_what_picks_by_value(target: Target, op: str) -> None:
    nodes = [NODE("Compress", ["x", "mask"], ["some"], axis=1), recurrence(op, "some")]
    nodes.append(NODE("Identity", ["h"], ["y"]))
    inputs = [value("x", F32, [3, 4, 2]), value("mask", BOOL, [4])]
    program = compiled(nodes, inputs, op, target)
    x = np.ones((3, 4, 2), np.float32)
    assert program.run({"x": x, "mask": np.eye(4, dtype=bool)[0]}, ["y"]).results["y"].size == 6
    with pytest.raises(InvalidArgument, match="runs over nothing"):
        program.run({"x": x, "mask": np.zeros(4, bool)}, ["y"])


def test_in_the_turn_of_a_loop(target: Target) -> None:
    body = graph(
        [
            NODE("Slice", ["x", "turn1", "two", "one"], ["part"]),
            recurrence("GRU", "part"),
            NODE("Identity", ["go"], ["on"]),
            NODE("Unsqueeze", ["turn", "zero"], ["turn1"]),
            NODE("ReduceSum", ["h"], ["sum"], keepdims=0),
        ],
        [value("turn", I64, []), value("go", BOOL, [])],
        [value("on", BOOL, []), value("sum", F32, [])],
    )
    body.node.insert(0, body.node.pop(3))
    numbers = {"zero": [0], "one": [1], "two": [2]}
    extra = [from_array(np.array(v, np.int64), k) for k, v in numbers.items()]
    node = NODE("Loop", ["trips", ""], ["y"], body=body)
    inputs = [value("x", F32, [3, 4, 2]), value("trips", I64, [])]
    program = compiled([node], inputs, "GRU", target, extra)
    x = np.ones((3, 4, 2), np.float32)
    assert program.run({"x": x, "trips": np.array(2)}, ["y"]).results["y"].shape == (2,)
    with pytest.raises(InvalidArgument, match="runs over nothing"):
        program.run({"x": x, "trips": np.array(3)}, ["y"])


@pytest.mark.parametrize("op", ["GRU", "LSTM"])
def test_over_constants_it_is_the_model_that_is_refused(target: Target, op: str) -> None:
    extra = [from_array(np.zeros((3, 0, 2), np.float32), "c")]
    nodes = [recurrence(op, "c"), NODE("Add", ["h", "x"], ["y"])]
    with pytest.raises(VaccelError, match="'cell'") as caught:
        program = compiled(nodes, [value("x", F32, [1])], op, target, extra)
        program.run({"x": np.ones(1, np.float32)}, ["y"])
    assert isinstance(caught.value, InvalidArgument | InvalidModel)


def test_attention_of_no_batch(target: Target) -> None:
    names = ("q", "k", "v", "past_k", "past_v", "lengths", "total")
    node = NODE(
        "GroupQueryAttention",
        names,
        ["y", "key", "value"],
        name="cell",
        domain="com.microsoft",
        num_heads=2,
        kv_num_heads=1,
    )
    shapes: list[list[Any]] = [["b", "s", 16], ["b", "s", 8], ["b", "s", 8]]
    shapes += [["b", 1, "p", 8], ["b", 1, "p", 8], ["b"], []]
    kinds = [F32] * 5 + [TensorProto.INT32] * 2
    inputs = [value(*each) for each in zip(names, kinds, shapes, strict=True)]
    made = model(graph([node], inputs, [value(n, F32, None) for n in ("y", "key", "value")]))
    made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    program = compile_model(made.SerializeToString(), target)

    def given(batch: int) -> dict[str, Any]:
        sizes = {"b": batch, "s": 3, "p": 0}
        found = {
            name: np.zeros([sizes.get(dim, dim) for dim in shape], np.float32)
            for name, shape in zip(names, shapes, strict=True)
        }
        lengths = np.full(batch, 2, np.int32)
        return found | {"lengths": lengths, "total": np.array(3, np.int32)}

    assert program.run(given(2), ["y"]).results["y"].shape == (2, 3, 16)
    with pytest.raises(InvalidArgument, match="node 'cell' runs over nothing"):
        program.run(given(0), ["y"])


def test_no_node_of_a_model_has_a_name_that_traces_leave_out(target: Target) -> None:
    nodes = [
        NODE("Exp", ["x"], ["a"], name="InsertedCast_mine"),
        NODE("Neg", ["a"], ["y"], name="Elements_mine"),
    ]
    made = graph(nodes, [value("x", F32, [2])], [value("y", F32, [2])])
    program = compile_model(model(made).SerializeToString(), target)
    assert program.estimate({"x": (2,)}, {}).nodes == {"vector": 2}
