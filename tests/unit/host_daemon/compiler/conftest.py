"""A device whose costs are plain counts, so that a test can say what they must be."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from host_daemon.compiler.program import Target
from host_daemon.core.device import NodeCost, Operation
from vaccel.model import Array, Cost


class CountingDevice:
    """A cycle per element written; remembers what it was asked about."""

    clock_hz = 1e9
    arithmetic = ("fp32", "int8")

    def __init__(self) -> None:
        self.asked: list[Operation] = []

    def cost(self, operation: Operation) -> NodeCost:
        self.asked.append(operation)
        cycles = sum(math.prod(each[1]) for each in operation.outputs if each) + 1
        return NodeCost("vector", cycles, {"vector": cycles}, {}, {})

    def computes(self, operation: Operation) -> bool:
        return False

    def launch_cost(self, nodes: Sequence[NodeCost]) -> Cost:
        cycles = sum(node.critical_cycles for node in nodes)
        return Cost(
            cycles={"vector": cycles},
            nodes={"vector": len(nodes)},
            critical_cycles=cycles,
            end_ns=cycles,
        )

    def keep(self, operation: Operation, weights: Mapping[int, Array]) -> NodeCost | None:
        return None

    def drop(self, resident: str) -> None:
        pass

    def run(self, operation: Operation, inputs: Sequence[Array | None]) -> Sequence[Array] | None:
        return None


@pytest.fixture
def device() -> CountingDevice:
    return CountingDevice()


@pytest.fixture
def target(device: CountingDevice, tmp_path: Path) -> Target:
    return Target(device, 1, tmp_path)
