"""Programs: right numbers, and a cost that is exact, cached by the right key and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from onnx.numpy_helper import from_array

from host_daemon.compiler.program import CompiledProgram, Target, compile_model
from tests.conformance import models
from tests.conformance.models import BOOL, F32, I64, graph, model, value
from vaccel.errors import Exhausted, InvalidArgument
from vaccel.model import DType

NODE = helper.make_node


def compiled(made: ModelProto, target: Target) -> CompiledProgram:
    return compile_model(made.SerializeToString(), target)


def ops(device: Any) -> list[str]:
    return [operation.op for operation in device.asked]


def test_only_the_branch_taken_is_counted(target: Target, device: Any) -> None:
    program = compiled(models.branch(), target)
    x = np.eye(3, dtype=np.float32) * 2
    yes = program.run({"flag": np.array(True), "x": x}, ["y"])
    assert ops(device) == ["MatMul"]
    no = program.run({"flag": np.array(False), "x": x}, ["y"])
    assert ops(device) == ["MatMul", "Identity"]
    assert yes.results["y"][0, 0] == 4
    assert no.results["y"][0, 0] == 2


def test_a_plan_is_found_once_per_shape_and_steering_value(target: Target, device: Any) -> None:
    program = compiled(models.branch(), target)
    for flag, size in [(True, 3), (True, 3), (True, 4), (False, 3), (True, 3), (False, 3)]:
        x = np.full((size, size), float(size), np.float32)
        program.run({"flag": np.array(flag), "x": x}, ["y"])
    assert len(device.asked) == 3


def test_every_turn_of_a_loop_is_counted(target: Target, device: Any) -> None:
    body = graph(
        [NODE("Identity", ["go"], ["on"]), NODE("Add", ["state", "x"], ["next"], name="add")],
        [value("turn", I64, []), value("go", BOOL, []), value("state", F32, None)],
        [value("on", BOOL, []), value("next", F32, None)],
    )
    node = NODE("Loop", ["trips", "", "x"], ["y"], body=body)
    made = model(
        graph([node], [value("x", F32, ["n"]), value("trips", I64, [])], [value("y", F32, ["n"])])
    )
    program = compiled(made, target)
    x = np.ones(3, np.float32)
    five = program.run({"x": x, "trips": np.array(5)}, ["y"])
    assert five.results["y"].tolist() == [6, 6, 6]
    # Identity passes one element: 2 cycles; Add writes three: 4 cycles.
    assert five.cost.critical_cycles == 5 * (2 + 4)
    assert five.cost.nodes == {"vector": 10}
    assert program.run({"x": x, "trips": np.array(7)}, ["y"]).cost.critical_cycles == 7 * 6


def test_operations_have_their_attributes_and_weights(target: Target, device: Any) -> None:
    weight = from_array(np.ones((2, 1, 3), np.float32), "w")
    nodes = [
        NODE("Conv", ["x", "w"], ["c"], strides=[2], pads=[1, 1], kernel_shape=[3]),
        NODE("Clip", ["c", "", "top"], ["y"]),
    ]
    top = value("top", F32, [])
    made = model(
        graph(nodes, [value("x", F32, [1, 1, "n"]), top], [value("y", F32, None)], [weight])
    )
    program = compiled(made, target)
    program.run({"x": np.ones((1, 1, 8), np.float32), "top": np.array(2, np.float32)}, ["y"])
    conv, clip = device.asked
    f32 = DType.FLOAT32
    assert conv.inputs == ((f32, (1, 1, 8)), (f32, (2, 1, 3)))
    assert conv.outputs == ((f32, (1, 2, 4)),)
    assert conv.attributes["strides"] == (2,)
    assert conv.constant_inputs == {1}
    # The input that is left out stays left out, and the next one keeps its place.
    assert clip.inputs == ((f32, (1, 2, 4)), None, (f32, ()))


def test_packed_weights_are_counted(target: Target, device: Any) -> None:
    program = compiled(models.affine(), target)
    program.run({"x": np.ones((2, 4), np.float32)}, ["y"])
    assert device.asked[0].inputs[1] == (DType.FLOAT32, (4, 3))


def test_half_precision_is_counted_as_what_it_is(target: Target, device: Any) -> None:
    half = TensorProto.FLOAT16
    weight = from_array(np.ones((4, 3), np.float16), "w")
    nodes = [NODE("MatMul", ["x", "w"], ["m"]), NODE("Sigmoid", ["m"], ["y"])]
    made = model(graph(nodes, [value("x", half, ["n", 4])], [value("y", half, ["n", 3])], [weight]))
    outcome = compiled(made, target).run({"x": np.ones((2, 4), np.float16)}, ["y"])
    assert outcome.results["y"].dtype == np.float16
    assert ops(device) == ["MatMul", "Sigmoid"]
    dtypes = {each[0] for operation in device.asked for each in operation.inputs if each}
    assert dtypes == {DType.FLOAT16}


def test_an_estimate_needs_the_values_that_steer(target: Target, device: Any) -> None:
    program = compiled(models.branch(), target)
    shapes = {"flag": (), "x": (3, 3)}
    with pytest.raises(InvalidArgument, match="flag"):
        program.estimate(shapes, {})
    guess = program.estimate(shapes, {"flag": np.array(True)})
    actual = program.run({"flag": np.array(True), "x": np.ones((3, 3), np.float32)}, ["y"])
    assert guess == actual.cost
    assert ops(device) == ["MatMul"]


def test_random_paths_are_costed_by_the_run_itself(target: Target, device: Any) -> None:
    nodes = [
        NODE("RandomUniformLike", ["x"], ["r"], high=2.0, low=0.0),
        NODE("Floor", ["r"], ["f"]),
        NODE("NonZero", ["f"], ["y"]),
    ]
    made = model(graph(nodes, [value("x", F32, ["n"])], [value("y", I64, None)]))
    program = compiled(made, target)
    for _ in range(4):
        device.asked.clear()
        outcome = program.run({"x": np.ones(1000, np.float32)}, ["y"])
        (counted,) = [o for o in device.asked if o.op == "NonZero"]
        assert counted.outputs[0][1] == outcome.results["y"].shape


def test_bad_values_name_the_node_and_leave_no_trace(target: Target) -> None:
    program = compiled(models.gather(), target)
    for _ in range(2):
        with pytest.raises(InvalidArgument, match=r"pick.*Gather.*99"):
            program.run({"index": np.array([99])}, ["y"])
    assert list(target.scratch.iterdir()) == []
    assert program.run({"index": np.array([7])}, ["y"]).results["y"].tolist() == [7]
    with pytest.raises(InvalidArgument, match="pick"):
        program.run({"index": np.array([-9])}, ["y"])
    assert list(target.scratch.iterdir()) == []


def test_a_run_that_is_too_long_to_trace(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    from vaccel import bounds

    monkeypatch.setattr(bounds, "TRACE_NODES", 1)
    with pytest.raises(Exhausted, match="2 nodes"):
        compiled(models.affine(), target).run({"x": np.ones((2, 4), np.float32)}, ["y"])


def test_division_by_zero_is_the_callers_fault(target: Target) -> None:
    ints = [value(name, I64, ["n"]) for name in "ab"]
    made = model(graph([NODE("Div", ["a", "b"], ["y"])], ints, [value("y", I64, ["n"])]))
    with pytest.raises(InvalidArgument, match="zero"):
        compiled(made, target).run({"a": np.array([1]), "b": np.array([0])}, ["y"])


def test_a_recurrence_over_nothing_is_refused_before_it_runs(target: Target) -> None:
    """ONNX Runtime would end the process."""
    weights = [
        from_array(np.ones((1, 4, 2), np.float32), "w"),
        from_array(np.ones((1, 4, 1), np.float32), "r"),
    ]
    nodes = [
        NODE("Relu", ["x"], ["positive"]),
        NODE("LSTM", ["positive", "w", "r"], ["y"], name="memory", hidden_size=1),
    ]
    inputs, outputs = [value("x", F32, ["t", "b", 2])], [value("y", F32, None)]
    program = compiled(model(graph(nodes, inputs, outputs, weights)), target)
    for shape in ((0, 1, 2), (1, 0, 2)):
        with pytest.raises(InvalidArgument, match=r"'memory' \(LSTM\): an operand has no elements"):
            program.run({"x": np.ones(shape, np.float32)}, ["y"])
    assert program.run({"x": np.ones((1, 1, 2), np.float32)}, ["y"]).results["y"].shape[0] == 1
