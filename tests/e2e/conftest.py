from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import pytest_asyncio

from host_daemon.core.hypervisor import Disk, Hypervisor, MachineSpec
from host_daemon.hypervisors.qmp.driver import QmpHypervisor
from host_daemon.images.image import GuestImage
from host_daemon.images.store import ImageStore, default_cache
from vaccel import bounds

pytest.register_assert_rewrite("tests.conformance.guest", "tests.conformance.hypervisor")

from tests.conformance.guest import Guest, SpecFactory  # noqa: E402
from tests.e2e.system_fixtures import (  # noqa: E402, F401
    guest_data,
    spare,
    system,
    truth,
    vf,
    vm,
)

_ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def guest_image() -> GuestImage:
    """The current image, from the shared cache; built there where it is missing."""
    store = ImageStore(_ROOT / "images", _ROOT / "requirements.lock", default_cache())
    return asyncio.run(store.build())


@pytest.fixture(scope="session")
def run_folder() -> Iterator[Path]:
    """A short path, because it holds sockets that others than QEMU bind."""
    with TemporaryDirectory(prefix="vaccel-e2e-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def make_spec(guest_image: GuestImage, run_folder: Path) -> SpecFactory:
    """A factory of specs that boot the image: ``make_spec(name, field=value, ...)``."""

    def make(name: str, **changes: Any) -> MachineSpec:
        fields: dict[str, Any] = {
            "id": f"vm-{name}",
            "name": name,
            "folder": run_folder / name,
            "kernel": guest_image.kernel,
            "initrd": guest_image.initrd,
            "command_line": guest_image.command_line,
            "disks": (Disk(guest_image.root, "root", writable=True),),
            "memory_bytes": 512 * bounds.MIB,
            "cpus": 2,
            "accelerator": "tcg",
            "guest_endpoint": None,
        }
        return MachineSpec(**(fields | changes))

    return make


@pytest.fixture(scope="session")
def hypervisor() -> Hypervisor:
    return QmpHypervisor()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def endpoint(run_folder: Path) -> AsyncIterator[Path]:
    """A host's unix socket that answers each line with the same in capitals."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()

    path = run_folder / "endpoint.sock"
    server = await asyncio.start_unix_server(answer, path)
    async with server:
        yield path


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def guest(
    hypervisor: Hypervisor, make_spec: SpecFactory, endpoint: Path
) -> AsyncIterator[Guest]:
    """One running VM for all tests that leave it as they found it."""
    guest = Guest(make_spec("shared", guest_endpoint=endpoint))
    guest.machine = await hypervisor.start(guest.spec, guest.hear)
    try:
        await guest.machine.wait_ready(bounds.VM_BOOT_SECONDS)
        yield guest
    finally:
        await guest.machine.stop(force=True)
