"""Errors within what ONNX Runtime writes out are about a node of the model, by its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TypeProto, ValueInfoProto, helper
from onnx.numpy_helper import from_array

from host_daemon.compiler import frontend
from host_daemon.compiler.composed import named
from host_daemon.compiler.program import Target, compile_model
from tests.conformance.models import BOOL, F32, I64, graph, model, value
from vaccel.errors import InvalidArgument, InvalidModel

NODE = helper.make_node
SCALES = [from_array(np.ones(4, np.float32), name) for name in "sb"]


def grouped(name: str, x: str, y: str) -> NodeProto:
    return NODE("GroupNormalization", [x, "s", "b"], [y], num_groups=2, name=name)


def over(nodes: Sequence[NodeProto], *inputs: ValueInfoProto) -> ModelProto:
    takes = inputs or (value("x", F32, [None] * 3),)
    return model(graph(nodes, takes, [value("y", F32, None)], SCALES), 21)


def fails(proto: ModelProto, target: Target, **inputs: Any) -> str:
    program = compile_model(proto.SerializeToString(), target)
    with pytest.raises(InvalidArgument) as caught:
        program.run(inputs, ["y"])
    return caught.value.message


NOTHING = np.ones((0, 4, 2), np.float32)


def test_the_node_that_was_written_out(target: Target) -> None:
    text = fails(over([grouped("it", "x", "y")]), target, x=NOTHING)
    assert text.startswith("launch failed: node 'it' (GroupNormalization): in its Reshape: The in")
    after = [grouped("it", "x", "z"), NODE("Reshape", ["z", "to"], ["y"], name="other")]
    proto = over(after)
    proto.graph.initializer.append(from_array(np.array([-1]), "to"))
    assert "node 'it' (GroupNormalization): in its Reshape" in fails(proto, target, x=NOTHING)


def test_a_loss_of_nothing(target: Target) -> None:
    node = NODE("SoftmaxCrossEntropyLoss", ["x", "l"], ["y"], name="it")
    proto = over([node], value("x", F32, ["n", "c"]), value("l", I64, ["n"]))
    text = fails(proto, target, x=np.ones((0, 3), np.float32), l=np.zeros(0, np.int64))
    assert "node 'it' (SoftmaxCrossEntropyLoss): in its Reshape" in text


def test_one_of_several(target: Target) -> None:
    text = fails(over([grouped("one", "x", "z"), grouped("two", "z", "y")]), target, x=NOTHING)
    assert "one of nodes 'one', 'two' (GroupNormalization): in its Reshape" in text


def test_within_a_branch(target: Target) -> None:
    then = graph([grouped("it", "x", "g")], [], [value("g", F32, None)])
    other = graph([NODE("Neg", ["x"], ["n"])], [], [value("n", F32, None)])
    node = NODE("If", ["flag"], ["y"], name="branch", then_branch=then, else_branch=other)
    proto = over([node], value("x", F32, [None] * 3), value("flag", BOOL, []))
    assert "node 'it' (GroupNormalization)" in fails(
        proto, target, x=NOTHING, flag=np.array(True)
    )


def test_other_errors_stay() -> None:
    fault = InvalidArgument("launch failed: node 'a' (Add): no", hint="this")
    assert named(fault, [grouped("it", "x", "y")]) is fault
    nameless = InvalidArgument("launch failed: node '' (Add): no")
    assert named(nameless, [NODE("Relu", ["x"], ["y"], name="r")]) is nameless
    many = [grouped(f"n{index}", "x", "y") for index in range(9)]
    assert named(nameless, many).message == (
        "launch failed: one of nodes 'n0', 'n1', 'n2', 'n3', ... (GroupNormalization): in its Add:"
        " no"
    )


UNTYPED = [
    ValueInfoProto(name="z"),
    ValueInfoProto(name="z", type=TypeProto()),
    ValueInfoProto(name="z", type=TypeProto(tensor_type=TypeProto.Tensor())),
]


@pytest.mark.parametrize("untyped", UNTYPED)
def test_an_output_or_an_input_without_a_type_is_named(untyped: ValueInfoProto) -> None:
    typed = value("x", F32, None)
    out = graph([NODE("Relu", ["x"], ["z"])], [typed], [untyped])
    into = graph([NODE("Relu", ["z"], ["x"])], [untyped], [typed])
    for made, noun in ((out, "output"), (into, "input")):
        with pytest.raises(InvalidModel, match=f"^{noun} 'z' has no type"):
            frontend.read(model(made).SerializeToString())


@pytest.mark.parametrize(
    ("op", "settings", "shape", "words"),
    [
        ("MaxPool", {"kernel_shape": [2, 2]}, (1, 0, 4, 4), "Invalid input shape. Only N"),
        ("ArgMax", {"axis": 1}, (2, 0, 1, 1), "it does not take these operands"),
    ],
)
def test_no_text_names_functions_of_onnx_runtime(
    target: Target, op: str, settings: dict[str, Any], shape: tuple[int, ...], words: str
) -> None:
    made = graph(
        [NODE(op, ["x"], ["y"], name="it", **settings)],
        [value("x", F32, [None] * 4)],
        [value("y", I64 if op == "ArgMax" else F32, None)],
    )
    text = fails(model(made), target, x=np.ones(shape, np.float32))
    assert text.startswith(f"launch failed: node 'it' ({op}): {words}")
