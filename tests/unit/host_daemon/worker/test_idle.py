from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from host_daemon.worker.executor import Executor

from .conftest import make_vf


async def test_an_idle_vf_draws_what_its_cores_draw(tmp_path: Path) -> None:
    now = 5_000_000_000
    vf = replace(make_vf(tmp_path), monotonic_ns=lambda: now)
    async with Executor(vf) as executor:
        assert executor.usage().idle_joules == 0
        now += 2_000_000_000
        assert executor.usage().idle_joules == pytest.approx(2 * vf.model.idle_watts)
        assert vf.model.idle_watts == pytest.approx(0.5 + 24 / 8)
        assert executor.usage().joules == 0


async def test_device_time_is_no_idle_time(tmp_path: Path) -> None:
    now = 0
    vf = replace(make_vf(tmp_path), monotonic_ns=lambda: now)
    async with Executor(vf) as executor:
        executor._engine.totals.device_ns = 3_000_000_000
        now = 2_000_000_000
        assert executor.usage().idle_joules == 0
        now = 4_000_000_000
        assert executor.usage().idle_joules == pytest.approx(vf.model.idle_watts)
