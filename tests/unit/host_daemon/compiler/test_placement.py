"""Who computes which node: what ONNX Runtime lacks, and what it computes otherwise than ONNX."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from onnx.numpy_helper import from_array

from host_daemon.compiler import sessions
from host_daemon.compiler.body import Whole
from host_daemon.compiler.pipeline import Pipeline
from host_daemon.compiler.program import CompiledProgram, Target, compile_model
from tests.conformance.models import BOOL, F32, I64, graph, model, value
from tests.unit.host_daemon.compiler.conftest import CountingDevice
from vaccel.errors import Cancelled, Exhausted, InvalidArgument

NODE = helper.make_node
BF16 = TensorProto.BFLOAT16


def compiled(made: ModelProto, tmp_path: Path) -> CompiledProgram:
    return compile_model(made.SerializeToString(), Target(CountingDevice(), 1, tmp_path))


def test_what_deviates_is_the_references(tmp_path: Path) -> None:
    """ReduceMax of an empty set of booleans is false; ORT raises."""
    made = model(
        graph(
            [NODE("ReduceMax", ["x", "axes"], ["y"], name="most", keepdims=0)],
            [value("x", BOOL, [0, 2])],
            [value("y", BOOL, [2])],
            [from_array(np.array([0], np.int64), "axes")],
        ),
        opset=20,
    )
    program = compiled(made, tmp_path)
    assert isinstance(program._body, Pipeline)
    given = program.run({"x": np.zeros((0, 2), bool)}, ["y"])
    assert given.results["y"].tolist() == [False, False]


def resize(**attributes: Any) -> ModelProto:
    return model(
        graph(
            [NODE("Resize", ["x", "", "scales"], ["y"], name="size", mode="linear", **attributes)],
            [value("x", F32, [1, 1, 2, 4])],
            [value("y", F32, None)],
            [from_array(np.array([1, 1, 0.6, 0.6], np.float32), "scales")],
        )
    )


def test_only_the_form_that_deviates_is_taken_from_onnx_runtime(tmp_path: Path) -> None:
    assert isinstance(compiled(resize(), tmp_path)._body, Whole)
    aligned = compiled(resize(coordinate_transformation_mode="align_corners"), tmp_path)
    x = np.arange(1, 9, dtype=np.float32).reshape(1, 1, 2, 4)
    # The second column is at 3 / (4 * 0.6 - 1), by the formula of the operator's document.
    given = aligned.run({"x": x}, ["y"]).results["y"]
    np.testing.assert_allclose(given.ravel(), [1, 1 + 3 / 1.4], rtol=1e-6)


def test_a_container_with_a_node_that_is_missing_runs_on_the_reference_and_stops(
    tmp_path: Path,
) -> None:
    """A loop that adds in bf16, which captures a value of the outer graph."""
    body = graph(
        [NODE("Add", ["sum", "one"], ["next"]), NODE("Identity", ["go"], ["on"])],
        [value("turn", I64, []), value("go", BOOL, []), value("sum", BF16, [1])],
        [value("on", BOOL, []), value("next", BF16, [1])],
    )
    made = model(
        graph(
            [
                NODE("Cast", ["x"], ["one"], name="down", to=BF16),
                NODE("Loop", ["turns", "", "one"], ["last"], name="loop", body=body),
                NODE("Cast", ["last"], ["y"], name="up", to=F32),
            ],
            [value("x", F32, [1]), value("turns", I64, [])],
            [value("y", F32, [1])],
        )
    )
    program = compiled(made, tmp_path)
    endless = {"x": np.float32([1]), "turns": np.array(1 << 62, np.int64)}
    stop = sessions.run_options()
    with pytest.raises(Cancelled), ThreadPoolExecutor(1) as pool:
        running = pool.submit(program.run, endless, ["y"], stop)
        stop.terminate = True
        running.result(60)
    for turns in (0, 3):
        inputs = {"x": np.float32([1.5]), "turns": np.array(turns, np.int64)}
        assert program.run(inputs, ["y"]).results["y"].tolist() == [1.5 * (1 + turns)]


def test_the_reference_names_its_node(tmp_path: Path) -> None:
    made = model(
        graph(
            [NODE("Add", ["a", "b"], ["y"], name="sum")],
            [value("a", BF16, ["n"]), value("b", BF16, ["m"])],
            [value("y", BF16, ["k"])],
        )
    )
    import ml_dtypes

    program = compiled(made, tmp_path)
    two, three = (np.ones(count, ml_dtypes.bfloat16) for count in (2, 3))
    with pytest.raises(InvalidArgument, match=r"'sum' \('Add'\)"):
        program.run({"a": two, "b": three}, ["y"])
    assert program.run({"a": two, "b": two}, ["y"]).results["y"].tolist() == [2, 2]


def test_the_reference_runs_out_of_memory_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnx.reference import ReferenceEvaluator

    def none_left(*_: object) -> None:
        raise MemoryError("Unable to allocate 1 PiB")

    made = model(
        graph(
            [NODE("Add", ["a", "a"], ["y"], name="sum")],
            [value("a", BF16, ["n"])],
            [value("y", BF16, ["n"])],
        )
    )
    import ml_dtypes

    program = compiled(made, tmp_path)
    monkeypatch.setattr(ReferenceEvaluator, "run", none_left)
    with pytest.raises(Exhausted, match=r"'sum'.*ran out of memory"):
        program.run({"a": np.ones(2, ml_dtypes.bfloat16)}, ["y"])


def test_slopes_of_an_old_prelu_are_one_a_channel(tmp_path: Path) -> None:
    made = model(
        graph(
            [NODE("PRelu", ["x", "slope"], ["y"])],
            [value("x", F32, [1, 2, 2, 3])],
            [value("y", F32, [1, 2, 2, 3])],
            [from_array(np.array([2, 3], np.float32), "slope")],
        ),
        opset=6,
    )
    made.ir_version = 3
    made.graph.input.append(value("slope", F32, [2]))
    given = compiled(made, tmp_path).run({"x": np.full((1, 2, 2, 3), -1, np.float32)}, ["y"])
    assert given.results["y"][0, :, 0, 0].tolist() == [-2, -3]


def newest(to: int) -> ModelProto:
    return model(
        graph(
            [
                NODE("QuantizeLinear", ["x", "scale", "zero"], ["q"], name="down"),
                NODE("DequantizeLinear", ["q", "scale", "zero"], ["d"], name="up"),
                NODE("Cast", ["d"], ["y"], name="cast", to=to),
            ],
            [value("x", F32, ["n"])],
            [value("y", to, ["n"])],
            [from_array(np.float32(0.5), "scale"), from_array(np.int8(1), "zero")],
        ),
        opset=28,
    )


def test_a_new_opset_that_only_allows_more_types_costs_no_segments(tmp_path: Path) -> None:
    program = compiled(newest(TensorProto.DOUBLE), tmp_path)
    assert isinstance(program._body, Whole)
    x = np.float32([1.1, -3.7, 900])
    given = program.run({"x": x}, ["y"])
    assert given.results["y"].tolist() == [1.0, -3.5, 63.0]
    assert given.cost.nodes == {"vector": 3}
    # A type that is new in it takes the node's own way.
    cut = compiled(newest(TensorProto.FLOAT6E2M3), tmp_path)
    assert isinstance(cut._body, Pipeline)
    six = cut.run({"x": x}, ["y"]).results["y"]
    assert six.dtype.name == "float6_e2m3fn"
    assert six.astype(float).tolist() == [1.0, -3.5, 7.5]
