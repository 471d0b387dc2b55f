"""Two small networks, each in fp32 and quantised to int8 from the same weights, in QDQ form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
# uint8 activations of which Relu left none below zero; int8 weights, symmetric.
_LEVELS: Final = 255.0
_WEIGHT_LEVELS: Final = 127.0


@dataclass(frozen=True, slots=True)
class Pair:
    """The same network twice, as ONNX bytes, and an input for both."""

    name: str
    fp32: bytes
    int8: bytes
    input: Floats


def pairs() -> Iterator[Pair]:
    """An MLP and a stack of convolutions, from a fixed seed: much to compute, little to move."""
    random = np.random.default_rng(7)
    yield _pair("mlp", "MatMul", [(256, 2048), *[(2048, 2048)] * 2, (2048, 16)], (128, 256), random)
    sides = [(128, 8, 3, 3), *[(128, 128, 3, 3)] * 2, (4, 128, 1, 1)]
    yield _pair("conv", "Conv", sides, (1, 8, 56, 56), random)


def _pair(
    name: str,
    op: str,
    weights: Sequence[tuple[int, ...]],
    shape: tuple[int, ...],
    random: np.random.Generator,
) -> Pair:
    layers: list[Floats] = []
    for side in weights:
        fan_in = side[0] if op == "MatMul" else int(np.prod(side[1:]))
        # Keeps the size of activations about the same from layer to layer (He et al., 2015).
        values = random.normal(0, np.sqrt(2 / fan_in), side)
        layers.append(values.astype(np.float32))
    data = np.abs(random.normal(0, 1, shape)).astype(np.float32)
    ranges = _calibrate(op, layers, data)
    return Pair(
        name,
        _build(op, layers, shape, None).SerializeToString(),
        _build(op, layers, shape, ranges).SerializeToString(),
        data,
    )


def _calibrate(op: str, layers: list[Floats], data: Floats) -> list[float]:
    """The largest value before each layer and after the last, as the fp32 network has them."""
    from onnxruntime import InferenceSession

    found = [float(data.max())]
    for count in range(1, len(layers) + 1):
        built = _build(op, layers[:count], data.shape, None).SerializeToString()
        session = InferenceSession(built, providers=["CPUExecutionProvider"])
        found.append(float(session.run(None, {"x": data})[0].max()))
    return found


class _Graph:
    """Nodes and constants of a network under construction."""

    def __init__(self) -> None:
        from onnx import helper, numpy_helper

        self._helper, self._numpy = helper, numpy_helper
        self.nodes: list[Any] = []
        self.constants: dict[str, NDArray[Any]] = {}

    def node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """Add a node; its output's name."""
        self.nodes.append(self._helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Add a constant; its name."""
        self.constants[name] = value
        return name

    def quantised(self, value: str, largest: float, name: str) -> str:
        """A value to uint8 and back."""
        scale = self.constant(f"{name}_scale", np.array(largest / _LEVELS, np.float32))
        zero = self.constant(f"{name}_zero", np.array(0, np.uint8))
        short = self.node("QuantizeLinear", [value, scale, zero], f"{name}_q")
        return self.node("DequantizeLinear", [short, scale, zero], f"{name}_d")

    def weight(self, value: Floats, name: str) -> str:
        """Weights in int8, dequantised."""
        size = np.float32(np.abs(value).max() / _WEIGHT_LEVELS)
        scale = self.constant(f"{name}_scale", np.array(size, np.float32))
        zero = self.constant(f"{name}_zero", np.array(0, np.int8))
        short = self.constant(f"{name}_q", np.rint(value / size).astype(np.int8))
        return self.node("DequantizeLinear", [short, scale, zero], f"{name}_d")

    def model(self, shape: tuple[int, ...]) -> Any:
        """The network from ``x`` to ``y``."""
        helper, kind = self._helper, 1  # TensorProto.FLOAT
        constants: Mapping[str, NDArray[Any]] = self.constants
        graph = helper.make_graph(
            self.nodes,
            "network",
            [helper.make_tensor_value_info("x", kind, shape)],
            [helper.make_tensor_value_info("y", kind, [None] * len(shape))],
            [self._numpy.from_array(value, name) for name, value in constants.items()],
        )
        opset = [helper.make_opsetid("", 21)]
        return helper.make_model(graph, opset_imports=opset, ir_version=10)


def _build(
    op: str, layers: list[Floats], shape: tuple[int, ...], ranges: list[float] | None
) -> Any:
    graph = _Graph()
    value = "x" if ranges is None else graph.quantised("x", ranges[0], "x")
    for index, layer in enumerate(layers):
        name = f"w{index}"
        # The image keeps its size: a kernel of 3 is padded by 1.
        attributes = {"pads": [layer.shape[-1] // 2] * 4} if op == "Conv" else {}
        weight = graph.constant(name, layer) if ranges is None else graph.weight(layer, name)
        value = graph.node(op, [value, weight], f"product{index}", **attributes)
        value = graph.node("Relu", [value], f"relu{index}")
        if ranges is not None:
            value = graph.quantised(value, ranges[index + 1], f"a{index}")
    graph.node("Identity", [value], "y")
    return graph.model(shape)
