"""Which nodes of a graph a device fuses, asked before any runs: what is between takes no memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from onnx import GraphProto, ModelProto

from host_daemon.compiler.analysis import Analysis
from host_daemon.compiler.bodies import Scope
from host_daemon.compiler.fusion import Fusions, fused, possible
from host_daemon.compiler.plan import in_its_arithmetic
from host_daemon.compiler.signature import FROM_ONNX
from host_daemon.compiler.trace import Typed
from host_daemon.core.device import DeviceModel, Operation
from vaccel.errors import VaccelError

# No device is asked about larger tensors: none has the memory, and a model may claim any size.
_LARGEST: Final = 1 << 40


@dataclass(frozen=True, slots=True)
class Fuser:
    """What a device fuses of one model."""

    device: DeviceModel
    analysis: Analysis
    fusions: Fusions

    @classmethod
    def of(cls, model: ModelProto, analysis: Analysis, device: DeviceModel) -> Fuser:
        """All that it may fuse of a checked model."""
        return cls(device, analysis, possible(model, analysis, device))

    def __call__(self, graph: GraphProto, scope: Scope) -> Mapping[int, Sequence[int]]:
        """By index of a product, those of the nodes behind it that are fused into it."""
        if not self.fusions:
            return {}
        places = {node.name: index for index, node in enumerate(graph.node)}
        found: dict[int, Sequence[int]] = {}
        for index, node in enumerate(graph.node):
            links = self.fusions.get(node.name, ())
            if links:
                behind = [(self._operation(link.name, scope), link.through) for link in links]
                count = self._count(self._operation(node.name, scope), behind)
                if count:
                    found[index] = [places[link.name] for link in links[:count]]
        return found

    def _count(self, product: Operation, behind: Sequence[tuple[Operation, int]]) -> int:
        try:
            return max(0, len(fused(self.device, product, behind)) - 1)
        except VaccelError:
            return 0  # the kernel itself says what does not fit

    def _operation(self, name: str, scope: Scope) -> Operation:
        info = self.analysis.nodes[name]

        def spec(value: str) -> Typed | None:
            each = scope.find(value) if value else None
            if each is None or each.shape is None or each.kind not in FROM_ONNX:
                return None
            if (each.nbytes or 0) > _LARGEST:
                return None
            return FROM_ONNX[each.kind], each.shape

        operation = Operation(
            info.op,
            tuple(map(spec, info.inputs)),
            tuple(map(spec, info.outputs)),
            info.attributes,
            info.constant_inputs,
            info.domain,
        )
        return in_its_arithmetic(operation, name, info, self.analysis, self.device)
