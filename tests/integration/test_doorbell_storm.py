"""What a program that only rings costs the worker, and its neighbours on the same VF."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import vaccel
from tests.conformance import models
from tests.integration.daemon_host import SECONDS, DaemonHost
from vaccel import bounds
from vaccel.inventory import VF
from vaccel.model import Usage

# Both are in docs/aperture.md: the share of a core, and how much later a neighbour has its answer.
MOST_OF_A_CORE = 0.25
LATER_SECONDS = bounds.DOORBELL_PERIOD_SECONDS
# What a call may take by itself, on a machine whose cores are taken by the storm and others.
CALL_SECONDS = 0.9
RINGS = 5_000_000
STORM = f"""
import sys
import vaccel

with vaccel.open(address=sys.argv[1], path="aperture") as device:
    ring = device._queue._ring_bell
    print("begin", flush=True)
    for _ in range({RINGS}):
        ring()
    print("end", flush=True)
"""
X = np.ones((2, 4), np.float32)


@pytest.fixture(scope="module")
def host() -> Iterator[DaemonHost]:
    with DaemonHost() as host:
        yield host


def cpu_seconds(pid: int) -> float:
    """What a process has used, in user mode and in the kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def usage_of(host: DaemonHost, vf: VF) -> Usage:
    found = host.admin.vf(vf.id).usage
    assert found is not None
    return found


def storm(vf: VF) -> subprocess.Popen[str]:
    """A process that has begun to ring."""
    made = subprocess.Popen(
        [sys.executable, "-c", STORM, vf.socket], stdout=subprocess.PIPE, text=True
    )
    assert made.stdout is not None
    assert made.stdout.readline() == "begin\n"
    return made


def test_a_storm_costs_a_bounded_share_of_a_core(host: DaemonHost) -> None:
    with host.vf("storm") as vf, vaccel.open(address=vf.socket, path="aperture") as device:
        model = device.load(models.build("affine"))
        model(X)
        before = usage_of(host, vf)
        with storm(vf) as ringing:
            began, used = time.monotonic(), cpu_seconds(vf.worker_pid)
            # Its neighbour works on, and is answered each time.
            took = []
            while ringing.poll() is None:
                sent = time.monotonic()
                model(X, timeout=SECONDS)
                took.append(time.monotonic() - sent)
            wall = time.monotonic() - began
            share = (cpu_seconds(vf.worker_pid) - used) / wall
            assert ringing.stdout is not None and ringing.stdout.read() == "end\n"
        after = usage_of(host, vf)
        print(
            f"{RINGS} rings in {wall:.1f} s: {share:.1%} of a core for the worker; beside them"
            f" {len(took)} calls of {np.median(took) * 1e3:.1f} ms, {max(took):.3f} s at most"
        )
        assert share < MOST_OF_A_CORE
        assert max(took) < LATER_SECONDS + CALL_SECONDS
        assert len(took) > wall / (LATER_SECONDS + CALL_SECONDS)
        assert after.throttled > before.throttled
        periods = wall / bounds.DOORBELL_PERIOD_SECONDS + 1
        heard = after.empty_doorbells - before.empty_doorbells
        assert heard <= (periods + 1) * bounds.DOORBELLS_EMPTY
        assert (after.malformed, after.broken_queues) == (0, 0)
