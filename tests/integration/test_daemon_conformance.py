"""The Compute suite over gRPC to a real daemon: its control socket, and a VF attached locally."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.conformance import models
from tests.conformance.compute import CHECKS, Check
from tests.integration.daemon_host import DaemonHost, compute
from vaccel.inventory import VF


@dataclass(frozen=True)
class Served:
    """A daemon with one VF."""

    host: DaemonHost
    vf: VF

    def address(self, way: str) -> str:
        return self.vf.socket if way == "local" else f"unix:{self.host.control}"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with DaemonHost() as host:
        yield Served(host, host.create("suite", local=True))


@pytest.mark.parametrize("way", ["control", "local"])
@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
async def test_compute_through_the_daemon(served: Served, check: Check, way: str) -> None:
    async with compute(served.address(way)) as client:
        await check(client, models.build)
    usage = served.host.admin.vf(served.vf.id).usage
    assert (usage.contexts, usage.buffers, usage.programs, usage.memory_bytes) == (0, 0, 0, 0)
