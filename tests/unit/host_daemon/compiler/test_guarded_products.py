"""Integer products of no depth, and convolutions by no window: ONNX Runtime gives back memory as it
was, or never ends. Each is refused by name, or answered as ONNX says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, helper
from onnx.numpy_helper import from_array

from host_daemon.compiler import guards
from host_daemon.compiler.program import Target, compile_kernel, compile_model
from host_daemon.devices import registry
from tests.conformance.models import BOOL, F32, I64, graph, model, value
from vaccel.compute import KernelSource
from vaccel.errors import InvalidArgument, InvalidModel
from vaccel.model import DType, Port

NODE = helper.make_node
U8, I8, I32 = TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32
NUMPY = {U8: np.uint8, I8: np.int8, F32: np.float32}
NOTHING = "node 'it' runs over nothing"
MS = {"domain": "com.microsoft"}
WEIGHTS = [from_array(np.float32(1), "s"), from_array(np.uint8(7), "z")]
Made = tuple[ModelProto, tuple[tuple[int, ...], ...]]


def made(
    nodes: NodeProto | Sequence[NodeProto], takes: Sequence[Any], gives: int, opset: int = 21
) -> ModelProto:
    """A model of ``takes``, pairs of a type and a rank called a, b, ..., that gives ``y``."""
    inputs = [value(n, kind, [None] * rank) for n, (kind, rank) in zip("abcd", takes, strict=False)]
    nodes = [nodes] if isinstance(nodes, NodeProto) else nodes
    built = model(graph(nodes, inputs, [value("y", gives, None)], WEIGHTS), opset)
    built.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return built


def launch(proto: ModelProto, target: Target, *shapes: tuple[int, ...]) -> Any:
    inputs = {
        each.name: np.ones(shape, NUMPY[each.type.tensor_type.elem_type])
        for each, shape in zip(proto.graph.input, shapes, strict=True)
    }
    program = compile_model(proto.SerializeToString(), target)
    return program.run(inputs, ["y"]).results["y"]


def it(op: str, *inputs: str, **attributes: Any) -> NodeProto:
    return NODE(op, inputs, ["y"], name="it", **attributes)


def dequantised(op: str, quantise: bool) -> list[NodeProto]:
    """A product between DequantizeLinear, of which ONNX Runtime makes one of integers."""
    found = [NODE("DequantizeLinear", [n, "s", "z"], [n + n]) for n in "ab"]
    found.append(NODE(op, ["aa", "bb"], ["p" if quantise else "y"], name="it"))
    return [*found, NODE("QuantizeLinear", ["p", "s", "z"], ["y"])] if quantise else found


def by_integers() -> list[NodeProto]:
    """What ONNX Runtime makes a DynamicQuantizeMatMul of."""
    return [
        NODE("DynamicQuantizeLinear", ["a"], ["q", "scale", "zero"]),
        NODE("MatMulInteger", ["q", "b", "zero"], ["sums"], name="it"),
        NODE("Cast", ["sums"], ["float"], to=F32),
        NODE("Mul", ["float", "scale"], ["y"]),
    ]


QGEMM = ("a", "s", "z", "b", "s", "z")
PRODUCTS: dict[str, ModelProto] = {
    "MatMulInteger": made(it("MatMulInteger", "a", "b"), [(U8, 2), (I8, 2)], I32),
    "QLinearMatMul": made(
        it("QLinearMatMul", "a", "s", "z", "b", "s", "z", "s", "z"), [(U8, 2), (U8, 2)], U8
    ),
    "MatMulIntegerToFloat": made(
        it("MatMulIntegerToFloat", "a", "b", "s", "s", **MS), [(U8, 2), (I8, 2)], F32
    ),
    "DynamicQuantizeMatMul": made(
        it("DynamicQuantizeMatMul", "a", "b", "s", **MS), [(F32, 2), (I8, 2)], F32
    ),
    "QGemm": made(it("QGemm", *QGEMM, **MS), [(U8, 2), (U8, 2)], F32),
    "dequantised MatMul": made(dequantised("MatMul", False), [(U8, 2), (U8, 2)], F32),
    "quantised MatMul": made(dequantised("MatMul", True), [(U8, 2), (U8, 2)], U8),
    "dequantised Gemm": made(dequantised("Gemm", False), [(U8, 2), (U8, 2)], F32),
    "quantised Gemm": made(dequantised("Gemm", True), [(U8, 2), (U8, 2)], U8),
    "DynamicQuantizeLinear": made(by_integers(), [(F32, 2), (U8, 2)], F32),
}


# Of what ONNX says, the products of nothing; others are ONNX Runtime's own, or become such.
ZEROS = {"MatMulInteger": 0, "QLinearMatMul": 7, "DynamicQuantizeLinear": 0}


@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_of_no_depth(target: Target, name: str) -> None:
    if name in ZEROS:
        for _ in range(2):
            found = launch(PRODUCTS[name], target, (20, 0), (0, 30))
            np.testing.assert_array_equal(found, np.full((20, 30), ZEROS[name]))
    else:
        with pytest.raises(InvalidArgument, match=NOTHING):
            launch(PRODUCTS[name], target, (20, 0), (0, 30))
    assert launch(PRODUCTS[name], target, (20, 4), (4, 30)).shape == (20, 30)
    assert launch(PRODUCTS[name], target, (0, 4), (4, 30)).shape == (0, 30)


QCONV = ("a", "s", "z", "b", "s", "z", "s", "z")
INTEGER_CONVOLUTIONS: dict[str, ModelProto] = {
    "ConvInteger": made(it("ConvInteger", "a", "b"), [(U8, 4), (U8, 4)], I32),
    "QLinearConv": made(it("QLinearConv", *QCONV), [(U8, 4), (U8, 4)], U8),
    "quantised Conv": made(dequantised("Conv", True), [(U8, 4), (U8, 4)], U8),
}
CONVOLUTIONS = INTEGER_CONVOLUTIONS | {
    "Conv": made(it("Conv", "a", "b"), [(F32, 4), (F32, 4)], F32),
    "FusedConv": made(it("FusedConv", "a", "b", activation="Relu", **MS), [(F32, 4)] * 2, F32),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize("window", [(0, 0), (0, 1), (2, 0)])
def test_a_convolution_by_no_window(target: Target, name: str, window: tuple[int, int]) -> None:
    with pytest.raises(InvalidArgument, match=NOTHING):
        launch(CONVOLUTIONS[name], target, (1, 2, 4, 4), (2, 2, *window))
    assert launch(CONVOLUTIONS[name], target, (1, 2, 4, 4), (2, 2, 2, 2)).shape == (1, 2, 3, 3)
    assert launch(CONVOLUTIONS[name], target, (1, 2, 4, 4), (0, 2, 2, 2)).size == 0


@pytest.mark.parametrize("rank", [1, 3])
def test_a_convolution_by_no_window_of_another_rank(target: Target, rank: int) -> None:
    proto = made(it("Conv", "a", "b"), [(F32, rank + 2)] * 2, F32)
    with pytest.raises(InvalidArgument, match=NOTHING):
        launch(proto, target, (1, 2, *(4,) * rank), (2, 2, *(1,) * (rank - 1), 0))


@pytest.mark.parametrize("name", INTEGER_CONVOLUTIONS)
def test_an_integer_convolution_of_no_channels(target: Target, name: str) -> None:
    with pytest.raises(InvalidArgument, match=NOTHING):
        launch(CONVOLUTIONS[name], target, (1, 0, 4, 4), (2, 0, 2, 2))


def test_float_products_of_nothing_are_zeros_as_ever(target: Target) -> None:
    assert not launch(CONVOLUTIONS["Conv"], target, (1, 0, 4, 4), (2, 0, 2, 2)).any()
    product = made(it("MatMul", "a", "b"), [(F32, 2)] * 2, F32)
    assert not launch(product, target, (20, 0), (0, 30)).any()
    assert guards.guarded(product) is product


@pytest.mark.parametrize("op", ["MatMulInteger", "QLinearMatMul"])
def test_where_no_depth_is_known_the_product_is_as_onnx_says(target: Target, op: str) -> None:
    proto = PRODUCTS[op]
    fixed = ModelProto()
    fixed.CopyFrom(proto)
    for each, shape in zip(fixed.graph.input, ((3, 0), (0, 4)), strict=True):
        each.CopyFrom(value(each.name, each.type.tensor_type.elem_type, shape))
    expected = 7 if op == "QLinearMatMul" else 0
    np.testing.assert_array_equal(
        launch(fixed, target, (3, 0), (0, 4)), np.full((3, 4), expected)
    )


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
@pytest.mark.parametrize("op", ["MatMulInteger", "QLinearMatMul"])
def test_stacked_products_of_no_depth(target: Target, op: str, batch: tuple[int, ...]) -> None:
    proto = ModelProto()
    proto.CopyFrom(PRODUCTS[op])
    for each in proto.graph.input:
        each.type.tensor_type.ClearField("shape")
    found = launch(proto, target, (*batch, 5, 0), (0, 4))
    np.testing.assert_array_equal(found, np.full((*batch, 5, 4), ZEROS[op]))
    assert launch(proto, target, (*batch, 5, 3), (3, 4)).shape == (*batch, 5, 4)


@pytest.mark.parametrize("name", ["kcloud-1", "kcloud-2", "kcloud-3", "aim", "hermes"])
@pytest.mark.parametrize("dims", [("m", "k", "n"), (3, 0, 4), (None, None, None)])
def test_a_kernel_of_no_depth_gives_zeros(
    target: Target, name: str, dims: tuple[Any, ...]
) -> None:
    card = registry.load_card(registry.find_card(name))
    npu = Target(registry.model(card, card.profiles[0]), 1, target.scratch)
    m, k, n = dims
    source = KernelSource("matmul", (Port("a", DType.INT8, (m, k)), Port("b", DType.INT8, (k, n))))
    inputs = {"a": np.zeros((3, 0), np.int8), "b": np.zeros((0, 4), np.int8)}
    found = compile_kernel(source, npu).run(inputs, ["result"]).results["result"]
    np.testing.assert_array_equal(found, np.zeros((3, 4), np.int32))


NESTED = {
    "product": ("MatMulIntegerToFloat", (U8, I8, F32), (20, 0), (0, 30)),
    "window": ("Conv", (F32, F32, F32), (1, 2, 4, 4), (2, 2, 0, 0)),
}


def branching(op: str, kinds: tuple[int, int, int], rank: int) -> ModelProto:
    own = (op, "a", "b", "s", "s") if op == "MatMulIntegerToFloat" else (op, "a", "b")
    node = it(*own, **(MS if len(own) > 3 else {}))
    then = graph([node], [], [value("y", kinds[2], None)])
    other = graph([NODE("Cast", ["a"], ["o"], to=kinds[2])], [], [value("o", kinds[2], None)])
    node = NODE("If", ["flag"], ["y"], then_branch=then, else_branch=other)
    inputs = [value(n, kind, [None] * rank) for n, kind in zip("ab", kinds, strict=False)]
    inputs.append(value("flag", BOOL, []))
    built = model(graph([node], inputs, [value("y", kinds[2], None)], WEIGHTS))
    built.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return built


@pytest.mark.parametrize("case", NESTED)
def test_within_a_branch(target: Target, case: str) -> None:
    op, kinds, left, right = NESTED[case]
    program = compile_model(branching(op, kinds, len(left)).SerializeToString(), target)
    inputs = {"a": np.zeros(left, NUMPY[kinds[0]]), "b": np.zeros(right, NUMPY[kinds[1]])}
    with pytest.raises(InvalidArgument, match=NOTHING):
        program.run(inputs | {"flag": np.array(True)}, ["y"])
    assert program.run(inputs | {"flag": np.array(False)}, ["y"]).results["y"].shape == left


def test_within_a_loop(target: Target) -> None:
    body = graph(
        [it("MatMulInteger", "a", "b"), NODE("Identity", ["go"], ["on"])],
        [value("turn", I64, []), value("go", BOOL, [])],
        [value("on", BOOL, []), value("y", I32, None)],
    )
    node = NODE("Loop", ["trips", ""], ["y"], body=body)
    inputs = [value("a", U8, ["m", "k"]), value("b", I8, ["k", "n"]), value("trips", I64, [])]
    proto = model(graph([node], inputs, [value("y", I32, None)]))
    program = compile_model(proto.SerializeToString(), target)
    given = {"a": np.zeros((2, 0), np.uint8), "b": np.zeros((0, 3), np.int8)}
    given["trips"] = np.array(2)
    assert program.run(given, ["y"]).results["y"].tolist() == np.zeros((2, 2, 3)).tolist()
    given |= {"a": np.ones((2, 4), np.uint8), "b": np.ones((4, 3), np.int8)}
    found = program.run(given, ["y"])
    assert found.results["y"].tolist() == np.full((2, 2, 3), 4).tolist()
    assert found.cost.nodes == {"vector": 4}  # what chooses is no part of the model


def test_a_model_that_lies_of_a_shape_does_not_get_past(target: Target) -> None:
    nodes = [NODE("Compress", ["b", "c"], ["w"], axis=2), it("Conv", "a", "w")]
    inputs = [value("a", F32, [1, 2, 4, 4]), value("b", F32, [2, 2, 2, 2]), value("c", BOOL, [2])]
    outputs = [value("y", F32, None), value("w", F32, [2, 2, 1, 2])]
    program = compile_model(model(graph(nodes, inputs, outputs)).SerializeToString(), target)
    given = {"a": np.ones((1, 2, 4, 4), np.float32), "b": np.ones((2, 2, 2, 2), np.float32)}
    with pytest.raises(InvalidArgument, match=NOTHING):
        program.run(given | {"c": np.zeros(2, bool)}, ["y"])
    assert program.run(given | {"c": np.array([True, False])}, ["y"]).results["y"].size


def test_a_product_of_what_is_computed_in_floats_has_no_guard() -> None:
    """As the scores of an attention, in a model with quantised weights."""
    nodes = [
        NODE("DequantizeLinear", ["a", "s", "z"], ["d"]),
        NODE("Relu", ["b"], ["v"]),
        NODE("MatMul", ["c", "v"], ["p"], name="it"),
        NODE("Add", ["d", "p"], ["y"]),
    ]
    proto = made(nodes, [(U8, 2), (F32, 2), (F32, 2)], F32)
    assert guards.guarded(proto) is proto
    # But for what is moved only.
    proto.graph.node[1].CopyFrom(NODE("Transpose", ["d"], ["v"]))
    assert guards.guarded(proto) is not proto


def test_constant_weights_have_no_guard() -> None:
    nodes = [
        NODE("DequantizeLinear", ["w", "s", "z"], ["d"]),
        NODE("Conv", ["a", "d"], ["c"], name="it"),
        NODE("QuantizeLinear", ["c", "s", "z"], ["q"]),
        NODE("MatMulInteger", ["q", "r"], ["y"], name="product"),
    ]
    proto = made(nodes, [(F32, 4)], I32)
    proto.graph.initializer.append(from_array(np.ones((2, 2, 2, 2), np.uint8), "w"))
    proto.graph.initializer.append(from_array(np.ones((3, 5), np.uint8), "r"))
    assert guards.guarded(proto) is proto


def test_slices_without_elements_are_not_compared(target: Target) -> None:
    proto = made(it("Unique", "a", axis=0), [(F32, 2)], F32)
    with pytest.raises(InvalidArgument, match=NOTHING):
        launch(proto, target, (3, 0))
    assert launch(proto, target, (3, 2)).shape == (1, 2)


@pytest.mark.parametrize("shape", [(1, 2, 3, 0, 3), (1, 2, 0, 3, 3)])
def test_a_transposed_convolution_of_no_volume(target: Target, shape: tuple[int, ...]) -> None:
    proto = made(it("ConvTranspose", "a", "b"), [(F32, 5)] * 2, F32)
    with pytest.raises(InvalidArgument, match=NOTHING):
        launch(proto, target, shape, (2, 1, 2, 2, 2))


@pytest.mark.parametrize("empty", ["a", "c"])
def test_attention_of_no_width(target: Target, empty: str) -> None:
    proto = made(it("MultiHeadAttention", "a", "b", "c", num_heads=2, **MS), [(F32, 3)] * 3, F32)
    assert launch(proto, target, *((1, 3, 4),) * 3).shape == (1, 3, 4)
    shapes = {"a": (1, 3, 4), "b": (1, 3, 4), "c": (1, 3, 4)} | {empty: (1, 3, 0)}
    if empty == "a":
        shapes["b"] = (1, 3, 0)
    with pytest.raises(InvalidArgument, match=NOTHING):
        launch(proto, target, *shapes.values())


def test_an_old_scan_of_no_steps(target: Target) -> None:
    body = graph(
        [NODE("Add", ["s", "x"], ["t"])], [value(n, F32, [3]) for n in "sx"], [value("t", F32, [3])]
    )
    node = it("Scan", "", "a", "b", body=body, num_scan_inputs=1)
    proto = made(node, [(F32, 2), (F32, 3)], F32, opset=8)
    proto.opset_import.pop()
    with pytest.raises(InvalidArgument, match=NOTHING):
        launch(proto, target, (2, 3), (2, 0, 3))
    np.testing.assert_array_equal(launch(proto, target, (2, 3), (2, 4, 3)), np.full((2, 3), 5))


def test_a_window_that_is_known_to_be_empty_is_refused_at_load(target: Target) -> None:
    proto = made(it("Conv", "a", "b"), [(F32, 4)] * 2, F32)
    proto.graph.input[1].CopyFrom(value("b", F32, [2, 2, 0, 0]))
    with pytest.raises(InvalidModel, match="'it'"):
        compile_model(proto.SerializeToString(), target)


def test_a_convolution_of_an_image_without_pixels_says_so(target: Target) -> None:
    with pytest.raises(InvalidArgument, match="'it'"):
        launch(CONVOLUTIONS["Conv"], target, (1, 2, 0, 9), (3, 2, 2, 2))
