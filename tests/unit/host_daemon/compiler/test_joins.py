"""Joins of tensors that would leave holes are refused by name, and looking costs little."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper, load
from onnx.numpy_helper import from_array

from host_daemon.compiler import guards
from host_daemon.compiler.program import Target, compile_model
from host_daemon.compiler.sessions import open_session, options
from tests.conformance.models import BOOL, F32, I64, graph, model, value
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


@pytest.mark.parametrize("opset", [8, 10, 12, 21])
@pytest.mark.parametrize("op", ["Concat", "QLinearConcat", "ConcatFromSequence"])
def test_what_joins_tensors_leaves_no_holes(target: Target, op: str, opset: int) -> None:
    proto = joined(op)
    proto.opset_import[0].version = max(opset, 11) if op == "ConcatFromSequence" else opset
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


@pytest.mark.parametrize("collects", [False, True])
def test_joins_in_turns_leave_no_holes(target: Target, collects: bool) -> None:
    """A cache that grows in each turn, within a branch of it."""
    then = graph([it("Concat", "kept", "b", axis=0)], [], [value("y", F32, None)])
    orelse = graph([NODE("Identity", ["kept"], ["same"])], [], [value("same", F32, None)])
    body = graph(
        [
            NODE("If", ["flag"], ["next"], then_branch=then, else_branch=orelse),
            NODE("Concat", ["next", "b"], ["seen"], axis=0, name="other"),
            NODE("ReduceSum", ["seen"], ["sum"], keepdims=0),
            NODE("Identity", ["go"], ["on"]),
        ],
        [value("turn", I64, []), value("go", BOOL, []), value("kept", F32, None)],
        [value(n, BOOL if n == "on" else F32, None) for n in ("on", "next", "sum")],
    )
    if not collects:
        del body.output[-1]
    gives = ["r", "sums"] if collects else ["r"]
    node = NODE("Loop", ["n", "", "a"], gives, body=body)
    inputs = [value(n, F32, [None, None]) for n in "ab"] + [FLAG, value("n", I64, [])]
    outputs = [value(name, F32, None) for name in node.output]
    program = compile_model(model(graph([node], inputs, outputs)).SerializeToString(), target)
    names = [port.name for port in program.outputs]

    def launched(a: tuple[int, ...], b: tuple[int, ...], turns: int, flag: bool = True) -> Any:
        given = {"a": np.ones(a, np.float32), "b": np.ones(b, np.float32)}
        return program.run(given | {"flag": np.array(flag), "n": np.array(turns)}, names).results

    for shapes in HOLES:
        with pytest.raises(InvalidArgument, match="node 'it' joins tensors that differ"):
            launched(*shapes, 3)
        with pytest.raises(InvalidArgument, match="node 'other' joins tensors that differ"):
            launched(*shapes, 3, flag=False)
        assert launched(*shapes, 0)["r"].shape == shapes[0]
    found = launched((0, 4), (3, 4), 3)
    assert found["r"].shape == (9, 4)
    if collects:
        assert found["sums"].tolist() == [24, 36, 48]


def test_joins_in_a_scan_leave_no_holes(target: Target) -> None:
    body = graph(
        [
            it("Concat", "s", "b", axis=0),
            NODE("Shape", ["y"], ["z"]),
            NODE("Identity", ["s"], ["t"]),
        ],
        [value("s", F32, None), value("e", F32, None)],
        [value("t", F32, None), value("z", I64, None)],
    )
    node = NODE("Scan", ["a", "b"], ["r", "c"], body=body, num_scan_inputs=1)
    inputs = [value(n, F32, [None, None]) for n in "ab"]
    proto = model(graph([node], inputs, [value("r", F32, None)]))
    program = compile_model(proto.SerializeToString(), target)
    given = {"a": np.ones((20, 0), np.float32), "b": np.ones((3, 4), np.float32)}
    with pytest.raises(InvalidArgument, match="node 'it' joins tensors that differ"):
        program.run(given, ["r"])


@pytest.mark.parametrize("ranks", [0, 1, 2])
def test_what_no_turn_collected_has_its_dimensions(target: Target, ranks: int) -> None:
    """A guard takes away what a body says of shapes, but not of how many there are."""
    shape = [None, 4, 2][:ranks]
    nodes = [it("Concat", "k", "k", axis=0), NODE("Identity", ["go"], ["on"])]
    nodes += [NODE("ReduceMax", ["y"], ["m"], keepdims=0), NODE("Expand", ["m", "sizes"], ["e"])]
    body = graph(
        nodes,
        [value("turn", I64, []), value("go", BOOL, []), value("k", F32, None)],
        [value("on", BOOL, []), value("y", F32, None), value("e", F32, shape)],
        [from_array(np.full(ranks, 4), "sizes")],
    )
    node = NODE("Loop", ["n", "", "a"], ["r", "es"], body=body)
    inputs = [value("a", F32, [None, None]), value("n", I64, [])]
    proto = model(graph([node], inputs, [value("es", F32, None)]))
    program = compile_model(proto.SerializeToString(), target)
    given = {"a": np.ones((2, 2), np.float32), "n": np.array(0)}
    assert program.run(given, ["es"]).results["es"].ndim == ranks + 1


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


def test_of_many_joins_each_is_looked_at(target: Target) -> None:
    names = ["a", *(f"c{n}" for n in range(300)), "y"]
    nodes = [NODE("Concat", [one, "b"], [next_], axis=0) for one, next_ in pairwise(names)]
    nodes[-1].name = "it"
    proto = made(nodes, F32, 2)
    assert launch(proto, target, (2, 4), (1, 4)).shape == (303, 4)
    middle = ModelProto()
    middle.CopyFrom(proto)
    for place in (0, 200, 300):
        middle.CopyFrom(proto)
        middle.graph.node[-1].name = ""
        middle.graph.node[place].name = "it"
        middle.graph.node[place].input[1] = "none"
        middle.graph.input.append(value("none", F32, [None, None]))
        program = compile_model(middle.SerializeToString(), target)
        given = {n: np.ones((1, 4), np.float32) for n in "ab"}
        with pytest.raises(InvalidArgument, match="node 'it' joins tensors that differ"):
            program.run(given | {"none": np.ones((3, 0), np.float32)}, ["y"])
