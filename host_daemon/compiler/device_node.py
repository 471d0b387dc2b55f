"""A node that the device computes in its own arithmetic, with its weights where they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnxruntime as ort
from onnx import ModelProto, NodeProto

from host_daemon.compiler import folding
from host_daemon.compiler.plan import in_its_arithmetic, lower
from host_daemon.compiler.reference import ReferenceNode
from host_daemon.compiler.segments import Engine, Step, needs, submodel
from host_daemon.compiler.session_step import Opening, SessionStep
from host_daemon.compiler.shapes import KernelShapes
from host_daemon.compiler.trace import Executed, Trace, Typed, typed
from host_daemon.core.device import ARITHMETIC, DeviceModel, NodeCost, NoRoom, Operation
from vaccel import bounds
from vaccel.errors import Exhausted, InvalidModel, Unsupported
from vaccel.model import Array, DType

if TYPE_CHECKING:
    from host_daemon.compiler.analysis import Analysis
    from host_daemon.compiler.placement import Placement

# Arithmetic that the common kernels compute in where operands and result are rounded to it.
_SHORT: Final = {"fp16": DType.FLOAT16, "bf16": DType.BFLOAT16}


class DeviceNode:
    """One node of a program, as the device's port describes: kept, run, dropped."""

    def __init__(
        self, node: NodeProto, step: Step, device: DeviceModel, opening: Opening, resident: str
    ) -> None:
        self.name = node.name
        self.resident = resident
        self.kept: NodeCost | None = None
        self.spilled = ""
        self._node = node
        self._step = step
        self._device = device
        self._opening = opening
        self._operations: dict[tuple[Typed, ...], Operation] = {}
        self._fallback: SessionStep | ReferenceNode | None = None

    def load(
        self, model: ModelProto, placement: Placement, analysis: Analysis, known: folding.Known
    ) -> None:
        """Hand the node's constant inputs to the device.

        Where it has no room the node is computed elsewhere, and ``spilled`` says why, unless the
        node states an arithmetic: then Exhausted. Raises what ``keep`` raises.
        """
        self._model, self._placement, self._analysis = model, placement, analysis
        self._known = known
        self._shapes = KernelShapes(model, self._node)
        constants = analysis.nodes[self.name].constant_inputs
        self._weights: dict[int, Array] = {
            index: known[self._node.input[index]]
            for index in sorted(constants)
            if self._node.input[index] in known
        }
        if self._weights:
            operation = placement.operation(self._node, analysis, self.resident)
            try:
                self.kept = self._device.keep(operation, self._weights)
            except NoRoom as full:
                if ARITHMETIC in operation.attributes:
                    self._device.drop(self.resident)
                    raise Exhausted(f"node {self.name!r}: {full.message}", hint=full.hint) from full
                # No matter for the result but its place: others compute it, and say why.
                self.spilled = full.message

    def drop(self) -> None:
        """Have the device forget the weights."""
        self._device.drop(self.resident)

    def run(self, values: Mapping[str, Any], stop: ort.RunOptions | None) -> dict[str, Any]:
        """Results by name."""
        operands = self._operands(values)
        given = self._device.run(self._operation(operands), self._inputs(operands))
        if given is None:
            return self._by_others(values, stop)
        names = (name for name in self._node.output)
        return {name: each for name, each in zip(names, given, strict=False) if name}

    def trace(self, values: Mapping[str, Any], stop: ort.RunOptions | None) -> Trace:
        """A run, and the node as it was."""
        results = self.run(values, stop)
        outputs = tuple(typed(results[name]) for name in self._node.output if name in results)
        inputs = tuple(typed(each) for each in self._operands(values) if each is not None)
        executed = Executed(self.name, self._node.op_type, inputs, outputs)
        return Trace((executed,), results)

    def _operands(self, values: Mapping[str, Any]) -> list[Any]:
        """The node's inputs in order, weights included; None where one is left out."""
        return [
            None if not name else self._weights[index] if index in self._weights else values[name]
            for index, name in enumerate(self._node.input)
        ]

    def _inputs(self, operands: list[Any]) -> list[Any]:
        if self.kept is None:
            return operands
        return [None if i in self._weights else each for i, each in enumerate(operands)]

    def _operation(self, operands: list[Any]) -> Operation:
        specs = {
            name: spec
            for name, each in zip(self._node.input, operands, strict=True)
            if name and (spec := typed(each)) is not None
        }
        key = tuple(specs.values())
        if key not in self._operations:
            if len(self._operations) >= bounds.PLANS_PER_PROGRAM:
                self._operations.clear()
            self._operations[key] = self._lowered(specs)
        return self._operations[key]

    def _lowered(self, specs: Mapping[str, Typed]) -> Operation:
        executed = self._shapes.execution(specs)
        if executed is None:
            executed = Executed(self.name, self._node.op_type, tuple(specs.values()), ())
        info = self._analysis.nodes[self.name]
        kept = self.resident if self.kept is not None else ""
        operation = lower(executed, info, self._analysis, kept)
        return in_its_arithmetic(operation, self.name, info, self._analysis, self._device)

    def _by_others(self, values: Mapping[str, Any], stop: ort.RunOptions | None) -> dict[str, Any]:
        """The common kernels: of a node that states an arithmetic, between roundings to it."""
        short = _SHORT.get(str(self._analysis.nodes[self.name].attributes.get(ARITHMETIC)))
        if self._fallback is None:
            self._fallback = self._open_others(short)
        if isinstance(self._fallback, SessionStep) and short is None:
            return self._fallback.run(values, stop)
        given = {n: values[n] if n in values else self._known[n] for n in needs(self._node)}
        if short is None:
            return self._fallback.run(given, stop)
        results = self._fallback.run({n: _rounded(each, short) for n, each in given.items()}, stop)
        return {name: _rounded(each, short) for name, each in results.items()}

    def _open_others(self, short: DType | None) -> SessionStep | ReferenceNode:
        # Weights that are to be rounded come with each call.
        takes = self._step.takes if short is None else tuple(needs(self._node))
        step = Step(Engine.RUNTIME, (self._node,), takes, self._step.gives)
        proto = submodel(self._model, step, self._placement.kinds, self._known.protos)
        try:
            return SessionStep(proto, step.takes, step.gives, self._opening)
        except (InvalidModel, Unsupported):
            return ReferenceNode(self._node, self._model, needs(self._node))


def _rounded(value: Any, short: DType) -> Any:
    """float32 with the numbers of a shorter format; all else as it is."""
    if not isinstance(value, np.ndarray) or value.dtype != np.float32:
        return value
    with np.errstate(over="ignore", invalid="ignore"):
        return value.astype(short.numpy).astype(np.float32)
