"""Which engine computes each node of the main graph: ONNX Runtime, the device, or the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import onnx
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, TypeProto, helper
from onnx.shape_inference import InferenceError

from host_daemon.compiler import deviations, graphs, sessions, weights
from host_daemon.compiler.analysis import Analysis
from host_daemon.compiler.segments import Engine, Step, needs, submodel, weights_of
from host_daemon.compiler.signature import FROM_ONNX
from host_daemon.core.device import ARITHMETIC, DeviceModel, Operation
from vaccel.errors import InvalidModel, Unsupported
from vaccel.model import DType, Shape

Spec = tuple[DType, Shape] | None
# What the common kernels compute in.
PLAIN: Final = "fp32"
_FAULTS: Final = (InferenceError, RuntimeError, ValueError)


class Placement:
    """Engines by name of node, and types of the main graph's values, as far as they are known."""

    def __init__(self, model: ModelProto, analysis: Analysis, device: DeviceModel) -> None:
        self.engines: dict[str, Engine] = {}
        self._model = model
        self._kinds: dict[str, TypeProto] | None = None
        self._probed: dict[Any, bool] = {}
        # Of a value they are asked by whoever makes it and by whoever takes it.
        specs: dict[str, Spec] = {}
        for node in model.graph.node:
            if device.computes(self.operation(node, analysis, specs=specs)):
                self.engines[node.name] = Engine.DEVICE
            elif self._is_wrong(node):
                self.engines[node.name] = Engine.REFERENCE
        _check_stated(analysis, self.engines)

    @classmethod
    def of_nothing(cls, model: ModelProto) -> Placement:
        """One that has placed nothing: it only tells what operation a node is."""
        made = cls.__new__(cls)
        made.engines, made._model, made._kinds, made._probed = {}, model, None, {}
        return made

    @property
    def kinds(self) -> dict[str, TypeProto]:
        """Types by value; later ones are added as segments are opened."""
        if self._kinds is None:
            self._kinds = _inferred(self._model)
        return self._kinds

    def operation(
        self,
        node: NodeProto,
        analysis: Analysis,
        resident: str = "",
        specs: dict[str, Spec] | None = None,
    ) -> Operation:
        """A node before its shapes are known: -1 for a dimension, () for a rank that is not.

        ``specs`` remembers them for as long as ``kinds`` stay what they are.
        """
        info = analysis.nodes[node.name]
        known: dict[str, Spec] = {} if specs is None else specs
        for name in (*info.inputs, *info.outputs):
            if name not in known:
                known[name] = self._spec(name)
        return Operation(
            info.op,
            tuple(known[name] for name in info.inputs),
            tuple(known[name] for name in info.outputs),
            info.attributes,
            info.constant_inputs,
            info.domain,
            resident,
        )

    def _spec(self, name: str) -> Spec:
        kind = self.kinds.get(name) if name else None
        if kind is None or not kind.HasField("tensor_type"):
            return None
        tensor = kind.tensor_type
        dims = tensor.shape.dim
        shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)
        return FROM_ONNX.get(tensor.elem_type, DType.FLOAT32), shape

    def _is_wrong(self, node: NodeProto) -> bool:
        """Whether ORT's kernel gives something else than ONNX says."""
        if deviations.known(node):
            return deviations.deviates(node, self._elements(node))
        return deviations.within(node)

    def _elements(self, node: NodeProto) -> dict[str, int]:
        kinds = ((name, self.kinds.get(name)) for name in node.input if name)
        return {name: kind.tensor_type.elem_type for name, kind in kinds if kind is not None}

    def probe(self) -> None:
        """Give the reference what ORT opens no session for, node by node; alike nodes once."""
        protos = weights_of(self._model.graph)
        for node in self._model.graph.node:
            if node.name not in self.engines and not self._runs(node, protos):
                self.engines[node.name] = Engine.REFERENCE

    def _runs(self, node: NodeProto, protos: Mapping[str, Any]) -> bool:
        takes = needs(node)
        if any(name not in self.kinds for name in takes):
            return True  # of a contrib operator's results ORT alone knows the types
        key = self._likeness(node, takes)
        if key not in self._probed:
            self._probed[key] = self._opens(node, protos)
        return self._probed[key]

    def _opens(self, node: NodeProto, protos: Mapping[str, Any]) -> bool:
        found = {name: protos[name] for name in node.input if name in protos}
        small = {name: each for name, each in found.items() if _is_small(each)}
        takes = tuple(name for name in needs(node) if name not in small)
        step = Step(Engine.RUNTIME, (node,), takes, tuple(n for n in node.output if n))
        proto = submodel(self._model, step, self.kinds, small)
        try:
            sessions.open_session(proto.SerializeToString(), sessions.probing_options())
        except (InvalidModel, Unsupported):
            return False
        return True

    def _likeness(self, node: NodeProto, takes: list[str]) -> object:
        """What decides whether ORT has a kernel; nodes with graphs are like no other."""
        if any(True for _ in graphs.subgraphs(node)):
            return node.name
        attributes = tuple(
            (a.name, a.t.data_type if a.type == AttributeProto.TENSOR else a.SerializeToString())
            for a in node.attribute
        )
        kinds = tuple(_bare(self.kinds[name]) for name in takes)
        present = tuple(bool(name) for name in (*node.input, "", *node.output))
        return node.domain, node.op_type, attributes, kinds, present


# Operands that a kernel may want to be constant, such as scales and axes, are small.
_SMALL_BYTES: Final = 1024


def _is_small(weight: Any) -> bool:
    if isinstance(weight, TensorProto) and weights.is_apart(weight):
        return False
    return int(weight.ByteSize()) < _SMALL_BYTES


def _check_stated(analysis: Analysis, engines: Mapping[str, Engine]) -> None:
    """Raise Unsupported where a node states an arithmetic that nobody would compute it in."""
    for name, info in analysis.nodes.items():
        asked = info.attributes.get(ARITHMETIC, PLAIN)
        if asked != PLAIN and engines.get(name) is not Engine.DEVICE:
            raise Unsupported(
                f"node {name!r} ({info.op}) states {ARITHMETIC} = {str(asked)[:80]!r}, in which"
                " nothing of this card computes it",
                hint=f"leave it out, or state {PLAIN}; nodes in branches and loops state none",
            )


def _inferred(model: ModelProto) -> dict[str, TypeProto]:
    try:
        inferred = onnx.shape_inference.infer_shapes(weights.as_inputs(model))
    except _FAULTS:
        inferred = model
    graph = inferred.graph
    kinds = {
        value.name: value.type
        for value in (*graph.value_info, *graph.output, *graph.input)
        if value.type.WhichOneof("value")
    }
    for tensor in graph.initializer:
        kinds[tensor.name] = helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
    return kinds


def _bare(kind: TypeProto) -> object:
    """A type without shapes."""
    if kind.HasField("tensor_type"):
        return kind.tensor_type.elem_type
    return kind.SerializeToString()
