"""What one VF owns of a PIM card: channels whose banks compute, and the host's work beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from host_daemon.core.device import Card, NodeCost, Operation
from host_daemon.devices.pim import host, sizes
from host_daemon.devices.pim.family import Banks
from host_daemon.devices.pim.parameters import PimParameters
from host_daemon.devices.state import Stateless
from vaccel.model import Array, Cost, Profile


class PimDevice(Stateless):
    """The model of a profile. Its answers depend on its arguments only: it has no past to save."""

    def __init__(self, card: Card, profile: Profile, banks: Banks) -> None:
        super().__init__(card, profile)
        self._parameters: PimParameters = card.parameters
        self._banks = banks
        self._host = host.HostModel(card, profile)

    @property
    def clock_hz(self) -> float:
        """The clock of all cycles here: that of DRAM commands."""
        return self.card.clock_hz

    @property
    def arithmetic(self) -> Sequence[str]:
        """Arithmetic of the banks."""
        return self._banks.arithmetic

    @property
    def idle_watts(self) -> float:
        """What this VF's channels draw while they have nothing to do, refresh included."""
        power = self._parameters.power
        return self.profile.cores * (power.channel_idle + power.shared / self.card.cores)

    def cost(self, operation: Operation) -> NodeCost:
        """The banks' closed form, or the host's where banks have no way to do the operation.

        Raises InvalidArgument where shapes do not fit, or a tensor no card.
        """
        sizes.check(operation)
        return self._banks.cost(operation) or self._host.cost(operation)

    def launch_cost(self, nodes: Sequence[NodeCost]) -> Cost:
        """Nodes in order, launch overhead, and static energy over the device time of both."""
        own = self._parameters
        cycles: dict[str, int] = {}
        moved: dict[str, int] = {}
        joules: dict[str, float] = {}
        places: dict[str, int] = {}
        for node in nodes:
            places[node.place] = places.get(node.place, 0) + 1
            _add(cycles, node.cycles)
            _add(moved, node.bytes)
            for part, value in node.joules.items():
                joules[part] = joules.get(part, 0.0) + value
        critical = math.ceil(own.launch_seconds * self.clock_hz)
        critical += sum(node.critical_cycles for node in nodes)
        seconds = critical / self.clock_hz
        power = own.power
        watts = self.profile.cores * (power.channel_active + power.shared / self.card.cores)
        joules["static"] = seconds * watts
        joules["launch"] = own.launch_joules
        return Cost(cycles, moved, joules, places, critical, 0, math.ceil(seconds * 1e9))

    def computes(self, operation: Operation) -> bool:
        """Whether the banks compute such a node, in an arithmetic that is their own."""
        return self._banks.computes(operation)

    def run(self, operation: Operation, inputs: Sequence[Array | None]) -> Sequence[Array] | None:
        """The banks' result; None where the host computes it, whose kernels are the common ones."""
        return self._banks.run(operation, inputs)


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for key, value in more.items():
        total[key] = total.get(key, 0) + value
