"""Joins of tensors that would leave holes are refused by name, and looking costs little."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, load
from onnx.numpy_helper import from_array

from host_daemon.compiler import guards
from host_daemon.compiler.program import Target, compile_model
from host_daemon.compiler.sessions import open_session, options
from tests.conformance.models import BOOL, F32, graph, model, value
from vaccel.errors import InvalidArgument

NODE = helper.make_node
U8 = TensorProto.UINT8
WEIGHTS = [from_array(np.float32(1), "s"), from_array(np.uint8(7), "z")]
FLAG = value("flag", BOOL, [])


def it(op: str, *operands: str, **settings: Any) -> NodeProto:
    return NODE(op, operands, ["y"], name="it", **settings)


def made(nodes: Sequence[NodeProto], kind: int, rank: int) -> ModelProto:
    inputs = [value(name, kind, [None] * rank) for name in "ab"]
    built = model(graph(nodes, inputs, [value("y", kind, None)], WEIGHTS), 21)
    built.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return built


def launch(proto: ModelProto, target: Target, *shapes: tuple[int, ...]) -> Any:
    program = compile_model(proto.SerializeToString(), target)
    kind = np.uint8 if proto.graph.input[0].type.tensor_type.elem_type == U8 else np.float32
    given = {name: np.ones(shape, kind) for name, shape in zip("ab", shapes, strict=True)}
    return program.run(given, ["y"]).results["y"]


HOLES = [((20, 0), (30, 40)), ((30, 40), (20, 0)), ((0, 3), (2, 0))]
WHOLE = [((2, 4), (3, 4)), ((0, 4), (3, 4)), ((3, 4), (0, 7)), ((0, 4), (0, 4)), ((2, 0), (3, 0))]


def joined(op: str) -> ModelProto:
    if op == "ConcatFromSequence":
        nodes = [NODE("SequenceConstruct", ["a", "b"], ["q"]), it(op, "q", axis=0)]
        return made(nodes, F32, 2)
    if op == "QLinearConcat":
        operands = ["s", "z", "a", "s", "z", "b", "s", "z"]
        return made([it(op, *operands, axis=0, domain="com.microsoft")], U8, 2)
    return made([it(op, "a", "b", axis=0)], F32, 2)


@pytest.mark.parametrize("op", ["Concat", "QLinearConcat", "ConcatFromSequence"])
def test_what_joins_tensors_leaves_no_holes(target: Target, op: str) -> None:
    proto = joined(op)
    for shapes in HOLES:
        with pytest.raises(InvalidArgument, match="node 'it' joins tensors that differ"):
            launch(proto, target, *shapes)
    assert launch(proto, target, (2, 4), (3, 4)).shape == (5, 4)
    assert launch(proto, target, (0, 4), (3, 4)).shape == (3, 4)


def in_branches(op: str) -> ModelProto:
    """A join in a branch within a branch, and another one beside it."""
    inner = NODE(
        "If",
        ["flag"],
        ["i"],
        then_branch=graph([it(op, "a", "b", axis=0)], [], [value("y", F32, None)]),
        else_branch=graph([NODE("Neg", ["a"], ["n"])], [], [value("n", F32, None)]),
    )
    outer = NODE(
        "If",
        ["flag"],
        ["o"],
        then_branch=graph([inner], [], [value("i", F32, None)]),
        else_branch=graph([NODE("Abs", ["a"], ["m"])], [], [value("m", F32, None)]),
    )
    nodes = [NODE("Transpose", ["o"], ["t"]), NODE(op, ["t", "t"], ["r"], axis=0, name="other")]
    inputs = [value("a", F32, [None, None]), value("b", F32, [None, None]), FLAG]
    return model(graph([outer, *nodes], inputs, [value("r", F32, None)]))


def test_joins_in_branches_leave_no_holes(target: Target) -> None:
    program = compile_model(in_branches("Concat").SerializeToString(), target)

    def launched(a: tuple[int, ...], b: tuple[int, ...], flag: bool) -> Any:
        given = {"a": np.ones(a, np.float32), "b": np.ones(b, np.float32), "flag": np.array(flag)}
        return program.run(given, ["r"])

    for shapes in HOLES:
        for _ in range(2):
            with pytest.raises(InvalidArgument, match="node 'it' joins tensors that differ"):
                launched(*shapes, True)
        assert launched(*shapes, False).results["r"].shape == (2 * shapes[0][1], shapes[0][0])
    for a, b in WHOLE:
        found = launched(a, b, True)
        assert found.results["r"].size == 2 * (np.prod(a) + np.prod(b))
        assert found.cost.nodes == {"vector": 3}  # what looks is no part of the model


@pytest.mark.parametrize("shapes", WHOLE)
def test_joins_of_empty_tensors_without_holes(target: Target, shapes: Any) -> None:
    proto = joined("Concat")
    assert launch(proto, target, *shapes).size == sum(map(np.prod, shapes))


def test_what_looks_at_a_join_moves_nothing(target: Target) -> None:
    """Transposes around a cache that grows cancel out, as they do without."""
    nodes = [
        NODE("Transpose", ["a"], ["p"], perm=[0, 2, 1]),
        NODE("Transpose", ["b"], ["q"], perm=[0, 2, 1]),
        it("Concat", "p", "q", axis=-1),
        NODE("Transpose", ["y"], ["r"], perm=[0, 2, 1]),
    ]
    inputs = [value(name, F32, [None, None, 8]) for name in "ab"]
    proto = guards.guarded(model(graph(nodes, inputs, [value("r", F32, None)])))
    chosen = options(1)
    chosen.optimized_model_filepath = str(target.scratch / "seen.onnx")
    open_session(proto.SerializeToString(), chosen)
    seen = [node.op_type for node in load(chosen.optimized_model_filepath).graph.node]
    assert "Transpose" not in seen
    assert "If" in seen


def test_joins_of_one_symbol_have_no_guard() -> None:
    proto = made([it("Concat", "a", "b", axis=1)], F32, 2)
    for each in proto.graph.input:
        each.CopyFrom(value(each.name, F32, ["batch", each.name]))
    assert guards.guarded(proto) is proto
    # What nobody holds a launch to is believed of nothing.
    proto.graph.input[1].CopyFrom(value("b", F32, ["?", "b"]))
    proto.graph.input[0].CopyFrom(value("a", F32, ["?", "a"]))
    assert guards.guarded(proto) is not proto


def test_joins_of_one_axis_or_of_known_shapes_have_no_guard() -> None:
    line = made([it("Concat", "a", "b", axis=0)], F32, 1)
    assert guards.guarded(line) is line
    known = made([it("Concat", "a", "b", axis=1)], F32, 2)
    for each in known.graph.input:
        each.CopyFrom(value(each.name, F32, [2, each.name]))
    assert guards.guarded(known) is known
