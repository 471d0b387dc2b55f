"""A program as steps of several engines: segments of ONNX Runtime, nodes of the device and of the
reference. Values flow by name, and go when their last taker has run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnxruntime as ort
from onnx import ModelProto, NodeProto

from host_daemon.compiler import folding
from host_daemon.compiler.analysis import Analysis
from host_daemon.compiler.device_node import DeviceNode
from host_daemon.compiler.frontend import CheckedModel
from host_daemon.compiler.placement import Placement
from host_daemon.compiler.reference import ReferenceNode, Told
from host_daemon.compiler.segments import Engine, Step, cut, needs, submodel
from host_daemon.compiler.session_step import Opening, SessionStep
from host_daemon.compiler.trace import Executed, Trace, typed
from host_daemon.core.device import DeviceModel, NodeCost
from vaccel import bounds
from vaccel.errors import Cancelled, Exhausted, InvalidModel, Unsupported

# How often a graph is cut anew because a segment that was thought to open does not.
_CUTS = 16


@dataclass(frozen=True, slots=True)
class Parts:
    """What a pipeline is made of. ``resident`` names the program to the device."""

    model: CheckedModel
    analysis: Analysis
    device: DeviceModel
    opening: Opening
    resident: str


class _ReferenceStep:
    def __init__(self, node: NodeProto, model: ModelProto, step: Step, known: folding.Known):
        self._node = node
        self._constants = {name: known[name] for name in needs(node) if name in known}
        self._takes = step.takes
        takes = [*step.takes, *self._constants]
        self._reference = ReferenceNode(node, model, takes)

    def run(
        self, values: Mapping[str, Any], stop: ort.RunOptions | None, told: Told | None = None
    ) -> dict[str, Any]:
        inputs = self._constants | {name: values[name] for name in self._takes}
        return self._reference.run(inputs, stop, told)

    def trace(self, values: Mapping[str, Any], stop: ort.RunOptions | None) -> Trace:
        within: list[Executed] = []

        def told(node: NodeProto, inputs: Sequence[Any], outputs: Sequence[Any]) -> None:
            if len(within) >= bounds.TRACE_NODES:
                raise Exhausted(
                    f"launch executed more than {bounds.TRACE_NODES} nodes",
                    hint="run fewer turns of the model's loops in one launch",
                )
            within.append(_executed(node, inputs, outputs))

        results = self.run(values, stop, told)
        given = self._constants | dict(values)
        node = self._node
        itself = _executed(
            node,
            [given[name] if name else None for name in node.input],
            [results[name] if name else None for name in node.output],
        )
        return Trace((itself, *within), results)


def _executed(node: NodeProto, inputs: Sequence[Any], outputs: Sequence[Any]) -> Executed:
    """A node that the reference ran, with those of its tensors that were there."""
    pairs = (
        [typed(each) for name, each in zip(names, values, strict=False) if name]
        for names, values in ((node.input, inputs), (node.output, outputs))
    )
    taken, given = map(tuple, pairs)
    return Executed(node.name, node.op_type, taken, given, Engine.REFERENCE.value)


Running = SessionStep | DeviceNode | _ReferenceStep


class Pipeline:
    """The steps of one program on one VF. Raises Unsupported naming a node that nobody computes."""

    def __init__(self, parts: Parts, placement: Placement, *, probed: bool = False) -> None:
        self._parts = parts
        self._placement = placement
        self._probed = probed
        self._devices: list[DeviceNode] = []
        self._steps: list[tuple[Step, Running]] = []
        proto = parts.model.proto
        self._defaults = folding.defaults(parts.model)
        for left in range(_CUTS, -1, -1):
            known = folding.fold(parts.model, parts.analysis, placement, parts.opening)
            nodes = [node for node in proto.graph.node if node.name not in known.nodes]
            wanted = [value.name for value in proto.graph.output]
            steps = cut(nodes, wanted, placement.engines, known.weights)
            try:
                self._constants = known.computed
                self._steps = [(step, self._open(step, known)) for step in steps if step.gives]
                return
            except (InvalidModel, Unsupported) as refusal:
                self.close()
                if not left or not self._recut(refusal, steps):
                    raise
            except BaseException:
                self.close()
                raise

    def _open(self, step: Step, known: folding.Known) -> Running:
        parts, proto = self._parts, self._parts.model.proto
        if step.engine is Engine.REFERENCE:
            return _ReferenceStep(step.nodes[0], proto, step, known)
        if step.engine is Engine.DEVICE:
            node = step.nodes[0]
            resident = f"{parts.resident}/{node.name}"
            made = DeviceNode(node, step, parts.device, parts.opening, resident)
            self._devices.append(made)
            made.load(proto, self._placement, parts.analysis, known)
            return made
        made_model = submodel(proto, step, self._placement.kinds, known.protos)
        opened = SessionStep(made_model, step.takes, step.gives, parts.opening)
        self._placement.kinds.update(opened.kinds)
        return opened

    def _recut(self, refusal: Exception, steps: Sequence[Step]) -> bool:
        """Give more nodes to the reference after a refusal; whether there were any."""
        if not self._probed:
            self._probed = True
            before = dict(self._placement.engines)
            self._placement.probe()
            if before != self._placement.engines:
                return True
        named = [
            node.name
            for step in steps
            if step.engine is Engine.RUNTIME
            for node in step.nodes
            if f"'{node.name}'" in str(refusal) or f"({node.name})" in str(refusal)
        ]
        self._placement.engines.update(dict.fromkeys(named, Engine.REFERENCE))
        return bool(named)

    @property
    def on_device(self) -> bool:
        """Whether a device's node is all there is."""
        return len(self._steps) == len(self._devices) == 1

    @property
    def programming(self) -> tuple[NodeCost, ...]:
        """What it cost to put weights where the device keeps them."""
        return tuple(each.kept for each in self._devices if each.kept is not None)

    @property
    def residents(self) -> dict[str, str]:
        """Names under which the device keeps weights, by name of node."""
        return {each.name: each.resident for each in self._devices if each.kept is not None}

    @property
    def spilled(self) -> dict[str, str]:
        """Why the device does not keep the weights of some nodes, by name of node."""
        return {each.name: each.spilled for each in self._devices if each.spilled}

    def run(
        self, inputs: Mapping[str, Any], wanted: Sequence[str], stop: ort.RunOptions | None
    ) -> dict[str, Any]:
        """Results by name. Raises what the engines raise, Cancelled between steps."""
        return self._go(inputs, wanted, stop, None)

    def trace(
        self, inputs: Mapping[str, Any], wanted: Sequence[str], stop: ort.RunOptions | None
    ) -> Trace:
        """A run that records what was executed."""
        nodes: list[Executed] = []
        results = self._go(inputs, wanted, stop, nodes)
        return Trace(tuple(nodes), results, exact=True)

    def _go(
        self,
        inputs: Mapping[str, Any],
        wanted: Sequence[str],
        stop: ort.RunOptions | None,
        record: list[Executed] | None,
    ) -> dict[str, Any]:
        values = self._defaults | self._constants | dict(inputs)
        for step, running in self._steps:
            if stop is not None and stop.terminate:
                raise Cancelled("launch stopped: its context closed")
            if record is None:
                values |= running.run(values, stop)
            else:
                found = running.trace(values, stop)
                record += found.nodes
                again = isinstance(running, SessionStep) and not self._parts.analysis.random
                values |= running.run(values, stop) if again else found.results
            for name in step.drops:
                if name not in wanted:
                    values.pop(name, None)
        return {name: values[name] for name in wanted}

    def close(self) -> None:
        """Have the device forget the program's weights."""
        for each in self._devices:
            each.drop()
        self._devices.clear()
