"""Pictures, volumes and sounds: networks, and what stands before and behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper

from host_daemon.compiler.program import Target
from tests.unit.host_daemon.compiler.strangers.bench import (
    F32,
    I64,
    U8,
    Draft,
    Feeds,
    agrees,
    value,
)


def drawn(*shape: int) -> Feeds:
    return {"x": np.random.default_rng(shape[0]).standard_normal(shape, np.float32)}


def unet(norm: str, opset: int) -> ModelProto:
    """Two levels over volumes, with what was left of the way down joined on the way up."""
    draft = Draft()
    down = draft.add("Conv", "x", draft.weight(8, 1, 3, 3, 3), draft.weight(8), pads=[1] * 6)
    down = draft.add("InstanceNormalization", down, draft.weight(8, base=1), draft.weight(8))
    down = draft.add("LeakyRelu", down, alpha=0.1)
    small = draft.add("MaxPool", down, kernel_shape=[2] * 3, strides=[2] * 3)
    small = draft.add("Conv", small, draft.weight(16, 8, 3, 3, 3), draft.weight(16), pads=[1] * 6)
    size = 16 if norm == "channels" else 4
    scale, bias = draft.weight(size, base=1), draft.weight(size)
    small = draft.add("GroupNormalization", small, scale, bias, num_groups=4)
    up = draft.add("ConvTranspose", small, draft.weight(16, 8, 2, 2, 2), strides=[2] * 3)
    joined = draft.add("Concat", up, down, axis=1)
    last = draft.add("Conv", joined, draft.weight(4, 16, 1, 1, 1))
    scales = draft.const([1.0, 1.0, 1.0, 2.0, 2.0])
    draft.add("Softmax", draft.add("Resize", last, "", scales, mode="linear"), axis=1, out="y")
    return draft.model([value("x", F32, ["b", 1, "d", "h", "w"])], ["y"], opset)


@pytest.mark.parametrize(("norm", "opset"), [("groups", 18), ("channels", 21)])
def test_volumes(target: Target, norm: str, opset: int) -> None:
    agrees(unet(norm, opset), [drawn(1, 1, 8, 8, 8), drawn(2, 1, 4, 8, 12)], target)


def mobile(opset: int) -> ModelProto:
    """Convolutions of single channels between such of single pixels."""
    draft = Draft()

    def layer(x: str, *shape: int, clip: bool = True, **settings: Any) -> str:
        count = shape[0]
        x = draft.add("Conv", x, draft.weight(*shape), **settings)
        stats = [draft.weight(count, base=each) for each in (1, 0, 0, 1)]
        x = draft.add("BatchNormalization", x, *stats, epsilon=1e-3)
        if not clip:
            return x
        if opset < 11:
            return draft.add("Clip", x, min=0.0, max=6.0)
        return draft.add("Clip", x, draft.const(0.0), draft.const(6.0))

    x = layer("x", 8, 3, 3, 3, strides=[2, 2], pads=[1] * 4)
    for stride in (1, 2, 1):
        wide = layer(x, 32, 8, 1, 1)
        wide = layer(wide, 32, 1, 3, 3, group=32, strides=[stride] * 2, pads=[1] * 4)
        narrow = layer(wide, 8, 32, 1, 1, clip=False)
        x = draft.add("Add", x, narrow) if stride == 1 else narrow
    flat = draft.add("Flatten", draft.add("GlobalAveragePool", x))
    scores = draft.add("Gemm", flat, draft.weight(10, 8), draft.weight(10), transB=1)
    draft.add("Softmax", draft.add("Dropout", scores), axis=1, out="y")
    return draft.model([value("x", F32, ["b", 3, "h", "w"])], ["y"], opset)


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 21])
def test_small_networks_of_many_opsets(target: Target, opset: int) -> None:
    agrees(mobile(opset), [drawn(1, 3, 32, 32), drawn(3, 3, 16, 24), drawn(0, 3, 16, 16)], target)


@pytest.mark.parametrize("opset", [7, 8])
def test_weights_that_are_inputs(target: Target, opset: int) -> None:
    made = mobile(opset)
    made.ir_version = 3
    for tensor in made.graph.initializer:
        made.graph.input.append(value(tensor.name, tensor.data_type, list(tensor.dims)))
    agrees(made, drawn(2, 3, 16, 16), target)


def test_boxes_are_picked_and_sorted(target: Target) -> None:
    draft = Draft()
    x = draft.add("Conv", "x", draft.weight(6, 3, 3, 3), strides=[4, 4], pads=[1] * 4)
    rows = draft.add("Reshape", x, draft.const([0, 6, -1]))
    draft.give("Split", [rows, draft.const([4, 2])], ["corners", "raw"], axis=1)
    boxes = draft.add("Transpose", "corners", perm=[0, 2, 1])
    scores = draft.add("Sigmoid", "raw")
    limits = draft.const([50]), draft.const([0.5]), draft.const([0.1])
    draft.add("NonMaxSuppression", boxes, scores, *limits, center_point_box=1, out="kept")
    found = draft.add("GatherND", scores, "kept")
    sizes = draft.add("Concat", draft.add("Shape", found), draft.const([20]), axis=0)
    draft.give("TopK", [found, draft.add("ReduceMin", sizes)], ["best", "order"])
    draft.add("Gather", "kept", "order", out="rows")
    made = draft.model(
        [value("x", F32, ["b", 3, "h", "w"])], ["best", value("rows", I64, None)], 13
    )
    agrees(made, [drawn(1, 3, 32, 32), drawn(2, 3, 32, 48)], target)


@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("where", ["half_pixel", "align_corners", "asymmetric"])
def test_pictures_are_prepared(target: Target, mode: str, where: str) -> None:
    draft = Draft()
    turned = draft.add("Transpose", draft.add("Cast", "x", to=F32), perm=[2, 0, 1])
    one = draft.add("Unsqueeze", turned, draft.const([0]))
    sizes = draft.const([1, 3, 24, 24])
    settings = {"mode": mode, "coordinate_transformation_mode": where}
    sized = draft.add("Resize", one, "", "", sizes, **settings)
    ends = draft.const([4, 4]), draft.const([20, 20]), draft.const([2, 3])
    cut = draft.add("Div", draft.add("Slice", sized, *ends), draft.const(255.0))
    draft.add("Sub", cut, draft.weight(1, 3, 1, 1), out="y")
    made = draft.model([value("x", U8, ["h", "w", 3])], ["y"], 18)
    rng = np.random.default_rng(1)
    agrees(made, {"x": rng.integers(0, 256, (30, 40, 3)).astype(np.uint8)}, target)


@pytest.mark.parametrize("opset", [7, 9])
def test_pictures_grow_as_they_once_did(target: Target, opset: int) -> None:
    draft = Draft()
    if opset == 7:
        draft.add("Upsample", "x", scales=[1.0, 1.0, 2.0, 2.0], mode="nearest", out="y")
    else:
        draft.add("Upsample", "x", draft.const([1.0, 1.0, 2.0, 2.0]), mode="linear", out="y")
    agrees(
        draft.model([value("x", F32, [1, 2, "h", "w"])], ["y"], opset), drawn(1, 2, 4, 6), target
    )


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_recurrences_over_lengths(target: Target, op: str, direction: str) -> None:
    gates, ways = {"LSTM": 4, "GRU": 3, "RNN": 1}[op], 2 if direction == "bidirectional" else 1
    draft = Draft()
    shapes = [(ways, gates * 8, 6), (ways, gates * 8, 8), (ways, 2 * gates * 8)]
    operands = [draft.weight(*shape, scale=0.4) for shape in shapes]
    operands += ["lengths", draft.weight(ways, 3, 8)]
    outputs = ["y", "last", "cell"][: 3 if op == "LSTM" else 2]
    draft.give(op, ["x", *operands], outputs, hidden_size=8, direction=direction)
    inputs = [value("x", F32, ["t", 3, 6]), value("lengths", 6, [3])]
    feeds = drawn(7, 3, 6) | {"lengths": np.array([7, 3, 5], np.int32)}
    agrees(draft.model(inputs, outputs, 14), feeds, target)


@pytest.mark.parametrize("opset", [9, 16, 21])
def test_a_scan(target: Target, opset: int) -> None:
    draft, body = Draft(), Draft()
    weight = draft.weight(4, 4)
    body.add("Tanh", body.add("Add", body.add("MatMul", "s", weight), "e"), out="t")
    body.add("Identity", "t", out="u")
    ports = {name: value(name, F32, ["b", 4]) for name in "setu"}
    graph = helper.make_graph(body.nodes, "b", [ports[n] for n in "se"], [ports[n] for n in "tu"])
    settings = {"scan_input_directions": [1], "scan_output_axes": [1], "num_scan_inputs": 1}
    draft.give("Scan", ["s0", "x"], ["last", "all"], body=graph, **settings)
    inputs = [value("s0", F32, ["b", 4]), value("x", F32, ["t", "b", 4])]
    feeds = drawn(5, 2, 4) | {"s0": np.ones((2, 4), np.float32)}
    agrees(draft.model(inputs, ["last", "all"], opset), feeds, target)


def test_a_sound_becomes_a_picture(target: Target) -> None:
    """Logarithms of mel bands. ONNX Runtime's sums are less exact than a fast transform."""
    draft = Draft()
    window = draft.keep(np.hanning(64).astype(np.float32))
    spectrum = draft.add("STFT", "x", draft.const(16), window, onesided=1)
    power = draft.add("ReduceSumSquare", spectrum, axes=[-1], keepdims=0)
    sizes = draft.const(12), draft.const(64), draft.const(8000)
    bands = draft.add("MelWeightMatrix", *sizes, draft.const(0.0), draft.const(4000.0))
    floor = draft.add("Max", draft.add("MatMul", power, bands), draft.const(1e-4))
    draft.add("Log", floor, out="y")
    made = draft.model([value("x", F32, ["b", "t", 1])], ["y"], 17)
    agrees(made, drawn(2, 400, 1), target, (1e-3, 1e-3))
