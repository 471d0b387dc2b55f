"""Graphs are cut where ONNX Runtime has no kernel, or the device computes; values flow across."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper
from onnx.numpy_helper import from_array

from host_daemon.compiler.body import Whole
from host_daemon.compiler.plan import key_of
from host_daemon.compiler.program import CompiledProgram, Target, compile_model
from host_daemon.compiler.segments import Engine, cut, needs
from host_daemon.core.device import NodeCost, Operation
from host_daemon.devices.registry import find_card, load_card
from host_daemon.devices.registry import model as device_model
from tests.conformance.models import F32, graph, model, value
from tests.unit.host_daemon.compiler.conftest import CountingDevice
from vaccel.errors import InvalidModel, Unsupported
from vaccel.model import Array, DType

NODE = helper.make_node
BF16 = TensorProto.BFLOAT16


class KeepingDevice(CountingDevice):
    """Computes products with constant weights, which it keeps; ``strict`` demands that they are."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, dict[int, Array]] = {}
        self.runs: list[Operation] = []

    def computes(self, operation: Operation) -> bool:
        return operation.op == "MatMul" and 1 in operation.constant_inputs

    def keep(self, operation: Operation, weights: Mapping[int, Array]) -> NodeCost | None:
        self.kept[operation.resident] = dict(weights)
        return NodeCost("tiles", 1000, {"tiles": 1000}, {}, {"write": 1.0})

    def drop(self, resident: str) -> None:
        self.kept.pop(resident, None)

    def run(self, operation: Operation, inputs: Sequence[Array | None]) -> Sequence[Array] | None:
        if not operation.resident:
            return None
        self.runs.append(operation)
        assert inputs[1] is None
        left = inputs[0]
        assert left is not None
        return [np.asarray(left @ self.kept[operation.resident][1])]


def compiled(made: Any, device: Any, tmp_path: Path) -> CompiledProgram:
    return compile_model(made.SerializeToString(), Target(device, 1, tmp_path))


def two_products() -> Any:
    """relu(x @ w) @ transpose(v): the second product's weights are computed from a constant."""
    w = np.arange(12, dtype=np.float32).reshape(4, 3) - 5
    v = np.arange(6, dtype=np.float32).reshape(2, 3)
    return model(
        graph(
            [
                NODE("MatMul", ["x", "w"], ["a"], name="first"),
                NODE("Relu", ["a"], ["b"], name="relu"),
                NODE("Transpose", ["v"], ["t"], name="turn"),
                NODE("MatMul", ["b", "t"], ["c"], name="second"),
                NODE("Add", ["c", "c"], ["y"], name="twice"),
            ],
            [value("x", F32, ["n", 4])],
            [value("y", F32, None)],
            [from_array(w, "w"), from_array(v, "v")],
        )
    )


def test_a_device_keeps_the_weights_of_its_nodes(tmp_path: Path) -> None:
    device = KeepingDevice()
    program = compiled(two_products(), device, tmp_path)
    assert sorted(name.rpartition("/")[2] for name in device.kept) == ["first", "second"]
    assert sorted(w[1].shape for w in device.kept.values()) == [(3, 2), (4, 3)]
    assert program.programming is not None
    assert program.programming.critical_cycles == 2000

    x = np.ones((5, 4), np.float32)
    outcome = program.run({"x": x}, ["y"])
    w = np.arange(12, dtype=np.float32).reshape(4, 3) - 5
    v = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(outcome.results["y"], 2 * (np.maximum(x @ w, 0) @ v.T))
    assert device.runs[0].inputs[0] == (DType.FLOAT32, (5, 4))
    priced = {each.op: each for each in device.asked}
    assert priced["MatMul"].resident
    assert not priced["Relu"].resident
    assert outcome.cost.nodes == {"vector": 4}  # the transposed constant is no node of a launch

    before = len(device.runs)
    again = program.run({"x": x}, ["y"])
    assert len(device.runs) == before + 2
    np.testing.assert_array_equal(again.results["y"], outcome.results["y"])
    program.close()
    assert not device.kept


def test_two_programs_of_the_same_bytes_keep_their_own(tmp_path: Path) -> None:
    device = KeepingDevice()
    first, second = (compiled(two_products(), device, tmp_path) for _ in range(2))
    assert len(device.kept) == 4
    first.close()
    assert len(device.kept) == 2
    second.run({"x": np.ones((1, 4), np.float32)}, ["y"])


def test_a_node_that_the_device_leaves_runs_on_the_common_kernels(tmp_path: Path) -> None:
    class Leaving(KeepingDevice):
        def keep(self, operation: Operation, weights: Mapping[int, Array]) -> NodeCost | None:
            return None

        def run(self, operation: Operation, inputs: Sequence[Array | None]) -> None:
            assert inputs[1] is not None

    program = compiled(two_products(), Leaving(), tmp_path)
    assert program.programming is None
    x = np.ones((2, 4), np.float32)
    whole = compiled(two_products(), CountingDevice(), tmp_path)
    np.testing.assert_array_equal(
        program.run({"x": x}, ["y"]).results["y"], whole.run({"x": x}, ["y"]).results["y"]
    )


