"""What can be known of a graph before it runs: what steers it, what is constant, what its nodes
are.

The analysis walks each graph once, in order. A **fact** of a value says which inputs of the program
its *value* depends on, and whether it is constant. ``Shape`` and ``Size`` end a dependence: shapes
are part of a plan's key already, and whatever decided a shape was noted as steering where it did
so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Final

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from host_daemon.compiler import graphs
from host_daemon.compiler.quantised import NOT_QUANTISED, Quantised, find_quantised, stated
from host_daemon.compiler.signature import FROM_ONNX
from host_daemon.compiler.steering import is_random, steering_operands
from host_daemon.compiler.weights import as_inputs
from host_daemon.core.device import ARITHMETIC, DEMANDS
from vaccel.model import DType

# A source that no input can be named as: values drawn at random.
RANDOM: Final = "\0random"
# A fixed point of a loop's state is sought this often, and this deep; past it, all depends on all.
_PASSES: Final = 4
_EXACT_LOOP_DEPTH: Final = 2
_CONTAINERS: Final = frozenset({"If", "Loop", "Scan", "SequenceMap"})
_NARROW_FLOATS: Final = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})


@dataclass(frozen=True, slots=True)
class Fact:
    """``sources``: the program inputs that the value depends on."""

    sources: frozenset[str] = frozenset()
    constant: bool = False


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node without its graph. ``inputs`` and ``outputs`` have "" where an optional one is left
    out.
    """

    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    constant_inputs: frozenset[int]
    # Computed once at load, because all it takes is constant; or a container of graphs.
    free: bool
    constant: bool = False


@dataclass(frozen=True, slots=True)
class Analysis:
    """``dtypes``: of values that ORT's CPU kernels may compute wider than the model says."""

    steering: frozenset[str]
    nodes: Mapping[str, NodeInfo]
    dtypes: Mapping[str, DType]
    quantised: Quantised = NOT_QUANTISED

    @property
    def random(self) -> bool:
        """Whether chance steers the graph: then no plan can be kept."""
        return RANDOM in self.steering


_UNKNOWN: Final = Fact()
_CONSTANT: Final = Fact(constant=True)


@dataclass(slots=True)
class _Scope:
    parent: _Scope | None = None
    facts: dict[str, Fact] = field(default_factory=dict)

    def find(self, name: str) -> Fact:
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.facts:
                return scope.facts[name]
            scope = scope.parent
        return _UNKNOWN


def analyse(model: ModelProto) -> Analysis:
    """Walk a checked model whose nodes have unique names."""
    walk = _Walk()
    scope = _Scope()
    for value in model.graph.input:
        scope.facts[value.name] = Fact(frozenset((value.name,)))
    walk.graph(model.graph, scope, 0)
    narrow = _narrow_kinds(model)
    return Analysis(
        frozenset(walk.steering),
        walk.nodes,
        {name: FROM_ONNX[kind] for name, kind in narrow.items()},
        find_quantised(model),
    )


