"""Large weights are copied once, stay apart from the graph, and count as they should."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from onnx.numpy_helper import from_array, to_array

from host_daemon.compiler import frontend, sessions, weights, wire
from host_daemon.compiler.program import Target, compile_model
from tests.conformance.models import F32, graph, model, value
from vaccel.bench.compile import resident
from vaccel.errors import InvalidModel


def dense(rows: int = 64, fields: str = "raw") -> ModelProto:
    """y = x @ w, w as raw bytes or as a field of floats."""
    w = np.arange(rows * 16, dtype=np.float32).reshape(rows, 16)
    tensor = from_array(w, "w")
    if fields == "floats":
        tensor = helper.make_tensor("w", TensorProto.FLOAT, w.shape, w.ravel())
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="it")
    relu = helper.make_node("Relu", ["y"], ["z"], name="after")
    return model(
        graph([node, relu], [value("x", F32, ["n", rows])], [value("z", F32, None)], [tensor])
    )


@pytest.mark.parametrize("fields", ["raw", "floats"])
def test_a_large_weight_is_apart_and_computes(fields: str, target: Target, device: Any) -> None:
    data = dense(fields=fields).SerializeToString()
    checked = frontend.read(data)
    assert list(checked.weights) == ["w"]
    assert checked.weight_bytes == 64 * 16 * 4
    (tensor,) = checked.proto.graph.initializer
    assert weights.is_apart(tensor) and not tensor.raw_data and not tensor.float_data
    program = compile_model(data, target)
    x = np.ones((2, 64), np.float32)
    results = program.run({"x": x}, ["z"]).results
    np.testing.assert_allclose(results["z"], x @ checked.weights["w"])
    assert device.asked[0].constant_inputs == {1}


def test_a_graph_can_have_its_weights_back() -> None:
    made = dense()
    checked = frontend.read(made.SerializeToString())
    back = weights.inlined(checked.proto.graph, checked.weights)
    np.testing.assert_array_equal(
        to_array(back.initializer[0]), to_array(made.graph.initializer[0])
    )


def test_small_tensors_stay_in_the_graph() -> None:
    checked = frontend.read(dense(rows=2).SerializeToString())
    assert not checked.weights and checked.proto.graph.initializer[0].raw_data


def test_a_shape_that_its_bytes_do_not_fill_is_named() -> None:
    made = dense()
    made.graph.initializer[0].dims[0] = 65
    with pytest.raises(InvalidModel, match=r"'w' of shape .65, 16. needs 4160 bytes and has 4096"):
        frontend.read(made.SerializeToString())


def test_two_weights_of_one_name_are_refused() -> None:
    made = dense()
    made.graph.initializer.add().CopyFrom(made.graph.initializer[0])
    with pytest.raises(InvalidModel, match="'w' is there twice"):
        frontend.read(made.SerializeToString())


def test_what_is_cut_is_all_that_is_cut() -> None:
    data = dense().SerializeToString()
    skeleton = wire.cut_weights(memoryview(data))
    (cut,) = skeleton.cuts.values()
    assert len(skeleton.data) + cut.end - cut.start < len(data) < len(skeleton.data) + 5000
    again = ModelProto.FromString(skeleton.data)
    whole = ModelProto.FromString(data)
    whole.graph.initializer[0].ClearField("raw_data")
    assert again == whole


def convolution() -> ModelProto:
    """y = conv(x, w): ONNX Runtime lays w out anew."""
    w = np.random.default_rng(5).standard_normal((64, 64, 3, 3), np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="it", pads=[1] * 4)
    dims = [1, 64, 8, 8]
    return model(
        graph([node], [value("x", F32, dims)], [value("y", F32, dims)], [from_array(w, "w")])
    )


def test_weights_that_are_lent_give_what_they_give_within_the_graph(
    target: Target, device: Any
) -> None:
    data = convolution().SerializeToString()
    x = np.random.default_rng(6).standard_normal((1, 64, 8, 8), np.float32)
    program = compile_model(data, target)
    plain = sessions.open_session(data, sessions.options(1))
    for _ in range(2):
        results = program.run({"x": x}, ["y"]).results
        np.testing.assert_array_equal(results["y"], plain.run(None, {"x": x})[0])


def test_a_session_over_lent_weights_takes_no_copy_of_them() -> None:
    table = np.zeros((1 << 16, 256), np.float32)
    node = helper.make_node("Gather", ["w", "x"], ["y"], name="it")
    made = model(
        graph(
            [node],
            [value("x", TensorProto.INT64, ["n"])],
            [value("y", F32, ["n", 256])],
            [TensorProto(name="w", data_type=F32, dims=table.shape)],
        )
    )
    weights.mark(made, {"w": table})
    apart = weights.placed(made.graph, {"w": table})
    data = made.SerializeToString()
    table[7] = 7
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew: proc(5)
    before = resident(os.getpid(), "VmHWM")
    session = sessions.open_session(data, sessions.options(1), apart)
    assert resident(os.getpid(), "VmHWM") - before < table.nbytes / 2
    given = session.run(None, {"x": np.array([7], np.int64)})[0]
    np.testing.assert_array_equal(given, table[7:8])
