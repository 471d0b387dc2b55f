"""Walking graphs: nodes, tensors and constants, in the main graph and in every one nested in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from vaccel import bounds
from vaccel.errors import InvalidModel


@dataclass(frozen=True, slots=True)
class Nested:
    """A graph with how deep it is nested; the main graph is at 0."""

    graph: GraphProto
    depth: int


def graphs(root: GraphProto) -> Iterator[Nested]:
    """The graph and all below it, outer ones first. Raises InvalidModel past bounds.MODEL_DEPTH."""
    pending = [Nested(root, 0)]
    while pending:
        at = pending.pop()
        yield at
        for node in at.graph.node:
            if not node.attribute:
                continue  # most nodes of long chains, which are walked some twenty times
            for below in subgraphs(node):
                if at.depth >= bounds.MODEL_DEPTH:
                    raise InvalidModel(
                        f"node {title(node)}: graphs are nested deeper than {bounds.MODEL_DEPTH}"
                    )
                pending.append(Nested(below, at.depth + 1))


def nodes(root: GraphProto) -> Iterator[NodeProto]:
    """Every node, nested ones included."""
    for at in graphs(root):
        yield from at.graph.node


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs that a node carries: branches of If, bodies of Loop and Scan."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        elif attribute.type == AttributeProto.GRAPHS:
            yield from attribute.graphs


def tensors(model: ModelProto) -> Iterator[tuple[str, TensorProto]]:
    """(where it is, tensor) for every tensor of a model: weights, constants, sparse ones."""
    for at in graphs(model.graph):
        for tensor in at.graph.initializer:
            yield f"initializer {printable(tensor.name)}", tensor
        for sparse in at.graph.sparse_initializer:
            yield f"sparse initializer {printable(sparse.values.name)}", sparse.values
            yield f"sparse initializer {printable(sparse.values.name)}", sparse.indices
        yield from _constants(at.graph.node)
    for function in model.functions:
        yield from _constants(function.node)


def _constants(of: Iterable[NodeProto]) -> Iterator[tuple[str, TensorProto]]:
    for node in of:
        for attribute in node.attribute:
            where = f"attribute {printable(attribute.name)} of node {title(node)}"
            if attribute.HasField("t"):
                yield where, attribute.t
            if attribute.HasField("sparse_tensor"):
                yield where, attribute.sparse_tensor.values
                yield where, attribute.sparse_tensor.indices
            for tensor in attribute.tensors:
                yield where, tensor
            for sparse in attribute.sparse_tensors:
                yield where, sparse.values
                yield where, sparse.indices


def title(node: NodeProto) -> str:
    """A node as an error names it: its name and its op."""
    name = node.name or (node.output[0] if node.output else "")
    return f"{printable(name)} ({printable(node.op_type)})"


def printable(name: str | bytes) -> str:
    """A name from a model, quoted, short, and without control characters.

    Where a model's text is not UTF-8, protobuf hands out bytes.
    """
    text = name if isinstance(name, str) else name.decode("utf-8", "replace")
    return repr(text if len(text) <= bounds.NAME_BYTES else text[:80] + "…")
