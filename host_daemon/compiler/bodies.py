"""What is known of the values of nested graphs, once those around them are known.

ONNX's inference forgets the shapes of a loop's state, which may change from turn to turn. Here a
body is looked at by itself, on what its first turn gets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from host_daemon.compiler import graphs, weights
from host_daemon.compiler.dimensions import forget_claims
from host_daemon.compiler.inference import Inferred, densify, known_of
from host_daemon.compiler.segments import captures
from vaccel.model import Array

# Constants that decide shapes are this large at most.
_SMALL: Final = 1024
# Nodes of bodies that are inferred for one plan: a graph within others is, once for each of them.
# What is past it is not known, so that depth does not multiply what a large model takes.
NODES_INFERRED: Final = 100_000
_FAULTS: Final = (onnx.shape_inference.InferenceError, RuntimeError, ValueError, MemoryError)


class Scope:
    """The values of one graph: types, shapes, and small constants. What a name stands for is looked
    for in the graphs around, too.
    """

    def __init__(
        self,
        model: ModelProto,
        graph: GraphProto,
        known: Mapping[str, Inferred],
        values: Mapping[str, Array],
        parent: Scope | None = None,
    ) -> None:
        self.known = dict(known)
        self._model = model
        self._parent = parent
        self._left: list[int] = parent._left if parent else [NODES_INFERRED]
        replaced = {value.name for value in graph.input}
        self._constants = {
            tensor.name: tensor
            for tensor in (*graph.initializer, *_constant_nodes(graph))
            if _is_small(tensor) and tensor.name not in replaced
        }
        self._constants |= {name: numpy_helper.from_array(v, name) for name, v in values.items()}

    def find(self, name: str) -> Inferred | None:
        """What is known of a value."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.known:
                return scope.known[name]
            scope = scope._parent
        return None

    def nbytes(self, name: str) -> int | None:
        """Bytes of a value, where they are known."""
        found = self.find(name)
        return None if found is None else found.nbytes

    def constant(self, name: str) -> np.ndarray[Any, Any] | None:
        """A small constant's value; None where the name is none."""
        tensor = self._constant(name)
        try:
            return None if tensor is None else numpy_helper.to_array(tensor)
        except (ValueError, TypeError, RuntimeError):
            return None

    def _constant(self, name: str) -> TensorProto | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope._constants:
                return scope._constants[name]
            if name in scope.known:
                return None
            scope = scope._parent
        return None

    def within(self, body: GraphProto, entry: Mapping[str, Inferred]) -> Scope:
        """The scope of a graph that a node carries; ``entry`` is what its inputs get."""
        own = {tensor.name: Inferred(tensor.data_type, tuple(tensor.dims)) for tensor in
               body.initializer}
        known = dict(entry) | own
        self._left[0] -= sum(len(at.graph.node) for at in graphs.graphs(body))
        if self._left[0] < 0:
            return Scope(self._model, body, known, {}, self)
        shown = self._shown(body, known)
        try:
            found = onnx.shape_inference.infer_shapes(shown, data_prop=True)
        except _FAULTS:
            found = ModelProto()  # then no more is known than what comes in
        graph = found.graph
        names = {name for node in body.node for name in node.output}
        values = (value for value in (*graph.value_info, *graph.output) if value.name in names)
        known |= {value.name: each for value in values if (each := known_of(value)) is not None}
        return Scope(self._model, body, known, {}, self)

    def _shown(self, body: GraphProto, known: Mapping[str, Inferred]) -> ModelProto:
        """A body as a model of its own: what it takes of the graphs around are its inputs."""
        shown = ModelProto(ir_version=self._model.ir_version)
        shown.opset_import.extend(self._model.opset_import)
        graph = shown.graph
        graph.name = body.name
        graph.node.extend(body.node)
        graph.input.extend(value for value in body.input if value.name not in known)
        graph.output.extend(body.output)
        graph.sparse_initializer.extend(body.sparse_initializer)
        forget_claims(shown)
        for value in graph.input:
            if value.type.HasField("tensor_type"):
                value.type.tensor_type.ClearField("shape")
        densify(graph)
        for name in (*known, *captures(body)):
            tensor = self._constant(name) if name not in known else None
            each = known.get(name) or self.find(name)
            if tensor is not None:
                graph.initializer.add().CopyFrom(tensor)
            elif each is not None:
                graph.input.append(helper.make_tensor_value_info(name, each.kind, each.shape))
        # Those of its own that are small may decide shapes; the others need not be copied.
        for tensor in body.initializer:
            if _is_small(tensor):
                graph.initializer.add().CopyFrom(tensor)
        return shown


def turns(node: NodeProto, body: GraphProto, scope: Scope) -> int | None:
    """How often a Loop turns, where constants say so."""
    trips = scope.constant(node.input[0]) if node.input and node.input[0] else None
    if trips is None or trips.size != 1:
        return None
    start = scope.constant(node.input[1]) if len(node.input) > 1 and node.input[1] else True
    if start is None:
        return None
    count = max(0, int(trips.reshape(-1)[0]))
    if not np.all(start) or not count:
        return 0
    makers = {out: each for each in body.node for out in each.output}
    name = body.output[0].name
    while (maker := makers.get(name)) is not None and maker.op_type == "Identity":
        name = maker.input[0]
    return count if len(body.input) > 1 and name == body.input[1].name else None


def _constant_nodes(graph: GraphProto) -> list[TensorProto]:
    found = []
    for node in graph.node:
        if node.op_type == "Constant" and node.output:
            for attribute in node.attribute:
                if attribute.name == "value" and _is_small(attribute.t):
                    tensor = TensorProto()
                    tensor.CopyFrom(attribute.t)
                    tensor.name = node.output[0]
                    found.append(tensor)
    return found


def _is_small(tensor: TensorProto) -> bool:
    return not weights.is_apart(tensor) and tensor.ByteSize() <= _SMALL
