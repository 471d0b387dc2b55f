"""A segment of ONNX Runtime: its session, and its traced twin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnxruntime as ort
from onnx import ModelProto, TypeProto

from host_daemon.compiler import ort_values, sessions, weights
from host_daemon.compiler.trace import Trace, trace
from host_daemon.compiler.weights import Weights
from vaccel import bounds
from vaccel.errors import InvalidModel


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
        self._takes = tuple(takes)
        self._gives = tuple(gives)
        self._opening = opening
        self._bytes = serialize(model)
        self._apart = {
            tensor.name: opening.weights[tensor.name]
            for tensor in model.graph.initializer
            if weights.is_apart(tensor)
        }
        chosen = sessions.options(opening.threads)
        self.session = sessions.open_session(self._bytes, chosen, self._apart)
        self._narrow = sessions.has_narrow_outputs(self.session)

    @property
    def kinds(self) -> dict[str, TypeProto]:
        """Types of what it gives, as ORT inferred them."""
        found = ((each.name, ort_values.type_of(each.type)) for each in self.session.get_outputs())
        return {name: kind for name, kind in found if kind is not None}

    def run(
        self,
        values: Mapping[str, Any],
        stop: ort.RunOptions | None,
        wanted: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """Results by name; of all that it gives where no others are ``wanted``."""
        names = self._gives if wanted is None else wanted
        inputs = self._inputs(values)
        results = sessions.run(self.session, names, inputs, stop, narrow=self._narrow)
        return dict(zip(names, results, strict=True))

    def trace(
        self,
        values: Mapping[str, Any],
        stop: ort.RunOptions | None,
        wanted: Sequence[str] | None = None,
    ) -> Trace:
        """A run in a session of its own that records every node."""
        return trace(
            self._bytes,
            self._gives if wanted is None else wanted,
            self._inputs(values),
            threads=self._opening.threads,
            scratch=self._opening.scratch,
            stop=stop,
            apart=self._apart,
            narrow=self._narrow,
        )

    def _inputs(self, values: Mapping[str, Any]) -> dict[str, Any]:
        # What has a default in the graph may be missing.
        return {name: values[name] for name in self._takes if name in values}


def serialize(proto: ModelProto) -> bytes:
    """A model's bytes. Raises InvalidModel where it is too large to be one."""
    try:
        return proto.SerializeToString()
    except (ValueError, MemoryError) as fault:
        raise InvalidModel(f"model is more than {bounds.MODEL_BYTES} bytes") from fault
