"""What is alive when: peaks by hand, shapes of a launch, graphs within graphs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper
from onnx.numpy_helper import from_array

from host_daemon.compiler import frontend
from host_daemon.compiler.inference import bytes_of, infer
from host_daemon.compiler.memory_plan import Fit, MemoryPlan, plan
from host_daemon.compiler.program import Target, compile_model
from tests.conformance import models
from tests.conformance.models import BOOL, F32, I64, graph, model, value
from vaccel.errors import Exhausted

NODE = helper.make_node


def planned(made: ModelProto, **shapes: tuple[int, ...]) -> MemoryPlan:
    checked = frontend.read(made.SerializeToString())
    known = infer(checked.proto, shapes or None)
    return plan(checked.proto, known, checked.weight_bytes)


def chain(*ops: str, dims: list[int | str]) -> ModelProto:
    names = ["x", *(f"v{n}" for n in range(1, len(ops))), "y"]
    nodes = [NODE(op, [names[n]], [names[n + 1]], name=f"n{n}") for n, op in enumerate(ops)]
    return model(graph(nodes, [value("x", F32, dims)], [value("y", F32, dims)]))


def test_a_chain_holds_two_values_at_a_time() -> None:
    found = planned(chain("Relu", "Abs", "Neg", "Exp", dims=[100]))
    assert [each.live_bytes for each in found.held] == [800] * 4
    assert found.peak_bytes == 800 and found.unknown == 0


def test_a_value_lives_until_its_last_taker() -> None:
    nodes = [
        NODE("Relu", ["x"], ["a"], name="one"),
        NODE("Concat", ["a", "a"], ["b"], name="two", axis=0),
        NODE("ReduceSum", ["b"], ["c"], name="three", keepdims=1),
        NODE("Add", ["a", "c"], ["y"], name="four"),
    ]
    found = planned(model(graph(nodes, [value("x", F32, [100])], [value("y", F32, [100])])))
    # x a | a b | a b c | a c y
    assert [each.live_bytes for each in found.held] == [800, 1200, 1204, 804]
    assert found.peak.node == "'three' ('ReduceSum')"
    assert (found.peak.largest, found.peak.largest_bytes) == ("b", 800)


def test_weights_count_once_and_always() -> None:
    found = planned(models.affine(), x=(10, 4))
    assert found.weight_bytes == 60
    assert found.peak_bytes == 60 + 160 + 120


def test_a_launch_has_shapes_of_its_own() -> None:
    made = chain("Relu", "Abs", dims=["n", 8])
    assert planned(made).unknown == 2
    assert planned(made, x=(3, 8)).peak_bytes == 2 * 3 * 8 * 4


def test_a_dimension_below_zero_is_one_that_nobody_knows() -> None:
    made = chain("Relu", "Abs", dims=[-1, 8])
    assert planned(made).unknown == 2 and planned(made).peak_bytes == 0
    assert planned(made, x=(3, 8)).peak_bytes == 2 * 3 * 8 * 4


def test_what_a_branch_takes_is_alive_until_it_ran() -> None:
    inside = value("inner", F32, None)
    yes = graph([NODE("Neg", ["a"], ["inner"])], [], [inside])
    no = graph([NODE("Identity", ["a"], ["inner"])], [], [inside])
    nodes = [
        NODE("Relu", ["x"], ["a"], name="one"),
        NODE("Abs", ["x"], ["b"], name="two"),
        NODE("If", ["flag"], ["c"], name="three", then_branch=yes, else_branch=no),
        NODE("Add", ["b", "c"], ["y"], name="four"),
    ]
    inputs = [value("x", F32, [100]), value("flag", BOOL, [])]
    found = planned(model(graph(nodes, inputs, [value("y", F32, [100])])))
    assert [each.live_bytes for each in found.held] == [801, 1201, 801 + 400, 1200]


def test_values_that_decide_shapes_are_used() -> None:
    node = NODE("Expand", ["x", "shape"], ["y"], name="spread")
    inputs = [value("x", F32, [1]), value("shape", I64, [2])]
    made = model(graph([node], inputs, [value("y", F32, [None, None])]))
    checked = frontend.read(made.SerializeToString())
    fit = Fit(checked.proto, 0, 1 << 20)
    x = np.zeros(1, np.float32)
    fit.check({"x": x, "shape": np.array([8, 8])}, ["shape"])
    words = r"'spread' .*holds 67108884 .* 66060308 more than .*1048576"
    with pytest.raises(Exhausted, match=words):
        fit.check({"x": x, "shape": np.array([4096, 4096])}, ["shape"])
    # Without its value nobody knows, and nobody refuses.
    fit.check({"x": x, "shape": np.array([4096, 4096])})


def test_a_default_counts_where_its_input_is_left_out(target: Target) -> None:
    nodes = [NODE("Expand", ["x", "shape"], ["a"], name="spread"), NODE("Relu", ["a"], ["y"])]
    inputs = [value("x", F32, [1]), value("shape", I64, [1])]
    default = from_array(np.array([9000]), "shape")
    made = model(graph(nodes, inputs, [value("y", F32, None)], [default]))
    program = compile_model(made.SerializeToString(), replace(target, memory_bytes=10_000))
    x = np.ones(1, np.float32)
    found = program.run({"x": x, "shape": np.array([2])}, ["y"])
    assert found.results["y"].tolist() == [1, 1]
    with pytest.raises(Exhausted, match=r"'Relu_1' .* holds 72008 bytes"):
        program.run({"x": x}, ["y"])


def test_a_kernel_that_does_not_fit_is_refused_before_it_runs(target: Target) -> None:
    kernel = model(graph([NODE("MatMul", ["a", "b"], ["y"], name="it")], [
        value("a", F32, ["n", 1]), value("b", F32, [1, "n"]),
    ], [value("y", F32, None)]))  # fmt: skip
    program = compile_model(kernel.SerializeToString(), replace(target, memory_bytes=10_000))
    a = np.ones((10, 1), np.float32)
    assert program.run({"a": a, "b": a.T}, ["y"]).results["y"].shape == (10, 10)
    a = np.ones((50, 1), np.float32)
    with pytest.raises(Exhausted, match=r"'it' .*holds 10400 bytes .* 400 more"):
        program.run({"a": a, "b": a.T}, ["y"])
    with pytest.raises(Exhausted, match="'it'"):
        program.estimate({"a": (50, 1), "b": (1, 50)}, {})


@pytest.mark.parametrize("nested", [False, True])
def test_a_constant_counts_once_whoever_holds_it(nested: bool) -> None:
    constant = NODE("Constant", [], ["w"], value=from_array(np.ones(1000, np.float32)))
    nodes = [constant, NODE("Add", ["x", "w"], ["y"], name="it")]
    inputs = [value("x", F32, [1000])]
    if nested:
        yes = graph(nodes, [], [value("y", F32, None)])
        no = graph([NODE("Relu", ["x"], ["z"])], [], [value("z", F32, None)])
        nodes = [NODE("If", ["flag"], ["c"], name="if", then_branch=yes, else_branch=no)]
        inputs.append(value("flag", BOOL, []))
    result = value("c" if nested else "y", F32, None)
    found = planned(model(graph(nodes, inputs, [result])))
    assert (found.weight_bytes, found.peak.live_bytes) == (4000, 8000 + nested)


def test_inputs_that_contradict_the_graph_are_left_to_the_kernel() -> None:
    checked = frontend.read(models.build("affine"))
    assert Fit(checked.proto, 60, 1).plan({"x": np.zeros((2, 5), np.float32)}) is None


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        (TensorProto.FLOAT, 12),
        (TensorProto.INT4, 2),
        (TensorProto.BFLOAT16, 6),
        (TensorProto.FLOAT8E5M2, 3),
        (TensorProto.COMPLEX128, 48),
        (TensorProto.STRING, 0),
    ],
)
def test_bytes_of_a_type(kind: int, size: int) -> None:
    assert bytes_of(kind, (3,)) == size


def test_sparse_weights_are_held_dense() -> None:
    made = model(
        graph(
            [NODE("Add", ["x", "w"], ["y"], name="it")],
            [value("x", F32, [50])],
            [value("y", F32, [50])],
        )
    )
    made.graph.sparse_initializer.append(
        helper.make_sparse_tensor(
            from_array(np.ones(1, np.float32), "w"), from_array(np.array([3]), "at"), [50]
        )
    )
    assert frontend.read(made.SerializeToString()).weight_bytes >= 200
