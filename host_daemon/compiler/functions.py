"""Functions that a model brings: its calls of them are replaced by what they stand for."""

from __future__ import annotations

from collections.abc import Iterable

from onnx import ModelProto, NodeProto

from host_daemon.compiler import blame, graphs
from vaccel import bounds
from vaccel.errors import InvalidModel


def inlined(model: ModelProto) -> ModelProto:
    """A model without functions of its own: each call is what it stands for.

    Raises InvalidModel where they call themselves or unfold to too much.
    """
    if not model.functions:
        return model
    from onnx import inliner

    if sum(len(function.node) for function in model.functions) > bounds.MODEL_NODES:
        raise InvalidModel(f"model's functions have more than {bounds.MODEL_NODES} nodes")
    _check_growth(model)
    _fill_defaults(model)
    others = _import_all(model)
    try:
        return inliner.inline_local_functions(model, convert_version=others)
    except (RuntimeError, ValueError) as fault:
        text = blame.plain(str(fault))
        raise InvalidModel(f"model's functions cannot be inlined: {text}") from fault


def _check_growth(model: ModelProto) -> None:
    """Refuse functions that call each other in a circle, or that unfold to too many nodes."""
    bodies = {(f.domain, f.name): f for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}
    open_calls: set[tuple[str, str]] = set()

    def unfolded(node: NodeProto) -> int:
        key = (node.domain, node.op_type)
        if key not in bodies:
            below = (n for graph in graphs.subgraphs(node) for n in graph.node)
            return 1 + sum(unfolded(n) for n in below)
        if key in open_calls or len(open_calls) >= bounds.MODEL_DEPTH:
            raise InvalidModel(
                f"function {graphs.printable(node.op_type)} calls itself, or nests deeper than"
                f" {bounds.MODEL_DEPTH}"
            )
        if key not in sizes:
            open_calls.add(key)
            sizes[key] = sum(unfolded(n) for n in bodies[key].node)
            open_calls.discard(key)
        return sizes[key]

    # Depth first: a look at every graph proves that none nests too deep for the walk above.
    for _ in graphs.graphs(model.graph):
        pass
    total = sum(unfolded(node) for node in model.graph.node)
    if total > bounds.MODEL_NODES:
        raise InvalidModel(f"model unfolds to {total} nodes: at most {bounds.MODEL_NODES}")


def _fill_defaults(model: ModelProto) -> None:
    """Give each call the attributes that it leaves to the function's defaults: ONNX's inliner would
    leave them out of the body.
    """
    defaults = {(f.domain, f.name): f.attribute_proto for f in model.functions if f.attribute_proto}
    if not defaults:
        return
    for node in _all_nodes(model):
        given = {attribute.name for attribute in node.attribute}
        for default in defaults.get((node.domain, node.op_type), ()):
            if default.name not in given:
                node.attribute.add().CopyFrom(default)


def _all_nodes(model: ModelProto) -> Iterable[NodeProto]:
    """Nodes of the main graph, of functions, and of what is nested in either."""
    open_nodes = [*model.graph.node, *(node for f in model.functions for node in f.node)]
    while open_nodes:
        node = open_nodes.pop()
        yield node
        open_nodes += (inner for graph in graphs.subgraphs(node) for inner in graph.node)


def _import_all(model: ModelProto) -> bool:
    """Import in the model what its functions import; whether any wants another version."""
    own = {each.domain: each.version for each in model.opset_import}
    others = False
    names = {f.domain for f in model.functions}
    for each in (each for f in model.functions for each in f.opset_import):
        if each.domain not in own and each.domain not in names:
            model.opset_import.add(domain=each.domain, version=each.version)
        if own.setdefault(each.domain, each.version) != each.version:
            others = True
    return others
