"""vaccel/v1 is what proto/ says, by the generator that is locked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generated")
    sources = sorted((ROOT / "proto/vaccel/v1").glob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT / 'proto'}"]
    command += [f"--python_out={folder}", f"--pyi_out={folder}", *map(str, sources)]
    subprocess.run(command, check=True)
    return folder / "vaccel/v1"


def test_the_same_files(generated):
    ours = {p.name for p in (ROOT / "vaccel/v1").glob("*.py*")} - {"__init__.py"}
    assert ours == {path.name for path in generated.iterdir()}


def test_the_same_content(generated):
    for path in generated.iterdir():
        ours = (ROOT / "vaccel/v1" / path.name).read_text()
        assert ours == path.read_text(), f"{path.name} is stale: run make proto"