class _Walk:
    def __init__(self) -> None:
        self.steering: set[str] = set()
        self.nodes: dict[str, NodeInfo] = {}

    def graph(self, graph: GraphProto, scope: _Scope, loops: int) -> list[Fact]:
        """Facts of the graph's outputs; its inputs are in the scope already."""
        for tensor in graph.initializer:
            scope.facts.setdefault(tensor.name, _CONSTANT)
        for sparse in graph.sparse_initializer:
            scope.facts.setdefault(sparse.values.name, _CONSTANT)
        for node in graph.node:
            inputs = [scope.find(name) if name else _CONSTANT for name in node.input]
            results = self._node(node, inputs, scope, loops)
            for name, fact in zip(node.output, results, strict=False):
                if name:
                    scope.facts[name] = fact
        return [scope.find(value.name) for value in graph.output]

    def _node(
        self, node: NodeProto, inputs: list[Fact], scope: _Scope, loops: int
    ) -> Sequence[Fact]:
        has_graphs = any(True for _ in graphs.subgraphs(node))
        folded = not has_graphs and not is_random(node) and all(f.constant for f in inputs)
        container = node.op_type in _CONTAINERS
        self.nodes[node.name] = _info(node, inputs, folded or container, folded)
        if folded:
            return [_CONSTANT] * len(node.output)
        for index in steering_operands(node):
            if index >= len(inputs):
                break
            self.steering |= inputs[index].sources
        if has_graphs:
            return self._nested(node, inputs, scope, loops)
        if node.op_type in ("Shape", "Size"):
            return [_UNKNOWN] * len(node.output)
        sources = _union(inputs) | ({RANDOM} if is_random(node) else frozenset())
        return [Fact(sources)] * len(node.output)

    def _nested(
        self, node: NodeProto, inputs: list[Fact], scope: _Scope, loops: int
    ) -> Sequence[Fact]:
        if node.op_type == "If" and node.domain in ("", "ai.onnx"):
            return self._branches(node, inputs, scope, loops)
        if node.op_type in ("Loop", "Scan") and node.domain in ("", "ai.onnx"):
            return self._loop(node, inputs, scope, loops)
        everything = Fact(_union(inputs) | self._captured(node, scope))
        for body in graphs.subgraphs(node):
            self.graph(body, _inner(scope, body, [everything] * len(body.input)), loops)
        self.steering |= everything.sources
        return [everything] * len(node.output)

    def _branches(
        self, node: NodeProto, inputs: list[Fact], scope: _Scope, loops: int
    ) -> Sequence[Fact]:
        condition = inputs[0].sources
        self.steering |= condition
        taken = [self.graph(branch, _Scope(scope), loops) for branch in graphs.subgraphs(node)]
        return [
            Fact(condition | _union(facts)) for facts in zip_longest(*taken, fillvalue=_UNKNOWN)
        ]

    def _loop(
        self, node: NodeProto, inputs: list[Fact], scope: _Scope, loops: int
    ) -> Sequence[Fact]:
        """Seek the fixed point of the state that a body hands to its next turn."""
        body = next(iter(graphs.subgraphs(node)))
        is_loop = node.op_type == "Loop"
        # A Loop's body sees (turn, condition, state…) and gives (condition, state…, scans…); a
        # Scan's sees (state…, slices…) and gives (state…, scans…): ``skew`` is what lies between
        # the two.
        skew = 1 if is_loop else 0
        if is_loop:
            self.steering |= _union(inputs[:2])
            entry = [_UNKNOWN, *(Fact(fact.sources) for fact in inputs[1:])]
            fed_back = len(inputs) - 1
        else:
            entry = [Fact(fact.sources) for fact in inputs]
            fed_back = len(inputs) - _attribute(node, "num_scan_inputs", 0)
        everything = Fact(_union(inputs) | self._captured(node, scope))
        turns = _PASSES if loops < _EXACT_LOOP_DEPTH else 0
        while True:
            if turns == 0:
                entry = [everything] * len(entry)
            results = self.graph(body, _inner(scope, body, entry), loops + 1)
            if is_loop and results:
                self.steering |= results[0].sources
            grown = list(entry)
            for index, fact in enumerate(results[:fed_back]):
                if index + skew < len(grown):
                    grown[index + skew] = Fact(grown[index + skew].sources | fact.sources)
            if turns == 0 or grown == entry:
                return [Fact(fact.sources) for fact in results[skew:]]
            entry = grown
            turns -= 1

    def _captured(self, node: NodeProto, scope: _Scope) -> frozenset[str]:
        """What values of the outer scopes, used inside the node's graphs, depend on."""
        names = {
            name
            for body in graphs.subgraphs(node)
            for inner in graphs.nodes(body)
            for name in inner.input
        }
        return _union(scope.find(name) for name in names)


def _inner(scope: _Scope, body: GraphProto, facts: Sequence[Fact]) -> _Scope:
    names = [value.name for value in body.input]
    return _Scope(scope, dict(zip(names, facts, strict=False)))


def _union(facts: Iterable[Fact]) -> frozenset[str]:
    return frozenset().union(*(fact.sources for fact in facts))


def _attribute(node: NodeProto, name: str, default: int) -> int:
    return next((int(a.i) for a in node.attribute if a.name == name), default)


def _info(node: NodeProto, inputs: Sequence[Fact], free: bool, constant: bool) -> NodeInfo:
    constants = frozenset(i for i, f in enumerate(inputs) if f.constant and node.input[i])
    return NodeInfo(
        node.op_type,
        "" if node.domain == "ai.onnx" else node.domain,
        tuple(node.input),
        tuple(node.output),
        {} if free else _attributes(node),
        constants,
        free,
        constant,
    )


_PLAIN: Final = frozenset(
    {
        AttributeProto.FLOAT,
        AttributeProto.INT,
        AttributeProto.STRING,
        AttributeProto.FLOATS,
        AttributeProto.INTS,
        AttributeProto.STRINGS,
    }
)


def _attributes(node: NodeProto) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        if attribute.type in _PLAIN:
            value = onnx.helper.get_attribute_value(attribute)
            if isinstance(value, bytes):
                value = value.decode("utf-8", "replace")
            elif isinstance(value, list):
                value = tuple(
                    v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in value
                )
            found[attribute.name] = value
    for entry in node.metadata_props:
        if entry.key in DEMANDS:
            found[entry.key] = entry.value
    asked = stated(node)
    return found | {ARITHMETIC: asked} if asked else found


def _narrow_kinds(model: ModelProto) -> dict[str, int]:
    """Types of values in models with fp16 or bf16: ORT's CPU kernels widen some of them to fp32."""
    kinds = {tensor.data_type for tensor in model.graph.initializer}
    kinds |= {value.type.tensor_type.elem_type for value in model.graph.input}
    if not kinds & _NARROW_FLOATS:
        return {}
    try:
        inferred = onnx.shape_inference.infer_shapes(as_inputs(model))
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        inferred = model
    found: dict[str, int] = {}
    for at in graphs.graphs(inferred.graph):
        for value in (*at.graph.value_info, *at.graph.input, *at.graph.output):
            kind = value.type.tensor_type.elem_type
            if kind in _NARROW_FLOATS:
                found[value.name] = kind
        for tensor in at.graph.initializer:
            if tensor.data_type in _NARROW_FLOATS:
                found[tensor.name] = tensor.data_type
    return found
