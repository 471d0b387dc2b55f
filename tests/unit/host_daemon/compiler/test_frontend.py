"""Hostile models: each is refused, with the name of what is wrong, and no file is opened."""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import FunctionProto, ModelProto, TensorProto, helper
from onnx.numpy_helper import from_array

from host_daemon.compiler import frontend
from tests.conformance import models
from tests.conformance.models import F32, graph, model, value
from vaccel import bounds
from vaccel.errors import InvalidModel, Unsupported, VaccelError

X, Y = value("x", F32, ["n"]), value("y", F32, ["n"])


def one(op: str, *inputs: str, **attributes: object) -> ModelProto:
    domain = str(attributes.pop("domain", ""))
    node = helper.make_node(op, inputs or ("x",), ["y"], name="it", domain=domain, **attributes)
    made = model(graph([node], [X], [Y]))
    if domain:
        made.opset_import.append(helper.make_opsetid(domain, 1))
    return made


def with_weight(tensor: TensorProto) -> ModelProto:
    node = helper.make_node("Add", ["x", tensor.name], ["y"], name="it")
    return model(graph([node], [X], [Y], [tensor]))


def external(location: str) -> ModelProto:
    tensor = from_array(np.ones(2, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return with_weight(tensor)


def external_in_constant() -> ModelProto:
    made = one("Constant", value=from_array(np.ones(2, np.float32), "c"))
    made.graph.node[0].ClearField("input")
    tensor = made.graph.node[0].attribute[0].t
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../weights")
    return made


def external_in_branch() -> ModelProto:
    inner = value("inner", F32, None)
    node = helper.make_node("Identity", ["w"], ["inner"])
    bad = graph([node], [], [inner], list(external("C:\\weights").graph.initializer))
    made = models.branch()
    made.graph.node[0].attribute[0].g.CopyFrom(bad)
    return made


def oversized(dims: list[int]) -> ModelProto:
    tensor = from_array(np.ones(2, np.float32), "w")
    tensor.ClearField("dims")
    tensor.dims.extend(dims)
    return with_weight(tensor)


def nested(depth: int) -> ModelProto:
    inner = graph([helper.make_node("Identity", ["x"], ["y0"])], [], [value("y0", F32, None)])
    for level in range(1, depth):
        node = helper.make_node("If", ["c"], [f"y{level}"], then_branch=inner, else_branch=inner)
        # One branch only, or its size would double with each level.
        node.attribute.pop()
        inner = graph([node], [], [value(f"y{level}", F32, None)])
    outer = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    return model(graph([outer], [X, value("c", TensorProto.BOOL, [])], [Y]))


def circle() -> ModelProto:
    nodes = [helper.make_node("Relu", ["b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    return model(graph([*nodes, helper.make_node("Add", ["x", "b"], ["y"])], [X], [Y]))


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


def bomb() -> ModelProto:
    """Functions, each of which calls the next one twice."""
    return functions(
        *[function(f"f{n}", [f"f{n + 1}"] * 2) for n in range(20)], function("f20", [])
    )


def wrong_opset(version: int) -> ModelProto:
    made = one("Relu")
    made.opset_import[0].version = version
    return made


def newest_ir() -> ModelProto:
    made = one("Relu")
    made.ir_version = 99
    return made


def with_name(name: str) -> ModelProto:
    made = model(graph([helper.make_node("Relu", [name], ["y"])], [value(name, F32, ["n"])], [Y]))
    return made


def no_outputs() -> ModelProto:
    made = one("Relu")
    made.graph.ClearField("output")
    return made


def duplicate_output() -> ModelProto:
    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Abs", ["x"], ["y"])]
    return model(graph(nodes, [X], [Y]))


HOSTILE: list[tuple[str, Callable[[], ModelProto], type[VaccelError], str]] = [
    ("absolute path", lambda: external("/etc/shadow"), InvalidModel, "'w'"),
    ("relative path", lambda: external("../../../etc/shadow"), InvalidModel, "shadow"),
    ("url", lambda: external("http://host/weights"), InvalidModel, "http"),
    ("no location", lambda: external(""), InvalidModel, "'w'"),
    ("in a constant", external_in_constant, InvalidModel, "'it'"),
    ("in a branch", external_in_branch, InvalidModel, "weights"),
    ("negative dimension", lambda: oversized([-2, -1]), InvalidModel, "[-2, -1]"),
    ("overflowing size", lambda: oversized([1 << 32, 1 << 32]), InvalidModel, "'w'"),
    ("too little data", lambda: oversized([3]), InvalidModel, "12 bytes"),
    ("rank", lambda: oversized([1] * 40), InvalidModel, "'w'"),
    ("deep graphs", lambda: nested(bounds.MODEL_DEPTH + 2), InvalidModel, "deeper"),
    ("circle", circle, InvalidModel, "topological"),
    ("recursive function", lambda: functions(function("f0", ["f0"])), InvalidModel, "f0"),
    ("function bomb", bomb, InvalidModel, "nodes"),
    ("no opset", lambda: wrong_opset(0), Unsupported, "opset is 0"),
    ("future opset", lambda: wrong_opset(999), Unsupported, "opset is 999"),
    ("future ir", newest_ir, Unsupported, "99"),
    ("unknown domain", lambda: one("Relu", domain="evil.corp"), Unsupported, "evil.corp"),
    ("unknown op", lambda: one("Frobnicate"), InvalidModel, "Frobnicate"),
    ("no outputs", no_outputs, InvalidModel, "graph.output"),
    ("duplicate output", duplicate_output, InvalidModel, "y"),
    ("undefined input", lambda: one("Relu", "nothing"), InvalidModel, "nothing"),
]


@pytest.mark.parametrize(
    ("make", "kind", "word"), [case[1:] for case in HOSTILE], ids=[case[0] for case in HOSTILE]
)
def test_hostile_models_are_refused(
    make: Callable[[], ModelProto],
    kind: type[VaccelError],
    word: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = make().SerializeToString()

    def no_files(*args: object, **kwargs: object) -> object:
        raise AssertionError(f"opened {args}")

    with monkeypatch.context() as patch:
        for owner, name in ((builtins, "open"), (io, "open"), (os, "open")):
            patch.setattr(owner, name, no_files)
        with pytest.raises(kind) as caught:
            frontend.read(data)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_model_of_an_old_opset_is_converted() -> None:
    made = with_weight(from_array(np.ones(600, np.float32), "w"))
    made.graph.node[0].attribute.append(helper.make_attribute("broadcast", 1))
    made.opset_import[0].version = 6
    made.ir_version = 3
    made.graph.input.append(value("w", F32, [600]))
    made.graph.input[0].CopyFrom(value("x", F32, [2, 600]))
    made.graph.output[0].CopyFrom(value("y", F32, [2, 600]))
    checked = frontend.read(made.SerializeToString())
    assert [o.version for o in checked.proto.opset_import] == [7]
    assert not checked.proto.graph.node[0].attribute
    assert list(checked.weights) == ["w"]


def test_too_many_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MODEL_NODES", 3)
    with pytest.raises(InvalidModel, match="3 nodes"):
        frontend.read(chain(4).SerializeToString())


def chain(length: int) -> ModelProto:
    names = ["x", *(f"v{n}" for n in range(1, length)), "y"]
    nodes = [helper.make_node("Relu", [a], [b]) for a, b in pairwise(names)]
    return model(graph(nodes, [X], [Y]))


def test_nodes_get_names_of_their_own() -> None:
    made = chain(4)
    for node, name in zip(made.graph.node, ("same", "same", "", "a\nb"), strict=True):
        node.name = name
    names = [node.name for node in frontend.read(made.SerializeToString()).proto.graph.node]
    assert names[0] == "same"
    assert len(set(names)) == 4
    assert all(name.isprintable() and name for name in names)


def test_functions_are_unfolded() -> None:
    made = functions(function("f0", ["f1", "f1"]), function("f1", []))
    checked = frontend.read(made.SerializeToString())
    assert not checked.proto.functions
    assert {node.op_type for node in checked.proto.graph.node} == {"Relu", "Identity"}


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_bytes_at_random_are_no_model(data: bytes) -> None:
    with pytest.raises((InvalidModel, Unsupported)):
        frontend.read(data)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_flipped_byte_is_refused_or_harmless(data: st.DataObject) -> None:
    good = bytearray(models.build("branch"))
    at = data.draw(st.integers(0, len(good) - 1))
    good[at] ^= data.draw(st.integers(1, 255))
    try:
        frontend.read(bytes(good))
    except (InvalidModel, Unsupported) as error:
        assert "\n" not in str(error)


def test_an_old_model_whose_weights_are_no_inputs_is_read_as_it_was_meant() -> None:
    made = with_weight(from_array(np.ones(3, np.float32), "w"))
    made.ir_version = 3
    assert frontend.read(made.SerializeToString()).proto.ir_version == 4


def test_weights_of_ir_version_3_are_constants_though_they_are_inputs() -> None:
    made = with_weight(from_array(np.ones(3, np.float32), "w"))
    made.graph.input.append(value("w", F32, [3]))
    assert [v.name for v in frontend.read(made.SerializeToString()).proto.graph.input] == ["x", "w"]
    made.ir_version = 3
    assert [v.name for v in frontend.read(made.SerializeToString()).proto.graph.input] == ["x"]
