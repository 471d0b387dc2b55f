"""A segment of ONNX Runtime: its session, and its traced twin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnxruntime as ort
from onnx import ModelProto, TensorProto, TypeProto, helper

from host_daemon.compiler import (
    composed,
    graphs,
    heap,
    ort_values,
    sessions,
    sharing,
    weights,
)
from host_daemon.compiler.guards import guarded
from host_daemon.compiler.signature import FROM_ONNX
from host_daemon.compiler.trace import INSERTED_CAST, Trace, trace
from host_daemon.compiler.weights import Weights
from vaccel import bounds
from vaccel.errors import InvalidArgument, InvalidModel
from vaccel.model import DType

# Behind the name of an output that leaves in float32.
_WIDE = "/wide"


@dataclass(frozen=True, slots=True)
class Opening:
    """How sessions are opened: host threads, a folder for traces, and weights beside the graph."""

    threads: int
    scratch: Path
    weights: Weights = field(default_factory=dict)


class SessionStep:
    """A model, whole or in part, on ONNX Runtime. Raises InvalidModel or Unsupported."""

    def __init__(
        self, model: ModelProto, takes: Sequence[str], gives: Sequence[str], opening: Opening
    ) -> None:
        model = guarded(model)
        self._shared = sharing.is_due(model)
        if self._shared:
            model = sharing.shared(model)
        self._takes = tuple(takes)
        self._gives = tuple(gives)
        self._opening = opening
        self._bytes = serialize(model)
        self._nodes = len(model.graph.node)
        self._apart = weights.placed(model.graph, opening.weights)
        self.session = self._opened()
        self.kinds = _kinds(self.session.get_outputs())
        self._wide: dict[str, DType] = {}
        taken = _kinds(self.session.get_inputs())
        narrow = [name for name, kind in self.kinds.items() if ort_values.is_narrow_type(kind)]
        self._narrow = bool(narrow)
        if narrow and not all(map(_is_plain, (*taken.values(), *self.kinds.values()))):
            # ORT gives narrow tensors to whom hands it tensors of numbers only.
            self._wide = {n: FROM_ONNX[self.kinds[n].tensor_type.elem_type] for n in narrow}
            self._narrow = False
            self._bytes = serialize(_widened(model, narrow))
            self.session = self._opened()

    def _opened(self) -> ort.InferenceSession:
        chosen = sessions.options(self._opening.threads)
        with heap.opening([array.nbytes for array in self._apart.values()]):
            return sessions.open_session(
                self._bytes, chosen, self._apart, self._nodes, shared=self._shared
            )

    def run(
        self,
        values: Mapping[str, Any],
        stop: ort.RunOptions | None,
        wanted: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """Results by name; of all that it gives where no others are ``wanted``."""
        names = self._gives if wanted is None else wanted
        inputs = self._inputs(values)
        asked = [self._name(name) for name in names]
        with self._naming():
            results = sessions.run(self.session, asked, inputs, stop, narrow=self._narrow)
        return self._named(names, results)

    def trace(
        self,
        values: Mapping[str, Any],
        stop: ort.RunOptions | None,
        wanted: Sequence[str] | None = None,
    ) -> Trace:
        """A run in a session of its own that records every node."""
        names = self._gives if wanted is None else wanted
        asked = [self._name(name) for name in names]
        with self._naming():
            found = trace(
                self._bytes,
                asked,
                self._inputs(values),
                threads=self._opening.threads,
                scratch=self._opening.scratch,
                stop=stop,
                apart=self._apart,
                narrow=self._narrow,
            )
        return Trace(found.nodes, self._named(names, [found.results[name] for name in asked]))

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Errors within what ORT wrote out get the name of the model's node."""
        try:
            yield
        except InvalidArgument as fault:
            model = ModelProto.FromString(self._bytes)
            raise composed.named(fault, graphs.nodes(model.graph)) from fault

    def _name(self, name: str) -> str:
        return name + _WIDE if name in self._wide else name

    def _named(self, names: Sequence[str], results: Sequence[Any]) -> dict[str, Any]:
        given = dict(zip(names, results, strict=True))
        for name in given.keys() & self._wide.keys():
            given[name] = given[name].astype(self._wide[name].numpy)
        return given

    def _inputs(self, values: Mapping[str, Any]) -> dict[str, Any]:
        # What has a default in the graph may be missing.
        return {name: values[name] for name in self._takes if name in values}


def _kinds(nodes: Sequence[ort.NodeArg]) -> dict[str, TypeProto]:
    """Types by name, as ORT inferred them."""
    found = ((each.name, ort_values.type_of(each.type)) for each in nodes)
    return {name: kind for name, kind in found if kind is not None}


def _is_plain(kind: TypeProto) -> bool:
    """Whether it is a tensor of numbers."""
    return kind.tensor_type.elem_type not in (TensorProto.UNDEFINED, TensorProto.STRING)


def _widened(model: ModelProto, narrow: Sequence[str]) -> ModelProto:
    """The model with float32 for outputs of narrow types, each of whose values is a float32."""
    made = ModelProto()
    made.CopyFrom(model)
    for name in narrow:
        node = helper.make_node("Cast", [name], [name + _WIDE], to=TensorProto.FLOAT)
        node.name = f"{INSERTED_CAST}{name}"
        made.graph.node.append(node)
    for output in made.graph.output:
        if output.name in narrow:
            wide = helper.make_tensor_value_info(output.name + _WIDE, TensorProto.FLOAT, None)
            output.CopyFrom(wide)
    return made


def serialize(proto: ModelProto) -> bytes:
    """A model's bytes. Raises InvalidModel where it is too large to be one."""
    try:
        return proto.SerializeToString()
    except (ValueError, MemoryError) as fault:
        raise InvalidModel(f"model is more than {bounds.MODEL_BYTES} bytes") from fault
