"""A copy of a model while its products are written anew: names, constants, and what was done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from host_daemon.compiler import graphs, weights
from host_daemon.compiler.frontend import CheckedModel
from host_daemon.compiler.quantised import Quantised
from host_daemon.compiler.segments import needs
from vaccel.model import Array

# Smaller constants lie in the graph itself, where kernels that want one constant find it.
_APART_BYTES: Final = 1024
_FAULTS: Final = (onnx.shape_inference.InferenceError, RuntimeError, ValueError)


@dataclass(slots=True)
class Scope:
    """One graph and what is known in it: element types, constants, and values in short numbers.

    ``short`` has, by a value's name, the name of the same value rounded; its own where it is of
    such numbers already. Anything not found here is looked for in the graph around.
    """

    parent: Scope | None
    kinds: dict[str, int]
    constants: dict[str, TensorProto] = field(default_factory=dict)
    short: dict[str, str] = field(default_factory=dict)
    # The names that DynamicQuantizeLinear gave a value: numbers, scale, zero point.
    dynamic: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    own: set[str] = field(default_factory=set)

    def owner(self, name: str) -> Scope | None:
        """The scope that a value is of."""
        scope: Scope | None = self
        while scope is not None and name not in scope.own:
            scope = scope.parent
        return scope

    def kind(self, name: str) -> int:
        """The element type of a value, 0 where it is not known."""
        owner = self.owner(name)
        return owner.kinds.get(name, 0) if owner else 0

    def constant(self, name: str) -> TensorProto | None:
        """The tensor of a value that no launch changes."""
        owner = self.owner(name)
        return owner.constants.get(name) if owner else None

    def rounded(self, name: str) -> str:
        """The name of a value's rounded twin, "" where it has none that can be seen here."""
        owner, scope = self.owner(name), self
        while scope is not None:
            if name in scope.short:
                return scope.short[name]
            if scope is owner or scope.parent is None:
                break
            scope = scope.parent
        return ""


class Rewriting:
    """The copy. ``arithmetic`` and ``take_in`` say how its nodes are to be costed."""

    def __init__(self, model: CheckedModel) -> None:
        self._checked = model
        self.proto = ModelProto()
        self.proto.CopyFrom(model.proto)
        self.weights = dict(model.weights)
        self.arithmetic: dict[str, str] = {}
        self._around: dict[str, set[str]] = {}
        self._names = {name for at in graphs.graphs(self.proto.graph) for name in _all(at.graph)}

    def name(self, wish: str) -> str:
        """A name that nothing has yet."""
        name = wish
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name

    def constant(self, wish: str, value: Array) -> str:
        """Add a constant to the main graph, which all graphs see; its name."""
        name = self.name(wish)
        array = np.ascontiguousarray(value)
        if array.nbytes < _APART_BYTES:
            self.proto.graph.initializer.append(numpy_helper.from_array(array, name))
            return name
        array.setflags(write=False)
        self.weights[name] = array.reshape(value.shape)
        kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        self.proto.graph.initializer.add(name=name, data_type=kind, dims=value.shape)
        return name

    def array(self, tensor: TensorProto) -> Array:
        """The numbers of a constant."""
        if weights.is_apart(tensor):
            return self._checked.weights[tensor.name]
        return numpy_helper.to_array(tensor)

    def take_in(self, nodes: Iterable[str], product: str) -> None:
        """Nodes that are part of a product, and cost nothing of their own."""
        for name in nodes:
            self._around.setdefault(name, set()).add(product)

    def root(self) -> tuple[Scope, GraphProto]:
        """The main graph's scope, and the graph with types inferred."""
        shown = self._inferred()
        graph = self.proto.graph
        scope = _scope(None, graph, shown)
        for tensor in graph.initializer:
            scope.kinds[tensor.name] = tensor.data_type
        return scope, shown

    def _inferred(self) -> GraphProto:
        try:
            return onnx.shape_inference.infer_shapes(weights.as_inputs(self.proto)).graph
        except _FAULTS:
            return self.proto.graph

    def done(self) -> tuple[CheckedModel, Quantised]:
        """The model as it is now, without weights that nothing takes any more."""
        graph = self.proto.graph
        used = {name for node in graph.node for name in needs(node)}
        used |= {value.name for value in (*graph.input, *graph.output)}
        kept = [t for t in graph.initializer if t.name in used]
        left = [TensorProto.FromString(t.SerializeToString()) for t in kept]
        del graph.initializer[:]
        graph.initializer.extend(left)
        self.weights = {name: each for name, each in self.weights.items() if name in used}
        weights.mark(self.proto, self.weights)
        count = sum(1 for _ in graphs.nodes(graph))
        around = {name: frozenset(each) for name, each in self._around.items()}
        model = replace(self._checked, proto=self.proto, weights=self.weights, nodes=count)
        return model, Quantised(self.arithmetic, frozenset(), around)


def inner(scope: Scope, graph: GraphProto, shown: GraphProto) -> Scope:
    """The scope of a graph that a node carries."""
    return _scope(scope, graph, shown)


def note_constant(node: NodeProto, scope: Scope) -> None:
    """Remember the tensor of a Constant node."""
    if node.op_type != "Constant" or len(node.attribute) != 1:
        return
    given = node.attribute[0]
    if given.name == "value" and given.type == AttributeProto.TENSOR:
        scope.constants[node.output[0]] = given.t


def replace_nodes(graph: GraphProto, made: Iterable[NodeProto]) -> None:
    """Give a graph other nodes, some of which may be its own."""
    kept = [NodeProto.FromString(node.SerializeToString()) for node in made]
    del graph.node[:]
    graph.node.extend(kept)


def _scope(parent: Scope | None, graph: GraphProto, shown: GraphProto) -> Scope:
    kinds = {
        value.name: value.type.tensor_type.elem_type
        for value in (*shown.input, *shown.value_info, *shown.output)
    }
    kinds |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    inputs = {value.name for value in graph.input}
    constants = {t.name: t for t in graph.initializer if t.name not in inputs}
    own = inputs | constants.keys() | {each.values.name for each in graph.sparse_initializer}
    own |= {name for node in graph.node for name in node.output if name}
    return Scope(parent, kinds, constants, own=own)


def _all(graph: GraphProto) -> Iterator[str]:
    """Names of nodes and of values."""
    yield from (value.name for value in (*graph.input, *graph.output, *graph.value_info))
    yield from (tensor.name for tensor in graph.initializer)
    yield from (each.values.name for each in graph.sparse_initializer)
    for node in graph.node:
        yield node.name
        yield from node.input
        yield from node.output
