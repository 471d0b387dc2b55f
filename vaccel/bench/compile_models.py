"""Models to compile: a VGG16 of 65 MB with seeded weights, and chains of ever more nodes."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper
from onnx.numpy_helper import from_array

_SEED = 20260704
# VGG16's convolutions (K. Simonyan, A. Zisserman, arXiv:1409.1556, table 1, D); 0 is a pooling.
_CHANNELS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0)
# A small head instead of two layers of 4096, as transfer learning makes it.
_HIDDEN, _CLASSES = 64, 2


def vgg16() -> bytes:
    """15 million weights of float32: 65 MB."""
    random = np.random.default_rng(_SEED)
    nodes: list[NodeProto] = []
    weights: list[TensorProto] = []

    def weight(name: str, shape: tuple[int, ...], scale: float) -> str:
        array = random.standard_normal(shape, np.float32) * np.float32(scale)
        weights.append(from_array(array, name))
        return name

    value, channels = "x", 3
    for index, wide in enumerate(_CHANNELS):
        if not wide:
            made = helper.make_node(
                "MaxPool", [value], [f"v{index}"], kernel_shape=[2, 2], strides=[2, 2]
            )
            nodes.append(made)
        else:
            kernel = weight(f"w{index}", (wide, channels, 3, 3), (2 / (9 * channels)) ** 0.5)
            bias = weight(f"b{index}", (wide,), 0.01)
            made = helper.make_node("Conv", [value, kernel, bias], [f"c{index}"], pads=[1] * 4)
            nodes += [made, helper.make_node("Relu", [f"c{index}"], [f"v{index}"])]
            channels = wide
        value = f"v{index}"
    hidden = [weight("wh", (channels * 49, _HIDDEN), 0.01), weight("bh", (_HIDDEN,), 0.01)]
    last = [weight("wl", (_HIDDEN, _CLASSES), 0.1), weight("bl", (_CLASSES,), 0.01)]
    nodes += [
        helper.make_node("Flatten", [value], ["flat"]),
        helper.make_node("Gemm", ["flat", *hidden], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["positive"]),
        helper.make_node("Gemm", ["positive", *last], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["y"]),
    ]
    return _model(nodes, _value("x", [1, 3, 224, 224]), _value("y", [1, _CLASSES]), weights)


def chain(length: int) -> bytes:
    """So many small nodes, each of which takes the one before and a constant of its own."""
    nodes = []
    weights = []
    for index in range(length):
        op = ("Add", "Mul", "Max", "Min")[index % 4]
        weights.append(from_array(np.full(4, 1 + index % 7, np.float32), f"w{index}"))
        nodes.append(helper.make_node(op, [f"v{index}", f"w{index}"], [f"v{index + 1}"]))
    return _model(nodes, _value("v0", ["n", 4]), _value(f"v{length}", ["n", 4]), weights)


def _value(name: str, shape: list[int | str]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _model(
    nodes: list[NodeProto],
    given: ValueInfoProto,
    result: ValueInfoProto,
    weights: list[TensorProto],
) -> bytes:
    graph = helper.make_graph(nodes, "main", [given], [result], initializer=weights)
    made: ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    return bytes(made.SerializeToString())
