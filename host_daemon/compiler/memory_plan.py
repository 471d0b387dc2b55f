"""What a launch holds of device memory, node by node, where shapes are known.

A value lives from the node that makes it to the last that takes it; weights live as long as the
program. The most that is alive at once, weights included, has to fit the VF (``liveness``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from onnx import GraphProto, ModelProto

from host_daemon.compiler import graphs, shapes
from host_daemon.compiler.bodies import Scope
from host_daemon.compiler.inference import Inferred, infer
from host_daemon.compiler.liveness import Groups, Held, Walk
from vaccel.errors import Exhausted, InvalidModel
from vaccel.model import Array, Shape

# Inputs whose values decide shapes are this large at most: a shape has a number for each dimension.
_VALUE_BYTES: Final = 1024


_NO_VALUES: Final[Mapping[str, Array]] = MappingProxyType({})


def _no_groups(graph: GraphProto, scope: Scope) -> Mapping[int, Sequence[int]]:
    return {}


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
                f"node {at.where}: a launch holds {self.peak_bytes} bytes of device memory here"
                f" ({self.weight_bytes} of weights, {at.live_bytes} alive, the largest of them"
                f" {graphs.printable(at.largest)} with {at.largest_bytes} bytes):"
                f" {short} more than the VF's {capacity}",
                hint="take a VF of a larger profile, or smaller inputs",
            )


class Fit:
    """Whether launches of a model fit ``capacity`` bytes of device memory; 0: nobody asks."""

    def __init__(
        self, model: ModelProto, weight_bytes: int, capacity: int, groups: Groups = _no_groups
    ) -> None:
        """``groups`` are the nodes that the device fuses."""
        self._model = model
        self._groups = groups
        self._weight_bytes = weight_bytes
        self._capacity = capacity

    def check_known(self, known: Mapping[str, Inferred]) -> None:
        """Raise Exhausted where it is known before any launch that none can fit."""
        if self._capacity:
            self._plan(known, {}).check(self._capacity)

    def check(self, inputs: Mapping[str, Any], steering: Iterable[str] = ()) -> None:
        """Raise Exhausted where a launch on such inputs does not fit. Their data may be lacking
        save for those that steer. InvalidArgument naming a recurrence over nothing.
        """
        values = _values(inputs, steering)
        known = self._known(inputs, values)
        if known is None:
            return
        for node in self._model.graph.node:
            if node.op_type in shapes.RECURRENT:
                taken = [known.get(name) for name in node.input if name]
                shapes.check_elements(node, [each.shape for each in taken if each and each.shape])
        if self._capacity:
            self._plan(known, values).check(self._capacity)

    def plan(self, inputs: Mapping[str, Any], steering: Iterable[str] = ()) -> MemoryPlan | None:
        """The plan of such a launch; None where its inputs contradict the graph."""
        values = _values(inputs, steering)
        known = self._known(inputs, values)
        return None if known is None else self._plan(known, values)

    def _plan(self, known: Mapping[str, Inferred], values: Mapping[str, Array]) -> MemoryPlan:
        return plan(self._model, known, self._weight_bytes, self._groups, values)

    def _known(
        self, inputs: Mapping[str, Any], values: Mapping[str, Array]
    ) -> dict[str, Inferred] | None:
        arrays = {name: each for name, each in inputs.items() if isinstance(each, np.ndarray)}
        given: dict[str, Shape] = {name: each.shape for name, each in arrays.items()}
        try:
            return infer(self._model, given, values)
        except InvalidModel:
            return None  # the kernel itself says what does not fit


def _values(inputs: Mapping[str, Any], steering: Iterable[str]) -> dict[str, Array]:
    """Values of inputs that decide shapes, conditions and turns."""
    arrays = {name: inputs.get(name) for name in steering}
    return {
        name: each
        for name, each in arrays.items()
        if isinstance(each, np.ndarray)
        and each.dtype.kind in "iub"
        and each.nbytes <= _VALUE_BYTES
    }


def plan(
    model: ModelProto,
    known: Mapping[str, Inferred],
    weight_bytes: int,
    groups: Groups = _no_groups,
    values: Mapping[str, Array] = _NO_VALUES,
) -> MemoryPlan:
    """Liveness over a model's graph, in its own order, and over those nested in it.

    ``groups`` are the nodes that the device fuses; ``values`` are those of inputs that steer.
    """
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    weights |= {sparse.values.name for sparse in graph.sparse_initializer}
    scope = Scope(model, graph, known, values)
    inputs = {v.name: scope.nbytes(v.name) or 0 for v in graph.input if v.name not in weights}
    walk = Walk(groups)
    held = walk.graph(graph, scope, inputs)
    return MemoryPlan(weight_bytes, tuple(held), walk.unknown)
