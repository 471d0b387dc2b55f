"""Models that are legal, and launches of them that ONNX Runtime would not outlive or never end, or
answer with memory of earlier ones.

Each case: a model, its inputs, and either words of the refusal or the results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper
from onnx.numpy_helper import from_array

from tests.conformance.models import BOOL, F32, I64, graph, model, value

U8, I8, I32 = TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32
KINDS = {np.dtype(np.uint8): U8, np.dtype(np.int8): I8, np.dtype(np.int32): I32}
KINDS |= {np.dtype(np.float32): F32, np.dtype(np.int64): I64, np.dtype(np.bool_): BOOL}
NOTHING = ("'it'", "runs over nothing")
LEAST = {np.int32: np.int32(-(1 << 31)), np.int64: np.int64(-(1 << 63))}
X = np.arange(1, 7, dtype=np.float32)
Inputs = Mapping[str, np.ndarray[Any, Any]]
Results = Mapping[str, Any]


@dataclass(frozen=True)
class HostileLaunch:
    name: str
    make: Callable[[], ModelProto]
    inputs: Inputs
    words: tuple[str, ...] = ()
    results: Results = field(default_factory=dict)


CASES: list[HostileLaunch] = []


def case(
    name: str,
    nodes: NodeProto | Sequence[NodeProto],
    inputs: Inputs,
    outputs: Mapping[str, int],
    *words: str,
    results: Results | None = None,
) -> None:
    """A model of inputs whose dimensions nobody knows before a launch."""

    def make() -> ModelProto:
        takes = [value(n, KINDS[each.dtype], [None] * each.ndim) for n, each in inputs.items()]
        gives = [value(n, kind, None) for n, kind in outputs.items()]
        weights = [from_array(np.float32(1), "s"), from_array(np.uint8(0), "z")]
        listed = [nodes] if isinstance(nodes, NodeProto) else nodes
        made = model(graph(listed, takes, gives, weights), 21)
        made.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        return made

    CASES.append(HostileLaunch(name, make, inputs, words, results or {}))


def it(op: str, *inputs: str, gives: Sequence[str] = ("y",), **attributes: Any) -> NodeProto:
    return helper.make_node(op, inputs, gives, name="it", **attributes)


def zeros(kind: type[Any], *shape: int) -> np.ndarray[Any, Any]:
    return np.zeros(shape, kind)


def branch(node: NodeProto, kind: int) -> NodeProto:
    """A node in one branch, and in the other one that casts ``a``."""
    cast = helper.make_node("Cast", ["a"], ["cast"], to=kind)
    then, other = (graph([n], [], [value(n.output[0], kind, None)]) for n in (node, cast))
    return helper.make_node("If", ["flag"], ["out"], then_branch=then, else_branch=other)


FLAG = {"flag": np.array(True)}
DEPTH = {"a": zeros(np.uint8, 64, 0), "b": zeros(np.int8, 0, 30)}
BYTES = {"a": zeros(np.uint8, 64, 0), "b": zeros(np.uint8, 0, 30)}
# Sums over nothing.
PRODUCT = it("MatMulInteger", "a", "b")
case("depth 0", PRODUCT, DEPTH, {"y": I32}, results={"y": np.zeros((64, 30))})
NEGATED = helper.make_node("Neg", ["y"], ["out"])
NONE = np.zeros((64, 30))
case("depth 0 in a graph", [PRODUCT, NEGATED], DEPTH, {"out": I32}, results={"out": NONE})
case(
    "depth 0 in a branch",
    branch(it("MatMulInteger", "a", "b"), I32),
    DEPTH | FLAG,
    {"out": I32},
    results={"out": NONE},
)
case(
    "depth 0, quantised",
    it("QLinearMatMul", "a", "s", "z", "b", "s", "z", "s", "z"),
    BYTES,
    {"y": U8},
    results={"y": NONE},
)
case(
    "depth 0, to float",
    it("MatMulIntegerToFloat", "a", "b", "s", "s", domain="com.microsoft"),
    DEPTH,
    {"y": F32},
    *NOTHING,
)
case(
    "depth 0, dynamic",
    it("DynamicQuantizeMatMul", "a", "b", "s", domain="com.microsoft"),
    {"a": zeros(np.float32, 64, 0), "b": zeros(np.int8, 0, 30)},
    {"y": F32},
    *NOTHING,
)
for shape in ((2, 0, 2, 2), (2, 2, 0, 0), (2, 2, 0, 1)):
    image = zeros(np.uint8, 1, shape[1], 4, 4)
    case(
        f"integer window {shape}",
        [it("ConvInteger", "a", "b"), NEGATED],
        {"a": image, "b": zeros(np.uint8, *shape)},
        {"out": I32},
        *NOTHING,
    )
for window in ((0, 0), (0, 1), (0,), (1, 0, 1)):
    image = zeros(np.float32, 1, 2, *(4,) * len(window))
    case(
        f"window {window}",
        it("Conv", "a", "b"),
        {"a": image, "b": zeros(np.float32, 2, 2, *window)},
        {"y": F32},
        *NOTHING,
    )
WINDOW = {"a": zeros(np.float32, 1, 2, 4, 4), "b": zeros(np.float32, 2, 2, 0, 0)}
case("window in a branch", branch(it("Conv", "a", "b"), F32), WINDOW | FLAG, {"out": F32}, *NOTHING)
case(
    "fused window",
    it("FusedConv", "a", "b", domain="com.microsoft", activation="Relu"),
    WINDOW,
    {"y": F32},
    *NOTHING,
)
case(
    "holes",
    it("Concat", "a", "b", axis=0),
    {"a": zeros(np.float32, 64, 0), "b": zeros(np.float32, 64, 64)},
    {"y": F32},
    "'it'",
    "joins tensors",
)
case(
    "empty slices",
    it("Unique", "a", axis=0),
    {"a": zeros(np.float32, 3, 0)},
    {"y": F32},
    *NOTHING,
)
case(
    "attention without a width",
    it("MultiHeadAttention", "a", "a", "a", domain="com.microsoft", num_heads=2),
    {"a": zeros(np.float32, 1, 3, 0)},
    {"y": F32},
    *NOTHING,
)
for gives in (["", "b", "c"], ["a", "", "c"], ["a", "b", ""]):
    parts = dict(zip("abc", ([1, 2], [3, 4], [5, 6]), strict=True))
    case(
        f"split {gives}",
        it("Split", "x", gives=gives, num_outputs=3),
        {"x": X},
        {name: F32 for name in gives if name},
        results={name: parts[name] for name in gives if name},
    )


def turns() -> GraphProto:
    """Doubles its state, and collects it."""
    nodes = [
        helper.make_node("Identity", ["go"], ["on"]),
        helper.make_node("Add", ["t", "t"], ["u"]),
        helper.make_node("Identity", ["t"], ["v"]),
    ]
    takes = [value("turn", I64, []), value("go", BOOL, []), value("t", F32, None)]
    gives = [value("on", BOOL, []), value("u", F32, None), value("v", F32, None)]
    return graph(nodes, takes, gives)


LOOP = {"n": np.array(3), "x": np.ones(1, np.float32)}
for gives, expected in ((["", "y"], [[1], [2], [4]]), (["y", ""], [8])):
    case(
        f"loop {gives}",
        it("Loop", "n", "", "x", gives=gives, body=turns()),
        LOOP,
        {"y": F32},
        results={"y": expected},
    )
ONES = {name: np.ones(3, np.float32) for name in "mnop"}
case(
    "training",
    it("BatchNormalization", "x", *"mnop", gives=["y", "", "v"], training_mode=1),
    {"x": np.ones((2, 3, 4), np.float32)} | ONES,
    {"y": F32, "v": F32},
    results={"v": [0.9, 0.9, 0.9]},
)
case(
    "bias left out",
    it("LayerNormalization", "x", "x", ""),
    {"x": np.ones(1, np.float32)},
    {"y": F32},
    results={"y": [0]},
)
for dtype, least in LEAST.items():
    numbers = {"a": np.array([least, 9], dtype), "b": np.array([-1, 2], dtype)}
    kind = KINDS[np.dtype(dtype)]
    case(
        f"smallest {dtype.__name__} by -1",
        it("Div", "a", "b"),
        numbers,
        {"y": kind},
        results={"y": [least, 4]},
    )
    for op in ("Div", "Mod"):
        by_none = numbers | {"b": np.array([1, 0], dtype)}
        case(f"{op} {dtype.__name__} by 0", it(op, "a", "b"), by_none, {"y": kind}, "'it'", "zero")
