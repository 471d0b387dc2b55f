"""Where products run, and why: on tiles, or in digital where other weights took them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.numpy_helper import from_array

from host_daemon.compiler import frontend
from host_daemon.compiler.explain import Question, explain
from host_daemon.compiler.program import CompiledProgram, Target
from host_daemon.core.device import ARITHMETIC, MAX_ERROR
from host_daemon.devices.nvm.device import NvmDevice
from vaccel.errors import Exhausted, InvalidArgument, Unsupported
from vaccel.model import Array

from .conftest import Rig, error, level, normal

FIRST, SECOND = normal(512, 256, seed=5) / 20, normal(256, 512, seed=6) / 20
X = normal(8, 512, seed=7)


def two(**said: str) -> onnx.ModelProto:
    """y = relu(x FIRST) SECOND; what is said is said of the second product: two tiles each."""
    nodes = [
        helper.make_node("MatMul", ["x", "v"], ["h"], name="first"),
        helper.make_node("Relu", ["h"], ["r"], name="relu"),
        helper.make_node("MatMul", ["r", "w"], ["y"], name="second"),
    ]
    for key, value in said.items():
        nodes[2].metadata_props.add(key=f"vaccel.{key}", value=value)
    return model(nodes, [512], [512], v=FIRST, w=SECOND)


def model(
    nodes: list[onnx.NodeProto], takes: list[int], gives: list[int], **weights: Array
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "main",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *takes])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", *gives])],
        initializer=[from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[..., CompiledProgram]:
    def make(proto: onnx.ModelProto, device: NvmDevice) -> CompiledProgram:
        checked = frontend.read(memoryview(proto.SerializeToString()))
        return CompiledProgram(checked, Target(device, 1, tmp_path))

    return make


def test_what_finds_no_tile_runs_in_digital_and_says_why(
    rig: Callable[..., Rig], compiled: Callable[..., CompiledProgram], tmp_path: Path
) -> None:
    device = rig().device()
    blocker = compiled(model(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="other")], [512], [256], w=-FIRST
    ), device)
    program = compiled(two(), device)
    assert set(program.spilled) == {"second"}
    outcome = program.run({"x": X}, ["y"])
    assert outcome.cost.nodes == {"tiles": 1, "digital": 2}
    exact = np.maximum(X @ FIRST, 0) @ SECOND
    assert 0 < error(outcome.results["y"], exact) < 0.25
    assert level(device, "products in digital") == "warning"

    checked = frontend.read(memoryview(two().SerializeToString()))
    target = Target(device, 1, tmp_path)
    said = explain(checked, program, target, device.profile, Question({"x": (8, 512)}))
    why = {row["name"]: row["why"] for row in said["nodes"]}
    assert "need 2 tiles of 256x256: of 4 here 4 hold weights in use" in why["second"]
    assert "tiles" in why["first"]

    program.close()
    assert all(each.name != "products in digital" for each in device.condition())
    blocker.close()
    assert compiled(two(), device).run({"x": X}, ["y"]).cost.nodes == {"tiles": 2, "digital": 1}


def test_who_states_analog_is_refused_instead(
    rig: Callable[..., Rig], compiled: Callable[..., CompiledProgram]
) -> None:
    device = rig().device()
    compiled(two(), device)
    with pytest.raises(Exhausted, match=r"'second'.*need 2 tiles.*4 here 4 hold"):
        compiled(two(arithmetic="analog", max_error="0.5"), device).run({"x": -X}, ["y"])
    assert device.tiles_in_use == 4
    assert all(each.name != "products in digital" for each in device.condition())


def test_a_program_that_is_refused_leaves_no_tile_taken(
    rig: Callable[..., Rig], compiled: Callable[..., CompiledProgram]
) -> None:
    device = rig().device()
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="one")
    compiled(model([node], [256], [256], w=normal(256, 256)), device)
    with pytest.raises(Exhausted, match="need 2 tiles"):  # the first product has found its two
        compiled(two(arithmetic="analog"), device)
    assert device.tiles_in_use == 1


@pytest.mark.parametrize("wrong", ["int8", "tiles"])
def test_an_arithmetic_that_no_tile_has_is_refused(
    rig: Callable[..., Rig], compiled: Callable[..., CompiledProgram], wrong: str
) -> None:
    with pytest.raises(Unsupported, match=f"{ARITHMETIC} = '{wrong}'"):
        compiled(two(arithmetic=wrong), rig().device())


def test_demands_of_a_spilled_product_hold_since_digital_is_exact(
    rig: Callable[..., Rig], compiled: Callable[..., CompiledProgram]
) -> None:
    device = rig().device()
    compiled(two(), device)
    program = compiled(two(max_error="0.001"), device)
    assert MAX_ERROR not in str(program.spilled) and "second" in program.spilled


def test_wires_may_be_solved_exactly_by_demand(
    rig: Callable[..., Rig], compiled: Callable[..., CompiledProgram]
) -> None:
    small = normal(48, 32, seed=8)
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="one")
    loads = []
    for asked in ("closed", "exact"):
        del node.metadata_props[:]
        node.metadata_props.add(key="vaccel.wires", value=asked)
        device = rig().device()
        compiled(model([node], [48], [32], w=small), device)
        loads.append(next(c for c in device.condition() if c.name == "wire load"))
    assert loads[0].value > 0 and "closed form" in loads[0].note and loads[0].level == "ok"
    assert loads[1].value == 0 and loads[1].note.endswith("exactly")
    # The operator's look waits for no solution: what is not solved yet for this age is left out.
    device.set_clock(60.0)
    assert all(each.name not in ("wire load", "expected error") or each.value
               for each in device.condition())
    assert all(each.snapshot is None for each in next(iter(device._residents.values())).placed)
    node.metadata_props[0].value = "guess"
    with pytest.raises(InvalidArgument, match=r"vaccel\.wires = 'guess'"):
        compiled(model([node], [48], [32], w=small), rig().device())
