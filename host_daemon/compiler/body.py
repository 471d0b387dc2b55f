"""What computes a program's numbers: one session over the whole model, or a pipeline of steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import onnxruntime as ort

from host_daemon.compiler.analysis import Analysis
from host_daemon.compiler.frontend import CheckedModel
from host_daemon.compiler.operators import in_opset_before
from host_daemon.compiler.pipeline import Parts, Pipeline
from host_daemon.compiler.placement import Placement
from host_daemon.compiler.session_step import Opening, SessionStep
from host_daemon.compiler.trace import Trace
from host_daemon.core.device import DeviceModel, NodeCost
from vaccel.errors import InvalidModel, Unsupported, VaccelError

_UNKNOWN: Final = "is not a registered function/op"


class Whole:
    """One session over the whole model: wall time is ONNX Runtime's own."""

    programming: tuple[NodeCost, ...] = ()
    residents: Mapping[str, str] = {}
    spilled: Mapping[str, str] = {}

    def __init__(self, model: CheckedModel, opening: Opening) -> None:
        graph = model.proto.graph
        takes = [value.name for value in graph.input]
        gives = [value.name for value in graph.output]
        self._session = SessionStep(model.proto, takes, gives, opening)

    def run(
        self, inputs: Mapping[str, Any], wanted: Sequence[str], stop: ort.RunOptions | None
    ) -> dict[str, Any]:
        """Results by name."""
        return self._session.run(inputs, stop, wanted)

    def trace(
        self, inputs: Mapping[str, Any], wanted: Sequence[str], stop: ort.RunOptions | None
    ) -> Trace:
        """A run of the graph as it is written, that records what was executed."""
        return self._session.trace(inputs, stop, wanted)

    def close(self) -> None:
        """Nothing of it is on the device."""


Body = Whole | Pipeline


def open_body(
    model: CheckedModel, analysis: Analysis, device: DeviceModel, opening: Opening
) -> Body:
    """The fastest that computes the whole model.

    Raises InvalidModel, or Unsupported naming a node that nobody computes.
    """
    placement = Placement(model.proto, analysis, device)
    refusal: VaccelError | None = None
    if not placement.engines:
        try:
            return Whole(model, opening)
        except (Unsupported, InvalidModel) as fault:
            # Some node has no kernel for its types, or none at all: others compute that one.
            refusal = fault
        earlier = in_opset_before(model.proto)
        if earlier is not None:
            with suppress(Unsupported, InvalidModel):
                return Whole(replace(model, proto=earlier), opening)
    # The same in every worker: cells that outlive one are found again by it.
    resident = model.sha256[:16]
    try:
        return Pipeline(Parts(model, analysis, device, opening, resident), placement)
    except Unsupported as fault:
        # ORT knows of more that can be wrong with a model than ONNX's own checks; what it does not
        # know at all is the other's to name.
        wrong = isinstance(refusal, InvalidModel) and _UNKNOWN not in refusal.message
        raise (refusal if refusal is not None and wrong else fault) from fault
