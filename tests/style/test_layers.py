"""The layer contracts of pyproject.toml hold, and they catch what they are there to catch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("vaccel", "host_daemon", "guest_agent")

# Contract (the beginning of its name), the file that breaks it, and the line that does.
MUTATIONS = (
    ("daemon and agent meet only", "guest_agent/backoff.py", "import host_daemon.config"),
    ("daemon and agent meet only", "vaccel/ids.py", "import guest_agent.backoff"),
    ("daemon: one composition", "host_daemon/core/partition.py", "import host_daemon.store.sqlite"),
    ("daemon: one composition", "host_daemon/store/sqlite.py", "import host_daemon.images.store"),
    ("daemon: one composition", "host_daemon/newcomer.py", ""),
    ("device kinds", "host_daemon/devices/newcomer.py", ""),
    ("decisions are pure", "host_daemon/core/lifecycle.py", "import time"),
    ("decisions are pure", "host_daemon/core/partition.py", "import numpy"),
    ("the core knows no", "host_daemon/core/records.py", "import grpc"),
    ("workers hold no gRPC", "host_daemon/compiler/plan.py", "import vaccel.rpc.proxy"),
    ("the keeper is made", "host_daemon/keeper/shelf.py", "import vaccel.bounds"),
    ("generated code", "host_daemon/config.py", "import vaccel.v1.types_pb2"),
    ("one owner of shared memory", "host_daemon/worker/memory.py", "import mmap"),
    ("one owner of SQL", "host_daemon/config.py", "import sqlite3"),
    ("one owner of QEMU", "host_daemon/config.py", "import qemu.qmp"),
    ("a model is parsed only", "host_daemon/config.py", "import onnx"),
    ("the command line", "vaccel/loop.py", "import vaccel.cli.render"),
)


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the packages of a folder."""
    program = Path(sys.executable).with_name("lint-imports")
    return subprocess.run(
        [program, "--no-cache"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder), "COLUMNS": "400"},
        capture_output=True,
        text=True,
        check=False,
    )


def verdicts(said: str) -> dict[str, bool]:
    """Of each contract that the output names, whether it was kept."""
    text = " ".join(said.split("Contracts:")[0].split())
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    kept = {}
    for contract in contracts["contracts"]:
        after = text.split(contract["name"])[1].split()
        kept[contract["name"]] = after[0] == "KEPT"
    return kept


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The packages' sources, to spoil."""
    folder = tmp_path_factory.mktemp("layers")
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_contracts_hold():
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_contract_has_a_mutation():
    assert all(
        any(name.startswith(start) for start, _, _ in MUTATIONS)
        for name in verdicts(lint(ROOT).stdout)
    )


@pytest.mark.parametrize(("contract", "file", "line"), MUTATIONS)
def test_a_violation_is_caught(copy, contract, file, line):
    path = copy / file
    before = path.read_text() if path.exists() else None
    path.write_text(f"{before or ''}\n{line}\n")
    try:
        kept = verdicts(lint(copy).stdout)
    finally:
        if before is None:
            path.unlink()
        else:
            path.write_text(before)
    assert not next(kept[name] for name in kept if name.startswith(contract))
