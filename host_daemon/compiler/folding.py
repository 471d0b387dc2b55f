"""Constants of a graph as arrays, for those nodes that are not in a segment of ONNX Runtime.

ORT folds constants within a segment itself. What the device or the reference takes is computed here
once, when a program is loaded: weights as they are, and what is computed from nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from onnx import NodeProto, TensorProto, numpy_helper

from host_daemon.compiler import weights
from host_daemon.compiler.frontend import CheckedModel
from host_daemon.compiler.reference import ReferenceNode
from host_daemon.compiler.segments import Engine, Step, needs, submodel, weights_of
from host_daemon.compiler.session_step import Opening, SessionStep
from vaccel.errors import InvalidModel, Unsupported

if TYPE_CHECKING:
    from host_daemon.compiler.analysis import Analysis
    from host_daemon.compiler.placement import Placement


@dataclass(slots=True)
class Known:
    """Constants. ``protos`` are the main graph's initializers, ``apart`` data that lies beside
    them; ``computed`` are by name, and ``nodes`` those that made them.
    """

    protos: Mapping[str, Any]
    apart: Mapping[str, Any]
    weights: frozenset[str]
    computed: dict[str, Any] = field(default_factory=dict)
    nodes: set[str] = field(default_factory=set)

    def __contains__(self, name: str) -> bool:
        return name in self.computed or name in self.weights

    def __getitem__(self, name: str) -> Any:
        if name in self.computed:
            return self.computed[name]
        if name in self.apart:
            return self.apart[name]
        proto = self.protos[name]
        if not isinstance(proto, TensorProto):
            raise Unsupported(
                f"weight {name!r} is sparse, and its node is none of ONNX Runtime's",
                hint="store it as a dense initializer",
            )
        return numpy_helper.to_array(proto)


def defaults(model: CheckedModel) -> dict[str, Any]:
    """Inputs that have a default, with it."""
    graph = model.proto.graph
    inputs = {value.name for value in graph.input}
    return {
        tensor.name: model.weights[tensor.name]
        if weights.is_apart(tensor)
        else numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.name in inputs
    }


def fold(
    model: CheckedModel, analysis: Analysis, placement: Placement, opening: Opening
) -> Known:
    """What nodes outside of ORT's segments need of constants."""
    graph = model.proto.graph
    protos = weights_of(graph)
    inputs = {value.name for value in graph.input}
    known = Known(protos, model.weights, frozenset(protos.keys() - inputs))
    makers = {name: node for node in graph.node for name in node.output if name}
    pending = [
        name
        for node in graph.node
        if placement.engines.get(node.name, Engine.RUNTIME) is not Engine.RUNTIME
        for name in needs(node)
    ]
    wanted: set[str] = set()
    while pending:
        maker = makers.get(pending.pop())
        if maker is not None and maker.name not in wanted and _folds(maker, analysis):
            wanted.add(maker.name)
            pending += needs(maker)
    for node in graph.node:
        if node.name in wanted:
            known.computed |= _compute(node, model, placement, opening, known)
            known.nodes.add(node.name)
    return known


def _folds(node: NodeProto, analysis: Analysis) -> bool:
    return analysis.nodes[node.name].constant


def _compute(
    node: NodeProto, model: CheckedModel, placement: Placement, opening: Opening, known: Known
) -> dict[str, Any]:
    if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].HasField("t"):
        return {node.output[0]: numpy_helper.to_array(node.attribute[0].t)}
    takes = [name for name in needs(node) if name in known.computed]
    gives = [name for name in node.output if name]
    step = Step(Engine.RUNTIME, (node,), tuple(takes), tuple(gives))
    if placement.engines.get(node.name) is not Engine.REFERENCE:
        proto = submodel(model.proto, step, placement.kinds, known.protos)
        try:
            return SessionStep(proto, takes, gives, opening).run(known.computed, None)
        except (InvalidModel, Unsupported):
            placement.engines[node.name] = Engine.REFERENCE
    reference = ReferenceNode(node, model.proto, needs(node))
    return reference.run({name: known[name] for name in needs(node)})
