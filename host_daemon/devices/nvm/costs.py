"""From nodes to the cost of a launch, and of what a device does outside of launches."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from host_daemon.core.device import NodeCost
from host_daemon.devices.nvm.energy import Machine
from host_daemon.devices.nvm.parameters import NvmParameters
from vaccel.model import Cost


@dataclass(frozen=True, slots=True)
class Costs:
    """Sums for one VF."""

    own: NvmParameters
    machine: Machine

    def launch(self, nodes: Sequence[NodeCost]) -> Cost:
        """Nodes in order after the launch overhead, with static energy over all of it."""
        overhead = math.ceil(self.own.launch_seconds * self.machine.clock_hz)
        places: dict[str, int] = {}
        for node in nodes:
            places[node.place] = places.get(node.place, 0) + 1
        return self._total(nodes, overhead, {"launch": self.own.energy.launch}, places)

    def plain(self, nodes: Sequence[NodeCost]) -> Cost:
        """Work that no launch asked for."""
        return self._total(nodes, 0, {}, {})

    def _total(
        self,
        nodes: Sequence[NodeCost],
        overhead: int,
        joules: dict[str, float],
        places: Mapping[str, int],
    ) -> Cost:
        critical = overhead + sum(node.critical_cycles for node in nodes)
        seconds = critical / self.machine.clock_hz
        for name, value in _added(node.joules for node in nodes).items():
            joules[name] = joules.get(name, 0.0) + value
        joules["static"] = seconds * self.machine.busy_watts()
        return Cost(
            cycles={k: int(v) for k, v in _added(node.cycles for node in nodes).items()},
            bytes={k: int(v) for k, v in _added(node.bytes for node in nodes).items()},
            joules=joules,
            nodes=places,
            critical_cycles=critical,
            end_ns=math.ceil(seconds * 1e9),
        )


def _added(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0) + value
    return total
