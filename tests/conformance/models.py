"""Small models that the compute suite runs. ``python -m tests.conformance.models FOLDER`` writes
them, for places that have no onnx package."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper
from onnx.numpy_helper import from_array

OPSET = 18


def value(name: str, kind: int, shape: Sequence[int | str] | None) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def graph(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    weights: Sequence[TensorProto] = (),
) -> GraphProto:
    return helper.make_graph(nodes, "main", inputs, outputs, initializer=list(weights))


def model(of: GraphProto, opset: int = OPSET) -> ModelProto:
    return helper.make_model(of, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


F32, I64, BOOL, TEXT = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING


def affine_weights() -> tuple[np.ndarray, np.ndarray]:
    weight = np.arange(12, dtype=np.float32).reshape(4, 3) / 8
    return weight, np.array([1, -1, 0.5], np.float32)


def affine() -> ModelProto:
    """y[batch, 3] = x[batch, 4] @ weight + bias."""
    weight, bias = affine_weights()
    return model(
        graph(
            [
                helper.make_node("MatMul", ["x", "weight"], ["xw"], name="product"),
                helper.make_node("Add", ["xw", "bias"], ["y"], name="sum"),
            ],
            [value("x", F32, ["batch", 4])],
            [value("y", F32, ["batch", 3])],
            [from_array(weight, "weight"), from_array(bias, "bias")],
        )
    )


def branch() -> ModelProto:
    """y = x @ x where flag holds, else x: the flag steers the cost."""
    inside = value("inner", F32, None)
    yes = graph([helper.make_node("MatMul", ["x", "x"], ["inner"])], [], [inside])
    no = graph([helper.make_node("Identity", ["x"], ["inner"])], [], [inside])
    node = helper.make_node("If", ["flag"], ["y"], then_branch=yes, else_branch=no, name="choose")
    return model(
        graph(
            [node],
            [value("flag", BOOL, []), value("x", F32, ["n", "n"])],
            [value("y", F32, ["n", "n"])],
        )
    )


def gather() -> ModelProto:
    """y = table[index]; indices outside [-8, 7] are wrong."""
    table = from_array(np.arange(8, dtype=np.float32), "table")
    return model(
        graph(
            [helper.make_node("Gather", ["table", "index"], ["y"], name="pick")],
            [value("index", I64, ["n"])],
            [value("y", F32, ["n"])],
            [table],
        )
    )


def large() -> ModelProto:
    """y[1024, 1024] repeats x[1]: an output too large to travel in a completion."""
    shape = from_array(np.array([1024, 1024], np.int64), "shape")
    return model(
        graph(
            [helper.make_node("Expand", ["x", "shape"], ["y"], name="spread")],
            [value("x", F32, [1])],
            [value("y", F32, [1024, 1024])],
            [shape],
        )
    )


def twice() -> ModelProto:
    """Strings, once more after themselves."""
    return model(
        graph(
            [helper.make_node("Concat", ["text", "text"], ["both"], axis=0)],
            [value("text", TEXT, ["n"])],
            [value("both", TEXT, ["m"])],
        )
    )


def scaled() -> ModelProto:
    """y = x * factor, where factor is 2 unless it is given."""
    return model(
        graph(
            [helper.make_node("Mul", ["x", "factor"], ["y"])],
            [value("x", F32, ["n"]), value("factor", F32, [1])],
            [value("y", F32, ["n"])],
            [from_array(np.array([2], np.float32), "factor")],
        )
    )


def containers() -> ModelProto:
    """more = list with x behind; there = whether ``perhaps`` holds anything; short = x in int4."""
    floats = helper.make_tensor_type_proto(F32, None)
    perhaps = helper.make_optional_type_proto(floats)
    listed = helper.make_sequence_type_proto(floats)
    return model(
        graph(
            [
                helper.make_node("SequenceInsert", ["list", "x"], ["more"]),
                helper.make_node("OptionalHasElement", ["perhaps"], ["there"]),
                helper.make_node("Cast", ["x"], ["short"], to=TensorProto.INT4),
            ],
            [
                helper.make_value_info("list", listed),
                value("x", F32, ["n"]),
                helper.make_value_info("perhaps", perhaps),
            ],
            [
                helper.make_value_info("more", listed),
                value("there", BOOL, []),
                value("short", TensorProto.INT4, ["n"]),
            ],
        ),
        opset=21,
    )


def external() -> ModelProto:
    """A model whose weight is said to be in a file of the host."""
    made = affine()
    weight = made.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    entry = weight.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    return made


def beside() -> ModelProto:
    """``affine`` without a bias to speak of, whose weight is in a file beside it."""
    made = affine()
    weight, bias = made.graph.initializer
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="weight.bin")
    bias.CopyFrom(from_array(np.zeros(3, np.float32), bias.name))
    return made


ALL: dict[str, Callable[[], ModelProto]] = {
    make.__name__: make
    for make in (affine, branch, gather, large, twice, scaled, containers, external, beside)
}


def build(name: str) -> bytes:
    """A model by name."""
    return ALL[name]().SerializeToString()


if __name__ == "__main__":
    for each in ALL:
        (Path(sys.argv[1]) / f"{each}.onnx").write_bytes(build(each))
