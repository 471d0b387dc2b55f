"""Outputs that a model leaves out, of kernels that would write them all the same."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper

from host_daemon.compiler.program import Target, compile_model

FLOAT = TensorProto.FLOAT
X = np.arange(6, dtype=np.float32).reshape(2, 3)


def run(target: Target, nodes: list[NodeProto], shape: list[int | None]) -> np.ndarray:
    ends = [helper.make_tensor_value_info("x", FLOAT, [2, 3])]
    outs = [helper.make_tensor_value_info("y", FLOAT, shape)]
    graph = helper.make_graph(nodes, "main", ends, outs)
    opset = [helper.make_opsetid("", 21)]
    data = helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()
    return np.asarray(compile_model(data, target).run({"x": X}, ["y"]).results["y"])


@pytest.mark.parametrize("present", [0, 1, 2])
def test_parts_of_a_split(target: Target, present: int) -> None:
    outputs = ["y" if index == present else "" for index in range(3)]
    node = helper.make_node("Split", ["x"], outputs, axis=1, num_outputs=3)
    assert np.array_equal(run(target, [node], [2, 1]), X[:, present : present + 1])


def test_the_state_of_a_loop(target: Target) -> None:
    def scalar(name: str, kind: int, shape: list[int]) -> object:
        return helper.make_tensor_value_info(name, kind, shape)

    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["on"]),
            helper.make_node("Add", ["so_far", "so_far"], ["after"]),
            helper.make_node("Identity", ["after"], ["seen"]),
        ],
        "body",
        [
            scalar("turn", TensorProto.INT64, []),
            scalar("go", TensorProto.BOOL, []),
            scalar("so_far", FLOAT, [2, 3]),
        ],
        [
            scalar("on", TensorProto.BOOL, []),
            scalar("after", FLOAT, [2, 3]),
            scalar("seen", FLOAT, [2, 3]),
        ],
    )
    count = helper.make_node("Constant", [], ["count"], value_int=3)
    loop = helper.make_node("Loop", ["count", "", "x"], ["", "y"], body=body)
    assert np.array_equal(run(target, [count, loop], [3, 2, 3]), np.stack([2 * X, 4 * X, 8 * X]))


def test_the_mean_of_a_batch_normalisation(target: Target) -> None:
    names = ("scale", "bias", "mean", "var")
    # Of equal constants ONNX Runtime makes one, and then writes the new mean over the scale, too.
    made = [
        helper.make_node("Constant", [], [name], value_floats=[1.0 + index] * 3)
        for index, name in enumerate(names)
    ]
    outputs = ["y", "", "variance"]
    node = helper.make_node("BatchNormalization", ["x", *names], outputs, training_mode=1)
    found = run(target, [*made, node], [2, 3])
    np.testing.assert_allclose(found, 2 + (X - X.mean(axis=0)) / X.std(axis=0), atol=1e-4)
