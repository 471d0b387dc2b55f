"""Which element-wise nodes may be fused with the product before them, and which are.

A product's result that one node alone takes, and nobody asks for, need not go to memory and back
where that node computes element by element: an activation, a bias, a residual, a normalisation by
constants. Whether a device does so, and at what cost, it says itself (``core.device.Fuses``).
Numbers stay those of the common kernels: only cost and memory know of it. A node that a quantised
product takes in already is no matter of this (``quantised``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from onnx import GraphProto, ModelProto, NodeProto

from host_daemon.compiler import graphs
from host_daemon.compiler.analysis import Analysis, NodeInfo
from host_daemon.compiler.trace import Executed
from host_daemon.core.device import ARITHMETIC, DeviceModel, Epilogue, Fuses, NodeCost, Operation

_PRODUCTS: Final = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose"})
# What products are written as in int8 (``arithmetic.integers``).
_WRITTEN: Final = frozenset({"MatMulInteger", "ConvInteger"})
_ONNX_TEXT: Final = """
Celu Clip Elu Gelu HardSigmoid HardSwish LeakyRelu Mish PRelu Relu Selu Sigmoid Softplus Softsign
Swish Tanh ThresholdedRelu
"""
_ACTIVATIONS: Final[Mapping[str, frozenset[str]]] = {
    "": frozenset(_ONNX_TEXT.split()),
    "com.microsoft": frozenset({"BiasGelu", "FastGelu", "Gelu", "QuickGelu"}),
}
# Longer chains are cut: what is asked of a device at once has an end. Networks have a few.
LONGEST: Final = 32
_NORMALISATION: Final = "BatchNormalization"
# Activations that ONNX Runtime writes out, having no kernel, and as what a launch then shows them.
_WRITTEN_OUT: Final[Mapping[str, tuple[str, ...]]] = {
    "HardSwish": ("HardSigmoid", "Mul"),
    "Mish": ("Softplus", "Tanh", "Mul"),
    "Swish": ("Mul", "Sigmoid", "Mul"),
}


@dataclass(frozen=True, slots=True)
class Link:
    """A node behind a product, and which of its inputs is the result of the node before it."""

    name: str
    through: int


# By name of a product, in order, the nodes behind it that may be fused with it.
Fusions = Mapping[str, tuple[Link, ...]]
NO_FUSIONS: Final[Fusions] = {}


def possible(model: ModelProto, analysis: Analysis, device: DeviceModel) -> Fusions:
    """``find_fusions`` where the device fuses."""
    return find_fusions(model, analysis) if isinstance(device, Fuses) else NO_FUSIONS


def find_fusions(model: ModelProto, analysis: Analysis) -> dict[str, tuple[Link, ...]]:
    """Walk a checked model whose nodes have unique names; no node is behind two products."""
    found: dict[str, tuple[Link, ...]] = {}
    for at in graphs.graphs(model.graph):
        found |= _Walk(at.graph, analysis).chains()
    return found


class _Walk:
    """One graph. What nested graphs take of its values is taken by a node that is not here."""

    def __init__(self, graph: GraphProto, analysis: Analysis) -> None:
        self._nodes = list(graph.node)
        self._analysis = analysis
        self._products = [at for at, node in enumerate(self._nodes) if self._is_product(node)]
        if not self._products:
            return
        self._made = {name: at for at, n in enumerate(self._nodes) for name in n.output if name}
        self._takers: dict[str, list[tuple[int, int]]] = {}
        for at, node in enumerate(self._nodes):
            for index, name in enumerate(node.input):
                self._takers.setdefault(name, []).append((at, index))
        self._kept = {value.name for value in graph.output}
        for node in self._nodes:
            for body in graphs.subgraphs(node):
                self._kept |= _taken(body)
        self._claimed: set[int] = set()

    def chains(self) -> Iterator[tuple[str, tuple[Link, ...]]]:
        # Of two products that a sum takes the later one has it: then the other is there.
        for at in reversed(self._products):
            links = tuple(self._behind(at))
            if links:
                yield self._nodes[at].name, links

    def _is_product(self, node: NodeProto) -> bool:
        info, quantised = self._analysis.nodes[node.name], self._analysis.quantised
        if info.domain or info.free or node.name in quantised.requantised:
            return False
        written = info.op in _WRITTEN and node.name in quantised.arithmetic
        return info.op in _PRODUCTS or written

    def _behind(self, product: int) -> Iterator[Link]:
        value = self._nodes[product].output[0]
        head = self._nodes[product].name
        count = 0
        while count < LONGEST:
            takers = self._takers.get(value, ())
            if len(takers) != 1 or value in self._kept:
                return
            ((at, through),) = takers
            node = self._nodes[at]
            info = self._analysis.nodes[node.name]
            if head in self._analysis.quantised.around.get(node.name, ()):
                # Rounding and scales are part of the product: what they give is its result.
                value = node.output[0]
                continue
            if at in self._claimed or not self._is_link(info, through, product):
                return
            self._claimed.add(at)
            count += 1
            yield Link(node.name, through)
            value = node.output[0]

    def _is_link(self, info: NodeInfo, through: int, product: int) -> bool:
        if sum(map(bool, info.outputs)) != 1 or not info.outputs[0] or info.free:
            return False
        if ARITHMETIC in info.attributes:
            return False
        others = [
            name
            for index, name in enumerate(info.inputs)
            if name and index != through and index not in info.constant_inputs
        ]
        if info.op == "Add" and not info.domain:
            return all(self._made.get(name, -1) < product for name in others)
        if through or others:
            return False
        if info.op == _NORMALISATION and not info.domain:
            return not info.attributes.get("training_mode")
        return info.op in _ACTIVATIONS.get(info.domain, ())


def _taken(body: GraphProto) -> set[str]:
    names = {name for node in graphs.nodes(body) for name in node.input}
    return names | {value.name for at in graphs.graphs(body) for value in at.graph.output}


def gathered(
    nodes: Sequence[Executed], analysis: Analysis, fusions: Fusions
) -> Sequence[Executed]:
    """What a launch executed, with activations right behind a product, or behind what is, as the
    model has them where they were written out.
    """
    following: dict[str, str] = {}
    for product, links in fusions.items():
        names = [product, *(link.name for link in links)]
        following.update(pairwise(names))
    if not any(analysis.nodes[name].op in _WRITTEN_OUT for name in following.values()):
        return nodes
    made: list[Executed] = []
    at = 0
    while at < len(nodes):
        node, at = nodes[at], at + 1
        made.append(node)
        while name := following.get(made[-1].name):
            op = analysis.nodes[name].op
            parts = nodes[at : at + len(_WRITTEN_OUT.get(op, ()))]
            if not parts or any(each.name in analysis.nodes for each in parts):
                break
            if tuple(each.op for each in parts) != _WRITTEN_OUT[op]:
                break
            result = parts[-1].outputs[:1]
            made.append(Executed(name, op, result, result))
            at += len(parts)
    return made


def fused(
    device: DeviceModel, product: Operation, behind: Sequence[tuple[Operation, int]]
) -> Sequence[NodeCost]:
    """What a product costs and, one by one, the nodes behind it that the device fuses with it, each
    given with its input that is the result before it. Empty where it fuses none.
    """
    if not isinstance(device, Fuses):
        return ()
    shape = product.outputs[0][1] if product.outputs and product.outputs[0] else None
    fitting: list[Epilogue] = []
    for operation, through in behind:
        if shape is None or not _is_by_element(operation, through, shape):
            break
        fitting.append(Epilogue(operation, through))
    return device.fused(product, fitting) if fitting else ()


def _is_by_element(operation: Operation, through: int, shape: tuple[int, ...]) -> bool:
    """Whether each element of the result is made of one of the result before, of the same type."""
    given = operation.inputs[through] if through < len(operation.inputs) else None
    result = operation.outputs[0] if operation.outputs else None
    if given is None or result is None or given != result or given[1] != shape:
        return False
    return all(
        spec is None or index in operation.constant_inputs or spec == result
        for index, spec in enumerate(operation.inputs)
        if index != through
    )
