"""Names of sizes: what a launch is held to, what it is not, and what nobody then relies on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper
from onnx.numpy_helper import from_array

from host_daemon.compiler.program import CompiledProgram, Target, compile_model
from tests.conformance.models import F32, I64, graph, model, value
from vaccel.binding import bind
from vaccel.errors import InvalidArgument, InvalidModel

NODE = helper.make_node
ONES, EMPTY = np.ones((5, 2), np.float32), np.zeros((0, 3), np.float32)
# Where ONNX Runtime lets the second sum take the first one's memory, if one symbol is their size.
REUSING = [
    NODE("Exp", ["x"], ["a"]),
    NODE("ReduceSum", ["a"], ["s"], keepdims=0),
    NODE("Add", ["z", "s"], ["b"]),
    NODE("Exp", ["b"], ["c"]),
    NODE("ReduceSum", ["c"], ["y"], keepdims=0),
]


def compiled(proto: ModelProto, target: Target) -> CompiledProgram:
    return compile_model(proto.SerializeToString(), target)


def two_lines(symbol: str) -> ModelProto:
    inputs = [value(name, F32, [symbol]) for name in "xz"]
    return model(graph(REUSING, inputs, [value("y", F32, None)]))


@pytest.mark.parametrize("name", ["?", "None", "none", "*", "unknown", "dynamic", "unk__0", "NULL"])
def test_names_that_say_nothing_stand_for_no_size(target: Target, name: str) -> None:
    program = compiled(two_lines(name), target)
    assert [port.shape for port in program.inputs] == [(None,), (None,)]
    given = {"x": np.zeros(3, np.float32), "z": np.zeros(500, np.float32)}
    bind(program.inputs, (), given)
    result = program.run(given, ["y"]).results["y"]
    assert result == pytest.approx(500 * np.exp(3), rel=1e-5)


@pytest.mark.parametrize("name", ["batch", "n", "unk", "dynamically"])
def test_other_names_are_one_size(target: Target, name: str) -> None:
    if name == "unk":  # in one place alone it may be one
        proto = model(graph([NODE("Exp", ["x"], ["y"])], [value("x", F32, [name])],
                            [value("y", F32, [name])]))  # fmt: skip
        program = compiled(proto, target)
        assert program.inputs[0].shape == program.outputs[0].shape == (name,)
        return
    program = compiled(two_lines(name), target)
    with pytest.raises(InvalidArgument, match=f"{name} is 3 in input 'x'"):
        bind(program.inputs, (np.zeros(3, np.float32), np.zeros(5, np.float32)), {})


def joined(nodes: Sequence[NodeProto], *inputs: Any, weights: Sequence[Any] = ()) -> ModelProto:
    own = [from_array(np.array(each, np.int64), f"at{each}") for each in (0, 1)]
    taken = {name for node in nodes for name in node.input}
    kept = [each for each in own if each.name in taken]
    return model(graph(nodes, inputs, [value("y", F32, None)], [*kept, *weights]), 18)


X, OTHER = value("x", F32, ["n", "m"]), value("z", F32, ["n", "k"])
TYPE = helper.make_tensor_type_proto(TensorProto.FLOAT, ["n", "k"])
JOIN = NODE("Concat", ["x", "z"], ["y"], name="it", axis=1)
ITEMS = helper.make_value_info("q", helper.make_sequence_type_proto(TYPE))
PERHAPS = helper.make_value_info("o", helper.make_optional_type_proto(TYPE))
UNHELD: dict[str, tuple[ModelProto, Mapping[str, Any]]] = {
    "a default that is left out": (
        joined([JOIN], X, OTHER, weights=[from_array(EMPTY, "z")]),
        {"x": ONES},
    ),
    "a sequence": (
        joined([
            NODE("SequenceAt", ["q", "at0"], ["x"]),
            NODE("SequenceAt", ["q", "at1"], ["z"]),
            JOIN,
        ], ITEMS),
        {"q": [ONES, EMPTY]},
    ),
    "an optional": (
        joined([NODE("OptionalGetElement", ["o"], ["z"]), JOIN], X, PERHAPS),
        {"x": ONES, "o": EMPTY},
    ),
    "a default that is replaced": (
        joined(
            [NODE("Expand", ["one", "to"], ["z"]), JOIN],
            value("x", F32, [5, 2]), value("one", F32, [1, 1]), value("to", I64, [2]),
            weights=[from_array(np.array([5, 3]), "to")],
        ),
        {"x": ONES, "one": np.ones((1, 1), np.float32), "to": np.array([0, 3])},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNHELD)
def test_symbols_that_no_launch_is_held_to_prove_nothing(target: Target, case: str) -> None:
    """The join would leave holes, with memory of earlier launches in them."""
    proto, given = UNHELD[case]
    program = compiled(proto, target)
    bind(program.inputs, (), given)
    with pytest.raises(InvalidArgument, match="'it' joins tensors that differ"):
        program.run(given, ["y"])


def test_a_default_has_to_fit_what_its_input_says(target: Target) -> None:
    wrong = joined([JOIN], X, value("z", F32, [5, 3]), weights=[from_array(EMPTY, "z")])
    with pytest.raises(InvalidModel, match=r"\(0\) vs \(5\)"):
        compiled(wrong, target)
