"""Fixtures of the tests of the whole system: one daemon and two VMs for all of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest

from tests.conformance import models
from tests.e2e.system import System
from vaccel.bench import data
from vaccel.inventory import VF

VM: Final = "one"
SPARE: Final = "two"


@pytest.fixture(scope="session")
def system() -> Iterator[System]:
    with System() as system:
        yield system
        # Whatever a test did to it: a traceback there is a bug.
        assert "Traceback" not in system.log, system.log


@pytest.fixture(scope="session")
def truth(system: System) -> Mapping[str, str]:
    """What perfect models would answer; fills the folder that the first VM gets as a disk."""
    folder = system.folder / "data"
    folder.mkdir()
    truth = data.prepare(folder)
    _write_suite(folder / "suite")
    return truth


@pytest.fixture(scope="session")
def guest_data(system: System, truth: Mapping[str, str]) -> Path:
    return system.folder / "data"


@pytest.fixture(scope="session")
def vm(system: System, guest_data: Path) -> str:
    """A VM that no test ends."""
    image = system.image().name
    return system.admin.start_vm(VM, image=image, data_dir=str(guest_data)).name


@pytest.fixture
def spare(system: System) -> str:
    """A VM for tests that do end it: started again where one did."""
    running = [vm.name for vm in system.admin.vms() if vm.state == "running"]
    if SPARE not in running:
        system.admin.start_vm(SPARE, image=system.image().name)
    return SPARE


@pytest.fixture
def vf(system: System, vm: str) -> VF:
    """The first VM's only VF, enrolled."""
    return system.alone("shared", vm)


def _write_suite(folder: Path) -> None:
    """The compute suite as a guest can run it: code and models, no pytest, no onnx."""
    here = Path(models.__file__).parent
    target = folder / "tests" / "conformance"
    target.mkdir(parents=True)
    for file in [here / "__init__.py", *sorted(here.glob("compute*.py"))]:
        shutil.copy(file, target)
    (folder / "models").mkdir()
    for name in models.ALL:
        (folder / "models" / f"{name}.onnx").write_bytes(models.build(name))
