"""Small constants that are equal, shared by all that take them, in graphs with many of them.

ONNX Runtime 1.32 does so itself (``ConstantSharing``), in time that grows with the square of their
number, as does the time in which it gives up each one that is left: half of a session over 20,000
nodes with a constant each. By hash it takes as long as reading them, and the graph is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from onnx import GraphProto, ModelProto, NodeProto, TensorProto

from host_daemon.compiler import graphs, weights
from host_daemon.compiler.segments import needs

# With fewer of them ORT's own way takes a millisecond at most.
MANY: Final = 500
# What ORT shares.
_KINDS: Final = frozenset(
    {
        TensorProto.FLOAT,
        TensorProto.FLOAT16,
        TensorProto.DOUBLE,
        TensorProto.INT32,
        TensorProto.INT64,
    }
)
# Elements in one, at most.
_ELEMENTS: Final = 8
# Before this version of the IR every initializer is an input too.
_IR_WITHOUT_INPUTS: Final = 4


def is_due(model: ModelProto) -> bool:
    """Whether a model has so many constants that ``shared`` does for it what ORT would."""
    if model.ir_version < _IR_WITHOUT_INPUTS:
        return False
    constants = sum(1 for node in model.graph.node if node.op_type == "Constant")
    return len(model.graph.initializer) + constants >= MANY


def shared(model: ModelProto) -> ModelProto:
    """The model with one of each small constant of its main graph; itself where all differ.

    Nested graphs keep what they use of it, and so do the graph's inputs and outputs.
    """
    instead = _equal(model.graph)
    if not instead:
        return model
    made = ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    initializers = [t for t in model.graph.initializer if t.name not in instead]
    del graph.initializer[:]
    graph.initializer.extend(initializers)
    if any(_gives(node, instead) for node in graph.node):
        nodes = [node for node in model.graph.node if not _gives(node, instead)]
        del graph.node[:]
        graph.node.extend(nodes)
    for node in graph.node:
        inputs = node.input
        for index, name in enumerate(inputs):
            if name in instead:
                inputs[index] = instead[name]
    return made


def _equal(graph: GraphProto) -> dict[str, str]:
    """Names of constants that an earlier one is equal to, with the earlier one's."""
    kept = {value.name for value in (*graph.input, *graph.output)}
    for node in graph.node:
        if node.attribute and any(True for _ in graphs.subgraphs(node)):
            kept.update(needs(node))
    first: dict[object, str] = {}
    instead: dict[str, str] = {}
    for name, tensor in _constants(graph):
        if name in kept or not _is_small(tensor):
            continue
        earlier = first.setdefault(_value(tensor), name)
        if earlier != name:
            instead[name] = earlier
    return instead


def _constants(graph: GraphProto) -> Iterable[tuple[str, TensorProto]]:
    for tensor in graph.initializer:
        yield tensor.name, tensor
    for node in graph.node:
        if _is_constant(node):
            yield node.output[0], node.attribute[0].t


def _is_constant(node: NodeProto) -> bool:
    return (
        node.op_type == "Constant"
        and node.domain in ("", "ai.onnx")
        and len(node.attribute) == 1
        and node.attribute[0].HasField("t")
    )


def _gives(node: NodeProto, names: Mapping[str, str]) -> bool:
    return _is_constant(node) and node.output[0] in names


def _is_small(tensor: TensorProto) -> bool:
    if tensor.data_type not in _KINDS or weights.is_apart(tensor):
        return False
    count = 1
    for dim in tensor.dims:
        count *= dim
    return 0 < count <= _ELEMENTS


def _value(tensor: TensorProto) -> object:
    """All of a tensor but what it is called."""
    if tensor.HasField("raw_data"):
        return tensor.data_type, tuple(tensor.dims), tensor.raw_data
    bare = TensorProto()
    bare.CopyFrom(tensor)
    bare.ClearField("name")
    bare.ClearField("doc_string")
    return bare.SerializeToString(deterministic=True)

