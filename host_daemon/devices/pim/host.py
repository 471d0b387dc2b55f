"""What the processor does that the DRAM is attached to: every operation that banks cannot do.

    seconds = max(lane operations / rate, bytes / sustained bandwidth of the channels' bus)

Operations and bytes are counted as for a vector core (``devices/work.py``); a product of matrices
is two operations a MAC. Each operand crosses the bus once: a processor's caches hold what it
reads again.
"""

from __future__ import annotations

import math

from host_daemon.core.device import ARITHMETIC, Card, NodeCost, Operation
from host_daemon.devices.lowering import lower
from host_daemon.devices.pim.parameters import PimParameters
from host_daemon.devices.work import work
from vaccel.model import Profile


class HostModel:
    """The share of the processor, and of the bus, that goes with a VF's channels."""

    def __init__(self, card: Card, profile: Profile) -> None:
        self._own: PimParameters = card.parameters
        self.clock_hz = card.clock_hz
        self.operations_per_cycle: float = self._own.host.rate * profile.cores / card.clock_hz
        sustained = profile.bandwidth_bytes_per_second * self._own.host.efficiency
        self.bytes_per_cycle: float = sustained / card.clock_hz
        self.node_cycles = math.ceil(self._own.node_seconds * card.clock_hz)

    def cycles(self, operations: int, moved: int) -> int:
        """Cycles of the card's clock for so many lane operations and bytes over the bus."""
        return max(
            math.ceil(operations / self.operations_per_cycle),
            math.ceil(moved / self.bytes_per_cycle),
        )

    def joules(self, operations: int, moved: int) -> dict[str, float]:
        """Joules of the same, parts without work left out."""
        host = self._own.host
        parts = {"host": operations * host.joules, "bus": moved * host.bus}
        return {part: value for part, value in parts.items() if value}

    def cost(self, operation: Operation) -> NodeCost:
        """The closed form. Every operation has one. Raises InvalidArgument naming shapes that do
        not fit.
        """
        lowered = lower(operation, (1, 1))
        asked = work(operation)
        macs = lowered.macs if lowered else 0
        operations = 2 * macs + lowered.epilogue if lowered else asked.operations
        moved = asked.bytes_read + asked.bytes_written
        if operation.attributes.get(ARITHMETIC) == "bf16":
            moved //= 2  # in memory they have 16 bits; here they come as float32
        lanes = math.ceil(operations / self.operations_per_cycle)
        bus = math.ceil(moved / self.bytes_per_cycle)
        busy = {"host": lanes, "bus": bus}
        return NodeCost(
            place="host",
            critical_cycles=self.node_cycles + max(lanes, bus),
            cycles={unit: value for unit, value in busy.items() if value},
            bytes={"dram": moved} if moved else {},
            joules=self.joules(operations, moved),
            macs=macs,
        )
