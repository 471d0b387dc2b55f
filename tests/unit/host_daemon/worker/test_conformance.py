"""The compute suite over the executor, called directly."""

from __future__ import annotations

import pytest

from host_daemon.worker.executor import Executor
from tests.conformance import models
from tests.conformance.compute import CHECKS, Check


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
async def test_compute(executor: Executor, check: Check) -> None:
    await check(executor, models.build)
    assert executor.contexts == []
    assert executor.usage().memory_bytes == 0
