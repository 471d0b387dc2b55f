"""What one VF owns of an NPU whose DRAM computes: cores, their channels, and the choice between.

One address space: weights lie in DRAM in the layout that the banks need, whole bursts of which the
NPU reads as well, so that nothing is copied when an operation goes to one or the other. Each
operation goes to where it takes less device time.

Banks and NPU cannot use a channel at once: in PIM mode its bus carries nothing else. An operation
in the banks therefore waits until the NPU's last write has reached its row and all rows are closed,
takes the channels over, and gives them back; its own commands change the mode there and back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from host_daemon.core.device import ARITHMETIC, Card, Epilogue, NodeCost, Operation, Rounding
from host_daemon.devices.npu.device import NpuDevice
from host_daemon.devices.npu_pim.parameters import NpuPimParameters, channels_of
from host_daemon.devices.pim import sizes
from host_daemon.devices.pim.family import Banks, find_family
from host_daemon.devices.state import Stateless
from vaccel.errors import InvalidArgument
from vaccel.model import Array, Cost, Profile

BANKS = "banks"


class NpuPimDevice(Stateless):
    """The model of a profile. Its answers depend on its arguments only: it has no past to save."""

    def __init__(self, card: Card, profile: Profile) -> None:
        if not isinstance(card.parameters, NpuPimParameters):
            raise InvalidArgument(f"card {card.name} is of kind {card.kind!r}, not npu-pim")
        super().__init__(card, profile)
        self._own = card.parameters
        self.channels = channels_of(card, profile)
        self._npu = NpuDevice(replace(card, parameters=self._own.npu), profile)
        family = find_family(self._own.pim.family)
        self._banks: Banks = family.banks(
            self._own.banks, replace(profile, kind="pim", cores=self.channels)
        )
        # Cycles of the card's clock in one of DRAM's.
        self._ratio = card.clock_hz / self._own.banks.clock_hz
        self._drain = math.ceil(self._own.drain_seconds * card.clock_hz)
        self._handover = 2 * math.ceil(self._own.handover_seconds * card.clock_hz)

    @property
    def clock_hz(self) -> float:
        """The clock of all cycles here: the NPU's."""
        return self.card.clock_hz

    @property
    def arithmetic(self) -> Sequence[str]:
        """Arithmetic of the arrays; that of the banks is among them."""
        return self.card.arithmetic

    @property
    def roundings(self) -> Mapping[str, Rounding]:
        """The NPU's, but for arithmetic that the banks have too: theirs rounds elsewhere."""
        npu = self._npu.roundings
        return {name: each for name, each in npu.items() if name not in self._banks.arithmetic}

    @property
    def idle_watts(self) -> float:
        """What cores and channels draw while there is nothing to do, refresh included."""
        return self._npu.idle_watts + self.channels * self._own.pim.power.channel_idle

    def cost(self, operation: Operation) -> NodeCost:
        """The closed form of the place where the operation takes less time.

        Raises InvalidArgument where shapes do not fit, or a tensor no card, Unsupported for an
        arithmetic.
        """
        sizes.check(operation)
        on_npu = self._npu.cost(operation)
        in_banks = self._in_banks(operation)
        if in_banks is None or on_npu.critical_cycles <= in_banks.critical_cycles:
            return on_npu
        return in_banks

    def fused(self, product: Operation, behind: Sequence[Epilogue]) -> Sequence[NodeCost]:
        """The NPU's, up to the first node whose place is in the banks."""
        if self.cost(product).place == BANKS:
            return ()
        costs = (self.cost(each.operation) for each in behind)
        first = next((at for at, each in enumerate(costs) if each.place == BANKS), len(behind))
        return self._npu.fused(product, behind[:first])

    def _in_banks(self, operation: Operation) -> NodeCost | None:
        asked = operation.attributes.get(ARITHMETIC)
        if asked is not None and asked not in self._banks.arithmetic:
            return None
        found = self._banks.cost(operation)
        return None if found is None else self._as_seen_here(found)

    def _as_seen_here(self, found: NodeCost) -> NodeCost:
        """In the card's clock, by its names, and with the change of master."""
        switch = self._drain + self._handover
        cycles = {
            {"host": "vector"}.get(unit, unit): self._scaled(value)
            for unit, value in found.cycles.items()
        }
        joules = {
            {"host": "vector", "bus": "dram"}.get(part, part): value
            for part, value in found.joules.items()
        }
        return replace(
            found,
            place=BANKS,
            critical_cycles=self._scaled(found.critical_cycles) + switch,
            cycles=cycles | {"switch": switch},
            joules=joules,
        )

    def _scaled(self, cycles: int) -> int:
        return math.ceil(cycles * self._ratio)

    def launch_cost(self, nodes: Sequence[NodeCost]) -> Cost:
        """Nodes in order, launch overhead, and static energy of cores and channels.

        While the banks work, the cores are clock-gated.
        """
        cost = self._npu.launch_cost(nodes)
        power, cores = self._own.npu.power, self.profile.cores
        seconds = cost.critical_cycles / self.clock_hz
        in_banks = sum(node.critical_cycles for node in nodes if node.place == BANKS)
        gated = in_banks / self.clock_hz * cores * (power.core_active - power.core_idle)
        channels = seconds * self.channels * self._own.pim.power.channel_active
        static = cost.joules["static"] - gated + channels
        return replace(cost, joules={**cost.joules, "static": static})

    def computes(self, operation: Operation) -> bool:
        """Whether banks or arrays compute such a node in an arithmetic that is their own.

        Raises Unsupported for an arithmetic that the card lacks.
        """
        return self._banks.computes(operation) or self._npu.computes(operation)

    def run(self, operation: Operation, inputs: Sequence[Array | None]) -> Sequence[Array] | None:
        """The result in the arithmetic of the place that ``cost`` picks."""
        in_banks = self._in_banks(operation)
        if in_banks is not None and self.cost(operation).place == BANKS:
            return self._banks.run(operation, inputs)
        return self._npu.run(operation, inputs)
