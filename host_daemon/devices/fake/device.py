"""A device that takes one cycle for everything and a nanojoule for each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from host_daemon.core.device import Card, NodeCost, Operation
from host_daemon.devices.fake.faults import Faults
from host_daemon.devices.state import Stateless
from vaccel.errors import InvalidArgument
from vaccel.model import Array, Cost, Profile

_JOULES: Final = 1e-9


class FakeDevice(Stateless):
    """Instant and deterministic."""

    def __init__(self, card: Card, profile: Profile, faults: Faults) -> None:
        super().__init__(card, profile)
        self._faults = faults

    @property
    def clock_hz(self) -> float:
        """The clock of all cycles here."""
        return self.card.clock_hz

    @property
    def arithmetic(self) -> Sequence[str]:
        """One: float32."""
        return self.card.arithmetic

    @property
    def idle_watts(self) -> float:
        """A nanojoule a cycle, as when it works."""
        return _JOULES * self.clock_hz

    def cost(self, operation: Operation) -> NodeCost:
        """One cycle. Raises Unsupported where the card's faults say so."""
        self._faults.on_cost(operation.op)
        macs = _macs(operation)
        moved = sum(
            math.prod(shape) * dtype.itemsize
            for dtype, shape in filter(None, (*operation.inputs, *operation.outputs))
        )
        place = "array" if operation.op == "MatMul" else "vector"
        return NodeCost(place, 1, {place: 1}, {"dram": moved}, {place: _JOULES}, macs)

    def launch_cost(self, nodes: Sequence[NodeCost]) -> Cost:
        """A cycle a node, and one for the launch."""
        cycles = 1 + len(nodes)
        places = [node.place for node in nodes]
        joules = {"dynamic": _JOULES * len(nodes), "static": _JOULES * cycles}
        return Cost(
            cycles={place: places.count(place) for place in set(places)},
            bytes={"dram": sum(node.bytes.get("dram", 0) for node in nodes)},
            joules=joules,
            nodes={place: places.count(place) for place in set(places)},
            critical_cycles=cycles,
            end_ns=math.ceil(cycles / self.clock_hz * 1e9),
        )

    def run(self, operation: Operation, inputs: Sequence[Array | None]) -> Sequence[Array] | None:
        """The common kernels' results, or a fault: see ``faults``."""
        if not self._faults.on_run(operation.op):
            return None
        return [np.zeros(spec[1], spec[0].numpy) for spec in operation.outputs if spec]


def _macs(operation: Operation) -> int:
    if operation.op != "MatMul" or len(operation.inputs) != 2 or None in operation.inputs:
        return 0
    left, right = (spec[1] for spec in operation.inputs if spec)
    inner = right[-2] if len(right) > 1 else right[0]
    if left[-1] != inner:
        raise InvalidArgument(f"MatMul: shapes {list(left)} and {list(right)} do not multiply")
    return math.prod(left) * (right[-1] if len(right) > 1 else 1)
