"""Sequences, optionals, narrow weights, functions, and graphs at the edge of the rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import AttributeProto, FunctionProto, ModelProto, TensorProto, helper

from host_daemon.compiler.program import Target
from tests.unit.host_daemon.compiler.strangers.bench import (
    BOOL,
    F32,
    I64,
    TEXT,
    Draft,
    agrees,
    value,
)

sequence = helper.make_tensor_sequence_value_info
PAIR = {"x": np.array([[1, -2, 3], [4, 5, -6]], np.float32)}
PAIRS = value("x", F32, ["a", "b"])


def test_sequences_are_mapped_split_and_joined(target: Target) -> None:
    draft, body = Draft(), Draft()
    draft.give("SplitToSequence", ["x"], ["parts"], axis=1, keepdims=0)
    body.add("Mul", "e", "e", out="r")
    ports = [value("e", F32, None)], [value("r", F32, None)]
    graph = helper.make_graph(body.nodes, "b", *ports)
    draft.add("SequenceMap", "parts", body=graph, out="squares")
    draft.add("ConcatFromSequence", "squares", axis=0, new_axis=1, out="y")
    draft.add("SequenceLength", "squares", out="n")
    outputs = [sequence("squares", F32, None), "y", value("n", I64, [])]
    agrees(draft.model([PAIRS], outputs, 17), PAIR, target)


def test_a_sequence_grows_in_a_loop(target: Target) -> None:
    draft, body = Draft(), Draft()
    body.add("SequenceInsert", "s", "x", out="t")
    body.add("Identity", "go", out="on")
    graph = helper.make_graph(
        body.nodes,
        "b",
        [value("i", I64, []), value("go", BOOL, []), sequence("s", F32, None)],
        [value("on", BOOL, []), sequence("t", F32, None)],
    )
    empty = draft.add("SequenceEmpty", dtype=F32)
    draft.give("Loop", ["n", "", empty], ["all"], body=graph)
    draft.add("ConcatFromSequence", "all", axis=0, out="y")
    inputs = [PAIRS, value("n", I64, [])]
    agrees(draft.model(inputs, ["y"], 13), PAIR | {"n": np.array(3)}, target)


def test_sequences_of_texts(target: Target) -> None:
    draft = Draft()
    draft.add("SequenceConstruct", "a", "b", out="s")
    draft.add("SequenceAt", "s", draft.const(-1), out="y")
    inputs = [value(n, TEXT, [n]) for n in "ab"]
    given = {"a": np.array(["p"], object), "b": np.array(["q", "ß"], object)}
    outputs = [value("y", TEXT, None), sequence("s", TEXT, None)]
    agrees(draft.model(inputs, outputs, 13), given, target)


def test_what_may_be_missing(target: Target) -> None:
    draft = Draft()
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(F32, [2]))
    branches = [Draft(), Draft()]
    zeros = draft.const([0.0, 0.0])
    branches[0].add("OptionalGetElement", "x", out="v")
    branches[1].add("Identity", zeros, out="w")
    graphs = [
        helper.make_graph(each.nodes, name, [], [value(name, F32, None)])
        for each, name in zip(branches, "vw", strict=True)
    ]
    draft.add("OptionalHasElement", "x", out="has")
    draft.add("If", "has", then_branch=graphs[0], else_branch=graphs[1], out="y")
    made = draft.model([helper.make_value_info("x", kind)], ["y", value("has", BOOL, None)], 18)
    agrees(made, [{"x": np.ones(2, np.float32)}, {"x": None}], target)


def scaling(**defaults: float) -> FunctionProto:
    """y = x * factor, an attribute, with or without a default."""
    nodes = [helper.make_node("Constant", [], ["k"]), helper.make_node("Mul", ["a", "k"], ["b"])]
    told = AttributeProto(name="value_float", ref_attr_name="factor", type=AttributeProto.FLOAT)
    nodes[0].attribute.append(told)
    return helper.make_function(
        "mine",
        "Scale",
        ["a"],
        ["b"],
        nodes,
        [helper.make_opsetid("", 17)],
        [] if defaults else ["factor"],
        [helper.make_attribute(name, each) for name, each in defaults.items()],
    )


def twice() -> FunctionProto:
    """A function that calls another one, once with its own attribute."""
    nodes = [
        helper.make_node("Scale", [taken], [given], domain="mine")
        for taken, given in (("a", "m"), ("m", "b"))
    ]
    told = AttributeProto(name="factor", ref_attr_name="by", type=AttributeProto.FLOAT)
    nodes[0].attribute.append(told)
    nodes[1].attribute.append(helper.make_attribute("factor", 3.0))
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    return helper.make_function("mine", "Twice", ["a"], ["b"], nodes, imports, ["by"])


@pytest.mark.parametrize("default", [False, True])
def test_functions(target: Target, default: bool) -> None:
    draft = Draft()
    settings = {} if default else {"by": 2.0}
    op = "Scale" if default else "Twice"
    draft.add(op, "x", domain="mine", out="y", **settings)
    functions = [scaling(factor=5.0)] if default else [scaling(), twice()]
    agrees(draft.model([PAIRS], ["y"], 17, functions, mine=1), PAIR, target)


@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.UINT4, TensorProto.INT8])
@pytest.mark.parametrize("block", [0, 16, 32])
def test_narrow_weights_in_blocks(target: Target, kind: int, block: int) -> None:
    draft, rng = Draft(), np.random.default_rng(9)
    numbers = rng.integers(0, 8, (64, 8)).flatten().tolist()
    weights = draft.keep(helper.make_tensor("w", kind, [64, 8], numbers))
    shape = [64 // block, 8] if block else [8]
    scales = draft.weight(*shape, scale=0.01, base=0.1)
    count = int(np.prod(shape))
    zeros = draft.keep(helper.make_tensor("z", kind, shape, rng.integers(0, 8, count).tolist()))
    settings = {"axis": 0, "block_size": block} if block else {"axis": 1}
    wide = draft.add("DequantizeLinear", weights, scales, zeros, **settings)
    draft.add("MatMul", "x", wide, out="y")
    feeds = [{"x": rng.standard_normal((n, 64), np.float32)} for n in (1, 40, 0)]
    agrees(draft.model([value("x", F32, ["n", 64])], ["y"], 21), feeds, target)


@pytest.mark.parametrize(
    "to", [TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT16, TensorProto.BFLOAT16]
)
def test_short_floats_on_the_way(target: Target, to: int) -> None:
    draft = Draft()
    draft.add("Cast", draft.add("Cast", "x", to=to), to=F32, out="y")
    agrees(draft.model([PAIRS], ["y"], 19), PAIR, target)


def edge(name: str) -> ModelProto:
    draft = Draft()
    outputs: list[Any] = ["y"]
    inputs = [PAIRS]
    if name == "an input that is an output":
        return draft.model(inputs, [PAIRS], 13)
    if name == "a weight that is an output":
        outputs.append(value(draft.const([1.0, 2.0]), F32, [2]))
    if name == "an input that nobody takes":
        inputs = [PAIRS, value("z", F32, [2])]
    if name == "names of all kinds":
        inputs = [value("x", F32, [-1, 3])]
        outputs = [value("é/日 本:0", F32, None)]
    draft.add("Relu", "x", out=outputs[0] if isinstance(outputs[0], str) else outputs[0].name)
    return draft.model(inputs, outputs, 13)


@pytest.mark.parametrize(
    "name",
    [
        "an input that is an output",
        "a weight that is an output",
        "an input that nobody takes",
        "names of all kinds",
    ],
)
def test_graphs_at_the_edge(target: Target, name: str) -> None:
    given = PAIR | ({"z": np.ones(2, np.float32)} if name.endswith("takes") else {})
    made = edge(name)
    agrees(made, given, target)
