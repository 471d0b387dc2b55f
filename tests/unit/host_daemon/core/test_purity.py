from __future__ import annotations

import subprocess
import sys

import pytest

IMPURE = {"asyncio", "threading", "time", "random", "socket", "sqlite3", "grpc", "numpy"}
# What an interpreter loads before it comes to our code is not ours.
ALWAYS = {"time", "threading", "random"}


@pytest.mark.parametrize("module", ["lifecycle", "partition", "reconcile", "records"])
def test_decisions_load_no_clock_loop_socket_or_engine(module: str) -> None:
    code = f"import sys, host_daemon.core.{module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    ).stdout.split()
    assert not (IMPURE - ALWAYS) & set(loaded)
