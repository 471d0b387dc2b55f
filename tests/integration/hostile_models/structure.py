"""Models whose graphs are too large, too deep, circles, or no graphs at all."""

from __future__ import annotations

import numpy as np
from onnx import FunctionProto, ModelProto, helper
from onnx.numpy_helper import from_array

from tests.conformance.models import F32, graph, model, value
from tests.integration.hostile_models.hostile import (
    Hostile,
    X,
    Y,
    add,
    adding_to,
    changed,
    one,
    weighted,
)
from tests.integration.hostile_models.wire import field, spliced
from vaccel import bounds
from vaccel.errors import InvalidModel, Unsupported


def million_nodes() -> bytes:
    node = field(1, b"x") + field(2, b"y") + field(4, b"Relu")
    return spliced(field(1, node) * 1_000_000)


def nested(depth: int) -> bytes:
    """Branches within branches, written from the inside out."""
    inner = field(1, field(2, b"o") + field(1, b"x") + field(4, b"Identity"))
    for _ in range(depth):
        attribute = field(1, b"then_branch") + field(6, inner) + b"\xa0\x01\x05"
        inner = field(
            1,
            field(1, b"c")
            + field(2, b"o")
            + field(3, b"deep")
            + field(4, b"If")
            + field(5, attribute),
        )
    return spliced(inner)


def function(name: str, calls: list[str]) -> FunctionProto:
    nodes = [
        helper.make_node(call, ["i"], [f"o{n}"], domain="mine") for n, call in enumerate(calls)
    ] or [helper.make_node("Relu", ["i"], ["o0"])]
    last = [*nodes, helper.make_node("Identity", [nodes[-1].output[0]], ["o"])]
    ids = [helper.make_opsetid("", 18), helper.make_opsetid("mine", 1)]
    return helper.make_function("mine", name, ["i"], ["o"], last, ids)


def functions(*given: FunctionProto) -> ModelProto:
    made = one("f0", domain="mine")
    made.functions.extend(given)
    return made


def tower(depth: int, width: int) -> ModelProto:
    each = [function(f"f{n}", [f"f{n + 1}"] * width) for n in range(depth)]
    return functions(*each, function(f"f{depth}", []))


def attributes(count: int) -> bytes:
    node = field(1, b"x") + field(2, b"y") + field(3, b"wide") + field(4, b"Relu")
    return spliced(field(1, node + field(5, b"") * count))


def values(count: int) -> bytes:
    return spliced(field(13, field(2, field(1, field(2, field(1, b"") * 8)))) * count)


def deep_type() -> bytes:
    inner = b""
    for _ in range(1000):
        inner = field(4, field(1, inner))
    return spliced(field(11, field(1, b"z") + field(2, inner)))


def many(count: int, noun: str) -> ModelProto:
    made = one("Relu")
    for n in range(count):
        named = value(f"more{n}", F32, [1])
        (made.graph.input if noun == "input" else made.graph.output).append(named)
        if noun == "output":
            made.graph.node.append(helper.make_node("Relu", ["x"], [f"more{n}"]))
    return made


CASES: list[Hostile] = []
case = adding_to(CASES)

case("a million nodes", million_nodes, f"{bounds.MODEL_NODES} nodes")
case("empty nodes", lambda: spliced(b"\x0a\x00" * 300_000), f"{bounds.MODEL_NODES} nodes")
case("attributes", lambda: attributes(1_100_000), "'wide'", "parts")
case("descriptions", lambda: values(400_000), "parts")
case("graphs 1000 deep", lambda: nested(1000), "'deep'", "deeper")
case("graphs a little deep", lambda: nested(bounds.MODEL_DEPTH + 2), "'deep'", "deeper")
case("types 1000 deep", deep_type, "deeper")
case("functions 1000 deep", lambda: tower(1000, 1), "deeper")
case("functions that double", lambda: tower(20, 2), "nodes")
case("a function of itself", lambda: functions(function("f0", ["f0"])), "f0", "itself")
case(
    "functions in a circle",
    lambda: functions(function("f0", ["f1"]), function("f1", ["f0"])),
    "itself",
)
case(
    "no such function",
    lambda: functions(function("f0", ["f9"])),
    "f9",
    kinds=(InvalidModel, Unsupported),
)
case(
    "circle",
    lambda: model(
        graph(
            [add("x", "b", "a", "it"), helper.make_node("Relu", ["a"], ["b"]), add("x", "b", "y")],
            [X],
            [Y],
        )
    ),
    "'it'",
)
case("a node of itself", lambda: one("Add", "x", "y"), "'it'")
case("undefined", lambda: one("Relu", "nothing"), "'it'", "nothing")
case(
    "no maker",
    lambda: changed(one("Relu"), lambda m: m.graph.output.append(value("z", F32, [1]))),
    "z",
)
case(
    "two makers",
    lambda: changed(
        one("Relu"),
        lambda m: m.graph.node.append(helper.make_node("Abs", ["x"], ["y"], name="again")),
    ),
    "y",
)
case(
    "one output twice",
    lambda: model(
        graph(
            [helper.make_node("Split", ["x"], ["y", "y"], name="it", axis=0, num_outputs=2)],
            [X],
            [Y],
        )
    ),
    "y",
)
case("one input twice", lambda: changed(one("Relu"), lambda m: m.graph.input.append(X)), "x")
case(
    "two weights of a name",
    lambda: changed(
        weighted(from_array(np.ones(2, np.float32), "w")),
        lambda m: m.graph.initializer.append(from_array(np.ones(2, np.float32), "w")),
    ),
    "w",
)
case("too many inputs", lambda: many(5000, "input"), "inputs")
case("too many outputs", lambda: many(5000, "output"), "outputs")
case("no outputs", lambda: changed(one("Relu"), lambda m: m.graph.ClearField("output")), "output")
case("no graph", lambda: changed(one("Relu"), lambda m: m.ClearField("graph")), "output")
