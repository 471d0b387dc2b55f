"""Constants that make a node impossible, where no schema says so.

ONNX Runtime loads such models and then divides by zero, loops until its context closes, or gives
NaN everywhere. Sources: the operator documents (https://onnx.ai/onnx/operators/).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, numpy_helper

from host_daemon.compiler import graphs
from host_daemon.compiler.inference import Inferred
from host_daemon.compiler.weights import Weights, is_apart
from vaccel import bounds
from vaccel.errors import InvalidModel

# Which operands are scales of a quantisation.
_SCALES: Final[Mapping[str, tuple[int, ...]]] = {
    "QuantizeLinear": (1,),
    "DequantizeLinear": (1,),
    "QLinearMatMul": (1, 4, 6),
    "QLinearConv": (1, 4, 6),
    "QLinearAdd": (1, 4, 6),
    "QLinearMul": (1, 4, 6),
    "QLinearSigmoid": (1, 3),
    "QLinearLeakyRelu": (1, 3),
    "QLinearAveragePool": (1, 3),
    "QLinearGlobalAveragePool": (1, 3),
    "QGemm": (1, 4, 7),
}


class Constants:
    """Values of initializers and of Constant nodes, read when they are asked for."""

    def __init__(self, model: ModelProto, weights: Weights) -> None:
        self._weights = weights
        self._tensors = {
            tensor.name: tensor
            for at in graphs.graphs(model.graph)
            for tensor in at.graph.initializer
            if not is_apart(tensor)
        }
        for node in graphs.nodes(model.graph):
            if node.op_type == "Constant" and node.output:
                for attribute in node.attribute:
                    if attribute.name == "value":
                        self._tensors[node.output[0]] = attribute.t
        # What an input may replace is no constant.
        for value in model.graph.input:
            self._tensors.pop(value.name, None)
        self._replaced = {value.name for value in model.graph.input}

    def find(self, name: str) -> np.ndarray[Any, Any] | None:
        """A constant's value; None where the name is none."""
        if name in self._weights and name not in self._replaced:
            return self._weights[name]
        tensor = self._tensors.get(name)
        if tensor is None:
            return None
        try:
            return numpy_helper.to_array(tensor)
        except (ValueError, TypeError, RuntimeError):
            return None  # the checker says what is wrong with it


def check(model: ModelProto, weights: Weights) -> None:
    """Raise InvalidModel naming a node that its constants make impossible."""
    constants = Constants(model, weights)
    for node in graphs.nodes(model.graph):
        for fault in _faults(node, constants):
            raise InvalidModel(f"node {graphs.title(node)}: {fault}")


def check_shapes(model: ModelProto, known: Mapping[str, Inferred]) -> None:
    """Raise InvalidModel naming a node whose operands' shapes cannot go together.

    Shape inference lets pass what it need not know to find the result's shape.
    """
    for node in model.graph.node:
        shapes = [known[n].shape if n in known else None for n in node.input]
        if node.op_type == "Conv" and len(shapes) > 1 and shapes[0] and shapes[1]:
            group = _integer(node, "group", 1)
            taken, given = shapes[1][1] * group, shapes[0][1]
            if taken != given:
                raise InvalidModel(
                    f"node {graphs.title(node)}: its weights are for {taken} channels, and"
                    f" {graphs.printable(node.input[0])} has {given}"
                )
        if node.op_type == "Reshape" and node.output[0] in known and shapes[0] is not None:
            result = known[node.output[0]].shape
            if result is not None and math.prod(result) != math.prod(shapes[0]):
                raise InvalidModel(
                    f"node {graphs.title(node)}: {list(shapes[0])} does not become {list(result)}"
                )


def _faults(node: NodeProto, constants: Constants) -> Iterator[str]:
    op = node.op_type
    if op in _SCALES:
        yield from _scales(node, constants)
    elif op in ("Conv", "ConvInteger", "QLinearConv", "ConvTranspose", "DeformConv"):
        yield from _convolution(node, constants)
    elif op == "Loop":
        yield from _endless(node, constants)
    elif op in ("MaxPool", "AveragePool", "LpPool"):
        kernel, pads = _integers(node, "kernel_shape"), _integers(node, "pads")
        for index, pad in enumerate(pads):
            if kernel and pad >= kernel[index % len(kernel)]:
                yield f"its pad of {pad} is not within its kernel of {list(kernel)}"
    elif op == "Split":
        count = _integer(node, "num_outputs", len(node.output))
        if count != len(node.output):
            yield f"its num_outputs is {count}, and it gives {len(node.output)}"
    elif op == "TopK" and len(node.input) > 1:
        k = constants.find(node.input[1])
        if k is not None and k.size == 1 and int(k.reshape(-1)[0]) < 0:
            yield f"its k is {int(k.reshape(-1)[0])}"


def _integer(node: NodeProto, name: str, default: int) -> int:
    return next((a.i for a in node.attribute if a.name == name), default)


def _integers(node: NodeProto, name: str) -> tuple[int, ...]:
    return next((tuple(a.ints) for a in node.attribute if a.name == name), ())


def _scales(node: NodeProto, constants: Constants) -> Iterator[str]:
    for index in _SCALES[node.op_type]:
        if index >= len(node.input) or not node.input[index]:
            continue
        scale = constants.find(node.input[index])
        if scale is None or scale.dtype.kind not in "fV" or scale.dtype.kind == "V":
            continue
        bad = scale[~np.isfinite(scale) | (scale == 0)]
        if bad.size:
            name = graphs.printable(node.input[index])
            yield f"its scale {name} holds {float(bad.reshape(-1)[0])}"


def _convolution(node: NodeProto, constants: Constants) -> Iterator[str]:
    group = _integer(node, "group", 1)
    if group < 1:
        yield f"its group is {group}"
        return
    place = 3 if node.op_type == "QLinearConv" else 1
    weight = constants.find(node.input[place]) if len(node.input) > place else None
    if weight is not None and weight.ndim and weight.shape[0] % group:
        yield f"its group {group} does not divide the {weight.shape[0]} channels of its weights"


def _endless(node: NodeProto, constants: Constants) -> Iterator[str]:
    """A loop of more turns than a launch may make, whose condition never changes."""
    trips = constants.find(node.input[0]) if node.input and node.input[0] else None
    if node.input and node.input[0] and trips is None:
        return
    count = int(trips.reshape(-1)[0]) if trips is not None and trips.size == 1 else None
    if count is not None and count <= bounds.TRACE_NODES:
        return
    start = constants.find(node.input[1]) if len(node.input) > 1 and node.input[1] else True
    if start is None or not np.all(start):
        return
    body = next(iter(graphs.subgraphs(node)), None)
    if body is not None and body.output and _stays_true(body, constants):
        turns = "endless turns" if count is None else f"{count} turns"
        yield f"{turns}, and a condition that stays true: at most {bounds.TRACE_NODES}"


def _stays_true(body: GraphProto, constants: Constants) -> bool:
    """Whether a body hands its condition on as it came, or as a constant that holds."""
    name = body.output[0].name
    makers = {out: node for node in body.node for out in node.output}
    while (maker := makers.get(name)) is not None and maker.op_type == "Identity":
        name = maker.input[0]
    given = constants.find(name)
    if given is not None:
        return bool(np.all(given))
    return len(body.input) > 1 and name == body.input[1].name