def mixed() -> Any:
    """bf16 between float32: ONNX Runtime adds no bf16."""
    return model(
        graph(
            [
                NODE("Cast", ["x"], ["xb"], name="down", to=BF16),
                NODE("Add", ["xb", "one"], ["s"], name="add"),
                NODE("MatMul", ["s", "w"], ["p"], name="product"),
                NODE("Cast", ["p"], ["y"], name="up", to=F32),
            ],
            [value("x", F32, ["n", 4])],
            [value("y", F32, ["n", 3])],
            [
                helper.make_tensor("one", BF16, [1], [1.0]),
                helper.make_tensor("w", BF16, [4, 3], [0.5] * 12),
            ],
        )
    )


def test_what_onnx_runtime_lacks_is_computed_by_the_reference(tmp_path: Path) -> None:
    found = load_card(find_card("kcloud-1"))
    program = compiled(mixed(), device_model(found, found.profiles[0]), tmp_path)
    x = np.arange(8, dtype=np.float32).reshape(2, 4) / 3
    outcome = program.run({"x": x}, ["y"])
    rounded = (x.astype(ml_dtypes.bfloat16) + ml_dtypes.bfloat16(1)).astype(np.float32)
    expected = (rounded @ np.full((4, 3), 0.5, np.float32)).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(outcome.results["y"], expected.astype(np.float32))
    assert outcome.cost.nodes == {"vector": 2, "reference": 1, "array": 1}
    assert program.run({"x": x}, ["y"]).cost == outcome.cost
    assert program.estimate({"x": (2, 4)}, {}) == outcome.cost


def test_a_whole_model_is_one_session(tmp_path: Path) -> None:
    program = compiled(two_products(), CountingDevice(), tmp_path)
    assert isinstance(program._body, Whole)


def test_a_model_that_is_wrong_is_refused_and_not_left_to_the_reference(tmp_path: Path) -> None:
    wrong = model(
        graph(
            [NODE("MatMul", ["x", "w"], ["y"], name="product")],
            [value("x", F32, [2, 5])],
            [value("y", F32, None)],
            [from_array(np.ones((4, 3), np.float32), "w")],
        )
    )
    with pytest.raises(InvalidModel, match="product"):
        compiled(wrong, CountingDevice(), tmp_path)


def test_a_node_that_nobody_computes_is_named(tmp_path: Path) -> None:
    lost = model(
        graph(
            [NODE("Gradient", ["x"], ["y"], name="slope", domain="com.microsoft")],
            [value("x", F32, [2])],
            [value("y", F32, [2])],
        )
    )
    lost.opset_import.add(domain="com.microsoft", version=1)
    with pytest.raises((Unsupported, InvalidModel), match=r"slope|Gradient"):
        compiled(lost, CountingDevice(), tmp_path)


def chain(names: str) -> list[NodeProto]:
    return [
        NODE("Relu", [f"v{index}"], [f"v{index + 1}"], name=f"{name}{index}")
        for index, name in enumerate(names)
    ]


def engines(nodes: Sequence[NodeProto]) -> dict[str, Engine]:
    return {node.name: Engine.REFERENCE for node in nodes if node.name.startswith("r")}


def test_segments_are_as_large_as_the_order_allows() -> None:
    nodes = chain("aaraara")
    steps = cut(nodes, ["v7"], engines(nodes), frozenset())
    assert [len(step.nodes) for step in steps] == [2, 1, 2, 1, 1]
    # Two chains that do not meet: nodes of the runtime wait for none of the other's.
    other = [NODE("Relu", [f"u{i}"], [f"u{i + 1}"], name=f"b{i}") for i in range(3)]
    both = [node for pair in zip(nodes[:3], other, strict=True) for node in pair] + nodes[3:]
    steps = cut(both, ["v7", "u3"], engines(both), frozenset())
    assert [len(step.nodes) for step in steps] == [5, 1, 2, 1, 1]


def test_values_go_when_their_last_taker_has_run() -> None:
    nodes = chain("ara")
    first, middle, last = cut(nodes, ["v3"], engines(nodes), frozenset())
    assert (first.takes, first.gives, first.drops) == (("v0",), ("v1",), ("v0",))
    assert (middle.takes, middle.gives, middle.drops) == (("v1",), ("v2",), ("v1",))
    assert (last.takes, last.gives) == (("v2",), ("v3",))


def test_captured_values_are_needed_by_the_container() -> None:
    inner = graph([NODE("Add", ["outer", "w"], ["z"])], [], [value("z", F32, None)])
    node = NODE("If", ["flag"], ["y"], name="choose", then_branch=inner, else_branch=inner)
    assert needs(node) == ["flag", "outer", "w"]


def test_keys_tell_what_contains_tensors_apart_and_stay_small() -> None:
    one, two = np.zeros(1), np.zeros(2)
    values: list[Any] = [one, [one], [one, two], [two, one], [], None, {"a": 1.0}, [[one]]]
    keys = {key_of({"s": each}, frozenset()) for each in values}
    assert len(keys) == len(values)
    steered = [[one], [one + 1], None, {"a": 1.0}, {"a": 2.0}, {"b": 1.0}]
    assert len({key_of({"s": each}, frozenset({"s"})) for each in steered}) == len(steered)
    large = [key_of({"s": [one] * 1000 + last}, frozenset()) for last in ([one], [two])]
    assert large[0] != large[1]
    assert all(len(repr(key)) < 400 for key in large)
