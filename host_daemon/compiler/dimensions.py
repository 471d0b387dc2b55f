"""What is surely known of values' types and dimensions, in the main graph and in nested ones.

A model may say of a graph's output, or of a loop's state, a shape that it has not: ONNX Runtime
runs it all the same, and shape inference believes it. So what a model says of those is left aside.
What it says of the main graph's inputs holds, since a session takes no others; types hold too.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, ValueInfoProto

from host_daemon.compiler import graphs, symbols, weights

Dims = tuple[int | None, ...]
# With names of sizes that are not known, each of which stands for one size in a launch.
Symbols = tuple[int | str | None, ...]
_FAULTS: Final = (onnx.shape_inference.InferenceError, RuntimeError, ValueError, MemoryError)
# Their result is as their first operand, in any domain.
_ALIKE: Final = frozenset({"DequantizeLinear", "QuantizeLinear", "Cast", "Identity"})


class Dimensions:
    """Of one model. Nothing is inferred before somebody asks for what is no constant."""

    def __init__(self, model: ModelProto) -> None:
        self._model = model
        given = {value.name for value in model.graph.input}
        self._defaults = given & {tensor.name for tensor in model.graph.initializer}
        self._nodes = list(graphs.nodes(model.graph))
        self._constants = {
            name: tensor
            for name, tensor in _tensors(model.graph, self._nodes)
            if name not in given
        }
        # What several graphs give one name to is known of none.
        self._twice = _repeated(model.graph)
        self._makers = {node.output[0]: node for node in self._nodes if node.output}
        self._inferred: dict[str, TypeProto] | None = None

    def of(self, name: str) -> Dims | None:
        """Dimensions, None for one that is not known; None where not even the rank is."""
        dims = self.symbolic(name)
        if dims is None:
            return None
        return tuple(None if isinstance(dim, str) else dim for dim in dims)

    def symbolic(self, name: str) -> Symbols | None:
        """Dimensions, by their symbols where they are not known.

        Those of inputs that each launch gives and is held to, and those that shape inference makes
        up, of which no two are the same.
        """
        for _ in range(len(self._nodes) + 1):
            if name in self._twice:
                return None
            if name in self._constants:
                return tuple(self._constants[name].dims)
            maker = self._makers.get(name)
            if maker is None or maker.op_type not in _ALIKE or not maker.input:
                break
            name = maker.input[0]
        kind = self._known().get(name)
        if kind is None or not kind.tensor_type.HasField("shape"):
            return None
        return tuple(
            dim.dim_value
            if dim.HasField("dim_value")
            else (dim.dim_param if symbols.is_symbol(dim.dim_param) else None)
            for dim in kind.tensor_type.shape.dim
        )

    def kind(self, name: str) -> int:
        """The type of its elements; UNDEFINED where it is not known."""
        if name in self._twice:
            return int(TensorProto.UNDEFINED)
        if name in self._constants:
            return self._constants[name].data_type
        kind = self._known().get(name)
        return kind.tensor_type.elem_type if kind is not None else int(TensorProto.UNDEFINED)

    def constant(self, name: str) -> TensorProto | None:
        """A constant by name, unless its data lies elsewhere."""
        found = None if name in self._twice else self._constants.get(name)
        return None if found is None or weights.is_apart(found) else found

    def _known(self) -> dict[str, TypeProto]:
        if self._inferred is None:
            shown = weights.as_inputs(self._model)
            forget_claims(shown)
            symbols.forget_unheld(shown.graph, self._defaults)
            weights.forget_defaults(shown.graph)
            # Else nothing is known but what the graphs' inputs say.
            with suppress(*_FAULTS):
                shown = onnx.shape_inference.infer_shapes(shown, data_prop=True)
            self._inferred = {
                value.name: value.type for value in _values(shown) if value.name not in self._twice
            }
        return self._inferred


def forget_claims(model: ModelProto, *, ranks: bool = True) -> None:
    """Take out the shapes that a model says of values which nobody holds it to.

    ``ranks``: also how many dimensions a loop collects, of which its result in no turn is made.
    """
    graph = model.graph
    told = list(graph.output)
    del graph.value_info[:]
    for node in graphs.nodes(graph):
        for body in graphs.subgraphs(node):
            del body.value_info[:]
            # A loop's first two are ONNX Runtime's own, which must know what they are.
            told += body.input[2 if node.op_type == "Loop" else 0 :]
            # By these it makes room for what an old Scan gives.
            told += () if node.op_type == "Scan" and opset_of(model) < 9 else body.output
            collects = node.op_type == "Loop" and not ranks
            for value in body.output[len(node.input) - 1 :] if collects else ():
                told.remove(value)
                for dim in value.type.tensor_type.shape.dim:
                    dim.Clear()
    for value in told:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")


def opset_of(model: ModelProto) -> int:
    """The opset of ONNX that a model is of."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)


def _values(model: ModelProto) -> Iterable[ValueInfoProto]:
    for at in graphs.graphs(model.graph):
        yield from at.graph.value_info
        yield from at.graph.output
        yield from at.graph.input


def _tensors(graph: GraphProto, nodes: Iterable[NodeProto]) -> Iterable[tuple[str, TensorProto]]:
    for at in graphs.graphs(graph):
        for tensor in at.graph.initializer:
            yield tensor.name, tensor
    for node in nodes:
        if node.op_type == "Constant" and node.output:
            for attribute in node.attribute:
                if attribute.name == "value":
                    yield node.output[0], attribute.t


def _repeated(graph: GraphProto) -> set[str]:
    """Names that more than one graph gives to a value of its own."""
    seen: set[str] = set()
    twice: set[str] = set()
    for at in graphs.graphs(graph):
        own = {value.name for value in at.graph.input}
        own |= {tensor.name for tensor in at.graph.initializer}
        own |= {name for node in at.graph.node for name in node.output if name}
        twice |= own & seen
        seen |= own
    return twice
