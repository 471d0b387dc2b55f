"""Cutting a graph into the fewest pieces that one engine each can run.

Nodes of the main graph, each given to an engine, become steps: nodes of ONNX Runtime as large
segments, and others one by one. The order is the graph's own, but for nodes that can wait: a
segment takes every node of ORT that is ready before a node of another engine gets its turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from onnx import GraphProto, ModelProto, NodeProto, TypeProto, ValueInfoProto

from host_daemon.compiler import graphs


class Engine(StrEnum):
    """Who computes a node of the main graph."""

    RUNTIME = "runtime"  # ONNX Runtime's kernels
    DEVICE = "device"  # the device, in its own arithmetic
    REFERENCE = "reference"  # ONNX's reference implementation


@dataclass(frozen=True, slots=True)
class Step:
    """Nodes that run together. ``takes`` and ``gives`` are values that cross its border; weights
    are not among them. ``drops`` are values that nobody takes after it.
    """

    engine: Engine
    nodes: tuple[NodeProto, ...]
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    drops: tuple[str, ...] = ()


def needs(node: NodeProto) -> list[str]:
    """Values that a node takes, those that its graphs capture included, each once."""
    found = dict.fromkeys(name for name in node.input if name)
    for body in graphs.subgraphs(node):
        found.update(dict.fromkeys(captures(body)))
    return list(found)


def captures(body: GraphProto) -> list[str]:
    """Values of outer graphs that a nested graph uses."""
    own = {value.name for value in body.input} | {each.name for each in body.initializer}
    own |= {each.values.name for each in body.sparse_initializer}
    found: dict[str, None] = {}
    for node in body.node:
        # Most nodes hold no graphs, and deep ones are walked once for each graph around them.
        for name in needs(node) if node.attribute else node.input:
            if name and name not in own:
                found[name] = None
        own.update(node.output)
    found.update(dict.fromkeys(value.name for value in body.output if value.name not in own))
    return list(found)


def cut(
    nodes: Sequence[NodeProto],
    wanted: Sequence[str],
    engines: Mapping[str, Engine],
    weights: frozenset[str],
) -> list[Step]:
    """Steps in an order in which they can run, that give what is ``wanted``.

    ``engines`` are by name of node, RUNTIME where not named. ``weights`` cross no border: each
    step has those that it needs.
    """
    return _bordered(_grouped(nodes, engines), set(wanted), weights)


def _grouped(
    nodes: Sequence[NodeProto], engines: Mapping[str, Engine]
) -> list[tuple[Engine, list[NodeProto]]]:
    """Nodes by step: Kahn's order, with ORT's nodes taken as long as any is ready."""
    makers = {name: index for index, node in enumerate(nodes) for name in node.output if name}
    before = [{makers[name] for name in needs(node) if name in makers} for node in nodes]
    after: dict[int, list[int]] = {}
    for index, earlier in enumerate(before):
        for each in earlier:
            after.setdefault(each, []).append(index)
    missing = [len(earlier) for earlier in before]
    ready: dict[bool, deque[int]] = {True: deque(), False: deque()}

    def engine_of(index: int) -> Engine:
        return engines.get(nodes[index].name, Engine.RUNTIME)

    def offer(index: int) -> None:
        ready[engine_of(index) is Engine.RUNTIME].append(index)

    for index, count in enumerate(missing):
        if not count:
            offer(index)
    groups: list[tuple[Engine, list[NodeProto]]] = []
    while ready[True] or ready[False]:
        segment: list[int] = []
        others: list[int] = []
        while ready[True]:
            index = ready[True].popleft()
            segment.append(index)
            _release(index, after, missing, offer)
        if segment:
            groups.append((Engine.RUNTIME, [nodes[each] for each in sorted(segment)]))
            continue
        others.extend(ready[False])
        ready[False].clear()
        for index in others:
            groups.append((engine_of(index), [nodes[index]]))
            _release(index, after, missing, offer)
    return groups


def _release(
    index: int, after: Mapping[int, list[int]], missing: list[int], offer: Callable[[int], None]
) -> None:
    for each in after.get(index, ()):
        missing[each] -= 1
        if not missing[each]:
            offer(each)


def _bordered(
    groups: Sequence[tuple[Engine, list[NodeProto]]], wanted: set[str], weights: frozenset[str]
) -> list[Step]:
    """Steps with what crosses their borders, seen from the end: what later ones still need."""
    needed = set(wanted)
    steps: list[Step] = []
    for engine, nodes in reversed(groups):
        made = {name for node in nodes for name in node.output if name}
        taken = dict.fromkeys(
            name
            for node in nodes
            for name in needs(node)
            if name not in made and name not in weights
        )
        gives = tuple(dict.fromkeys(n for node in nodes for n in node.output if n in needed))
        drops = tuple(name for name in taken if name not in needed)
        steps.append(Step(engine, tuple(nodes), tuple(taken), gives, drops))
        needed = (needed - made) | set(taken)
    return steps[::-1]


def weights_of(graph: GraphProto) -> dict[str, Any]:
    """Initializers by name: dense and sparse protos."""
    found: dict[str, Any] = {tensor.name: tensor for tensor in graph.initializer}
    return found | {sparse.values.name: sparse for sparse in graph.sparse_initializer}


def submodel(
    model: ModelProto, step: Step, kinds: Mapping[str, TypeProto], weights: Mapping[str, Any]
) -> ModelProto:
    """A step as a model of its own: inputs it takes, weights it uses, outputs it gives.

    ``weights`` are the main graph's initializers by name (dense or sparse protos).
    """
    made = ModelProto(ir_version=model.ir_version)
    made.opset_import.extend(model.opset_import)
    graph = made.graph
    graph.name = "segment"
    graph.node.extend(step.nodes)
    held = {value.name for value in model.graph.input}
    for name in step.takes:
        graph.input.append(ValueInfoProto(name=name, type=kinds.get(name)))
        if name not in held:
            # Nobody holds it to symbols.
            for dim in graph.input[-1].type.tensor_type.shape.dim:
                dim.ClearField("dim_param")
    for name in step.gives:
        graph.output.append(ValueInfoProto(name=name))
    used = dict.fromkeys(name for node in step.nodes for name in needs(node))
    for name in used:
        weight = weights.get(name)
        if weight is None or name in step.takes:
            continue
        if hasattr(weight, "indices"):
            graph.sparse_initializer.append(weight)
        else:
            graph.initializer.append(weight)
    return made
