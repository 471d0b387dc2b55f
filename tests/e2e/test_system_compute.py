"""The compute suite and the main job, over the agent inside a QEMU guest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.compute import CHECKS
from tests.e2e.system import System
from vaccel.bench import demo, report
from vaccel.bench.place import GUEST_DATA
from vaccel.inventory import VF

pytestmark = pytest.mark.vm


@pytest.fixture(scope="module")
def outcomes(system: System, vm: str) -> Mapping[str, Any]:
    """What every check of the suite said in the guest; it runs there once for all of them."""
    system.alone("shared", vm)
    done = system.program(vm, "suite", f"{GUEST_DATA}/suite", seconds=110)
    found: Mapping[str, Any] = json.loads(done.checked())
    return found


def test_the_whole_suite_ran_in_the_guest(outcomes: Mapping[str, Any]) -> None:
    print(f"{len(outcomes)} checks ran in the guest")
    assert len(outcomes) > 20
    assert list(outcomes) == list(CHECKS)


@pytest.mark.parametrize("check", CHECKS)
def test_compute_in_the_guest(outcomes: Mapping[str, Any], check: str) -> None:
    assert outcomes[check]["error"] == ""


def test_the_suite_left_nothing_behind(system: System, vf: VF, outcomes: Mapping[str, Any]) -> None:
    usage = system.admin.vf(vf.id).usage
    assert (usage.contexts, usage.buffers, usage.programs, usage.memory_bytes) == (0, 0, 0, 0)


def test_the_main_job_agrees_with_the_host(
    system: System, vm: str, vf: VF, guest_data: Path, truth: Mapping[str, str]
) -> None:
    command = ["python3", "-m", "vaccel.bench.guest", "all", GUEST_DATA, "--json"]
    rows = report.unpack(system.run(vm, command, user="app").checked())
    judged = demo.judge(rows, guest_data, truth)
    assert {one.row.model for one in judged} == {"silero", "magika"}
    for one in judged:
        assert one.agrees, f"{one.row.model}: {one.agreement}, {one.row.answer} != {one.expected}"
        assert one.row.cycles > 0 and one.row.joules > 0
