"""What a launch holds of device memory, node by node, where shapes are known.

A value lives from the node that makes it to the last that takes it; weights live as long as the
program. The most that is alive at once, weights included, has to fit the VF.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto

from host_daemon.compiler import graphs, shapes
from host_daemon.compiler.inference import Inferred, infer
from vaccel.errors import Exhausted, InvalidModel
from vaccel.model import Array, Shape

# Inputs whose values decide shapes are this large at most: a shape has a number for each dimension.
_VALUE_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes that are alive while a node runs, and the largest value among them."""

    node: str
    live_bytes: int
    largest: str
    largest_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """``peak`` is where most is held; ``unknown`` counts values whose size is not known yet."""

    weight_bytes: int
    held: tuple[Held, ...]
    unknown: int

    @property
    def peak(self) -> Held:
        """The node at which most is alive."""
        return max(self.held, key=lambda each: each.live_bytes, default=Held("", 0, "", 0))

    @property
    def peak_bytes(self) -> int:
        """Weights, and all that is alive at the worst node."""
        return self.weight_bytes + self.peak.live_bytes

    def check(self, capacity: int) -> None:
        """Raise Exhausted, naming node and bytes, where the launch does not fit."""
        short = self.peak_bytes - capacity
        if short > 0:
            at = self.peak
            raise Exhausted(
                f"node {at.node}: a launch holds {self.peak_bytes} bytes of device memory here"
                f" ({self.weight_bytes} of weights, {at.live_bytes} alive, the largest of them"
                f" {graphs.printable(at.largest)} with {at.largest_bytes} bytes):"
                f" {short} more than the VF's {capacity}",
                hint="take a VF of a larger profile, or smaller inputs",
            )


class Fit:
    """Whether launches of a model fit ``capacity`` bytes of device memory; 0: nobody asks."""

    def __init__(self, model: ModelProto, weight_bytes: int, capacity: int) -> None:
        self._model = model
        self._weight_bytes = weight_bytes
        self._capacity = capacity

    def check_known(self, known: Mapping[str, Inferred]) -> None:
        """Raise Exhausted where it is known before any launch that none can fit."""
        if self._capacity:
            plan(self._model.graph, known, self._weight_bytes).check(self._capacity)

    def check(self, inputs: Mapping[str, Any], steering: Iterable[str] = ()) -> None:
        """Raise Exhausted where a launch on such inputs does not fit. Their data may be lacking
        save for those that steer. InvalidArgument naming a recurrence over nothing.
        """
        known = self._known(inputs, steering)
        if known is None:
            return
        for node in self._model.graph.node:
            if node.op_type in shapes.RECURRENT:
                taken = [known.get(name) for name in node.input if name]
                shapes.check_elements(node, [each.shape for each in taken if each and each.shape])
        if self._capacity:
            plan(self._model.graph, known, self._weight_bytes).check(self._capacity)

    def plan(self, inputs: Mapping[str, Any], steering: Iterable[str] = ()) -> MemoryPlan | None:
        """The plan of such a launch; None where its inputs contradict the graph."""
        known = self._known(inputs, steering)
        return None if known is None else plan(self._model.graph, known, self._weight_bytes)

    def _known(
        self, inputs: Mapping[str, Any], steering: Iterable[str]
    ) -> dict[str, Inferred] | None:
        arrays = {name: each for name, each in inputs.items() if isinstance(each, np.ndarray)}
        given: dict[str, Shape] = {name: each.shape for name, each in arrays.items()}
        values: dict[str, Array] = {
            name: arrays[name]
            for name in steering
            if name in arrays and arrays[name].dtype.kind in "iu"
            and arrays[name].nbytes <= _VALUE_BYTES
        }
        try:
            return infer(self._model, given, values)
        except InvalidModel:
            return None  # the kernel itself says what does not fit


def plan(
    graph: GraphProto, known: Mapping[str, Inferred], weight_bytes: int
) -> MemoryPlan:
    """Liveness over the main graph, in its own order. Containers count with what they give."""
    weights = {tensor.name for tensor in graph.initializer}
    weights |= {sparse.values.name for sparse in graph.sparse_initializer}
    last = _last_uses(graph)
    sizes = {name: each.nbytes for name, each in known.items() if name not in weights}
    alive = {v.name: sizes.get(v.name) or 0 for v in graph.input if v.name not in weights}
    total = sum(alive.values())
    held: list[Held] = []
    for index, node in enumerate(graph.node):
        for name in filter(None, node.output):
            alive[name] = sizes.get(name) or 0
            total += alive[name]
        largest = max(_names(node, alive), key=lambda n: alive[n], default="")
        held.append(Held(graphs.title(node), total, largest, alive.get(largest, 0)))
        for name in last.get(index, ()):
            total -= alive.pop(name, 0)
    made = [name for node in graph.node for name in node.output if name]
    unknown = sum(1 for name in made if sizes.get(name) is None)
    return MemoryPlan(weight_bytes, tuple(held), unknown)


def _names(node: NodeProto, alive: Mapping[str, int]) -> Iterable[str]:
    return (name for name in (*node.input, *node.output) if name in alive)


def _last_uses(graph: GraphProto) -> dict[int, Sequence[str]]:
    """Values by the index of the node after which nobody takes them."""
    last: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for name in node.output:
            last[name] = index
        for name in node.input:
            last[name] = index
        for body in graphs.subgraphs(node):
            for inner in graphs.nodes(body):
                last.update(dict.fromkeys(inner.input, index))
    for value in graph.output:
        last.pop(value.name, None)
    by_node: dict[int, list[str]] = {}
    for name, index in last.items():
        by_node.setdefault(index, []).append(name)
    return dict(by_node)
