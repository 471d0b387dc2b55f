"""Which products of a graph are of short numbers, though the graph writes them as float32.

A quantised model in QDQ form dequantises both operands of a product and quantises its result. A
device with arithmetic for the operands computes it on them as they are stored: the product takes
the short numbers, and what stood around it costs nothing. A node may also state its arithmetic
itself, in its metadata under ``vaccel.arithmetic``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from onnx import ModelProto, NodeProto, TensorProto

from host_daemon.compiler import graphs
from host_daemon.core.device import ARITHMETIC

_PRODUCTS: Final = frozenset({"MatMul", "Gemm", "Conv"})
_STORED: Final[Mapping[int, str]] = {
    TensorProto.INT8: "int8",
    TensorProto.UINT8: "int8",
    TensorProto.INT4: "int4",
    TensorProto.UINT4: "int4",
    TensorProto.FLOAT8E4M3FN: "fp8_e4m3",
    TensorProto.FLOAT8E5M2: "fp8_e5m2",
}


@dataclass(frozen=True, slots=True)
class Quantised:
    """By names of nodes: the arithmetic of products, those whose result is quantised at once, and
    for what stands around them the products that take it in.
    """

    arithmetic: Mapping[str, str]
    requantised: frozenset[str]
    around: Mapping[str, frozenset[str]]


NOT_QUANTISED: Final = Quantised({}, frozenset(), {})


class _Uses:
    """Who makes each value, and who takes it; names are unique over all graphs of a model."""

    def __init__(self, model: ModelProto) -> None:
        self.makers: dict[str, NodeProto] = {}
        self.takers: dict[str, list[NodeProto]] = {}
        self.kinds: dict[str, int] = {}
        self.results: set[str] = set()
        for at in graphs.graphs(model.graph):
            self.results |= {value.name for value in at.graph.output}
            for value in at.graph.input:
                self.kinds[value.name] = value.type.tensor_type.elem_type
            for tensor in at.graph.initializer:
                self.kinds[tensor.name] = tensor.data_type
            for node in at.graph.node:
                self.makers.update(dict.fromkeys(node.output, node))
                for name in node.input:
                    self.takers.setdefault(name, []).append(node)

    def stored(self, value: str) -> str:
        """The arithmetic of what a value was before it was dequantised; "" where it was not."""
        maker = self.makers.get(value)
        if maker is None or maker.op_type != "DequantizeLinear":
            return ""
        source = maker.input[0]
        kind = self.kinds.get(source) or self._zero_point(maker)
        before = self.makers.get(source)
        if not kind and before is not None and before.op_type == "QuantizeLinear":
            kind = self._zero_point(before) or _output_type(before)
        return _STORED.get(kind, "")

    def _zero_point(self, node: NodeProto) -> int:
        return self.kinds.get(node.input[2], 0) if len(node.input) > 2 else 0

    def only_maker(self, value: str) -> NodeProto | None:
        """Who makes a value that one node alone takes."""
        alone = len(self.takers.get(value, ())) == 1 and value not in self.results
        return self.makers.get(value) if alone else None

    def product(self, node: NodeProto) -> str:
        """The arithmetic of a product of two dequantised operands; "" where it is none."""
        if node.op_type not in _PRODUCTS or node.domain not in ("", "ai.onnx"):
            return ""
        if len(node.input) < 2:
            return ""
        left, right = self.stored(node.input[0]), self.stored(node.input[1])
        if left == "int8" and right in ("int8", "int4"):
            return right
        return left if left == right and left.startswith("fp8") else ""


def _output_type(node: NodeProto) -> int:
    given = next((a.i for a in node.attribute if a.name == "output_dtype"), 0)
    return int(given) or TensorProto.UINT8


def stated(node: NodeProto) -> str:
    """The arithmetic that a node states itself; "" where it does not."""
    return next((entry.value for entry in node.metadata_props if entry.key == ARITHMETIC), "")


def find_quantised(model: ModelProto) -> Quantised:
    """Walk a checked model whose nodes have unique names."""
    uses = _Uses(model)
    arithmetic = {
        node.name: name for node in graphs.nodes(model.graph) if (name := uses.product(node))
    }
    requantised: set[str] = set()
    around: dict[str, frozenset[str]] = {}
    for node in graphs.nodes(model.graph):
        if node.op_type == "DequantizeLinear" and node.output[0] not in uses.results:
            takers = {taker.name for taker in uses.takers.get(node.output[0], ())}
            if takers and takers <= arithmetic.keys():
                around[node.name] = frozenset(takers)
        if node.op_type == "QuantizeLinear":
            behind = [node]
            maker = uses.only_maker(node.input[0])
            if maker is not None and maker.op_type == "Relu":
                # It is part of the clipping that quantises.
                behind.append(maker)
                maker = uses.only_maker(maker.input[0])
            if maker is not None and maker.name in arithmetic:
                around |= {each.name: frozenset({maker.name}) for each in behind}
                requantised.add(maker.name)
    return Quantised(arithmetic, frozenset(requantised), around)
