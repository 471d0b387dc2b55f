"""What must start fast does, and loads nothing that it does not need."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage

import pytest

HEAVY = ("grpc", "google", "onnx", "onnxruntime", "numpy", "rich", "cryptography")
# On an idle machine. Other work may slow down one round of runs, but hardly every round.
HELP_SECONDS = 0.150
RUNS = 7
ROUNDS = 3


def loaded(code: str) -> set[str]:
    """Top-level packages that a fresh interpreter has after some code."""
    code += (
        "\nimport json, sys; json.dump(sorted({m.split('.')[0] for m in sys.modules}), sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr))


@pytest.mark.parametrize(
    "code",
    [
        "import vaccel",
        "import vaccel.errors, vaccel.bounds, vaccel.ids",
        "from vaccel.cli.main import run; run(['--help'])",
    ],
)
def test_nothing_heavy(code):
    assert not loaded(code) & {*HEAVY, "pydantic"}


@pytest.mark.parametrize(
    "line", ["vf create --help", "vm exec --help", "demo --help", "bench --help"]
)
def test_help_of_a_command_loads_what_typer_needs(line):
    code = f"from vaccel.cli.main import run; run({line.split()})"
    assert not loaded(code) & set(HEAVY)


@pytest.mark.parametrize(
    "module", ["partition", "lifecycle", "reconcile"], ids=lambda name: f"core.{name}"
)
def test_decisions_load_no_engine(module):
    assert not loaded(f"import host_daemon.core.{module}") & {"grpc", "sqlite3", "onnx", "qemu"}


def test_workers_load_no_grpc():
    assert "grpc" not in loaded("import host_daemon.worker.forkserver, host_daemon.worker.main")


def seconds_of_help() -> tuple[float, float]:
    """Of ``vaccelctl --help`` as a process: wall-clock and processor time, medians of some runs."""
    program = Path(sys.executable).with_name("vaccelctl")
    walls, processors = [], []
    for _ in range(RUNS):
        before, begun = getrusage(RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run([program, "--help"], capture_output=True, check=True)
        walls.append(time.perf_counter() - begun)
        after = getrusage(RUSAGE_CHILDREN)
        processors.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
        assert b"Usage: vaccelctl" in done.stdout
    return statistics.median(walls), statistics.median(processors)


def test_help_answers_at_once():
    rounds = []
    while not rounds or (rounds[-1][0] >= HELP_SECONDS and len(rounds) < ROUNDS):
        rounds.append(seconds_of_help())
    wall, processor = rounds[-1]
    # More is ready to run than there are cores: waiting for one is not this program's time.
    busy = os.getloadavg()[0] > (os.cpu_count() or 1)
    assert (processor if busy else wall) < HELP_SECONDS, rounds
