from __future__ import annotations

import json
from pathlib import Path

import pytest

from host_daemon.images.layer import layer_digest
from host_daemon.images.store import ImageStore
from vaccel import bounds
from vaccel.errors import Exhausted, HostFault

from .conftest import Clock, Programs


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    for package in ("vaccel", "guest_agent", "host_daemon"):
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text("")
    (folder / "vaccel" / "py.typed").write_text("")
    (folder / "vaccel" / "secret.key").write_text("")
    (folder / "vaccel" / "__init__.py").write_text('__version__ = "7.8"\n')
    return folder


@pytest.fixture
def store(
    recipes: Path, lock_file: Path, tmp_path: Path, programs: Programs, clock: Clock
) -> ImageStore:
    return ImageStore(recipes, lock_file, tmp_path / "cache", programs, now_ns=clock)


async def test_a_layer_holds_what_a_guest_needs_and_no_daemon(
    store: ImageStore, source: Path
) -> None:
    disk = await store.layer(source)
    holds = json.loads(disk.read_bytes().rstrip(b"\0"))
    assert {"vaccel/__init__.py", "vaccel/py.typed", "guest_agent/__init__.py"} <= set(holds)
    assert "vaccel-7.8.dist-info/METADATA" in holds
    assert any(name.startswith("vaccel/__pycache__/__init__") for name in holds)
    assert not [name for name in holds if "host_daemon" in name or name.endswith(".key")]
    assert disk.stat().st_size % bounds.MIB == 0


async def test_packages_that_state_no_version_are_refused(
    store: ImageStore, source: Path
) -> None:
    (source / "vaccel" / "__init__.py").write_text("")
    with pytest.raises(HostFault, match="states no version"):
        await store.layer(source)


async def test_a_layer_is_made_once_per_content(
    store: ImageStore, source: Path, programs: Programs, clock: Clock
) -> None:
    first = await store.layer(source)
    assert await store.layer(source) == first
    assert len(programs.commands) == 1
    (source / "host_daemon" / "__init__.py").write_text("changed = 1\n")
    assert await store.layer(source) == first
    (source / "vaccel" / "__init__.py").write_text('__version__ = "7.9"\n')
    clock.pass_hours(2)
    second = await store.layer(source)
    assert second != first
    assert await store.prune(in_use=[first]) == []
    assert await store.prune() == [first]
    assert second.is_file()


def test_a_folder_without_the_packages_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostFault, match=f"package vaccel is not in {tmp_path}"):
        layer_digest(tmp_path)


def test_a_layer_is_bounded(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "IMAGE_LAYER_BYTES", 10)
    (source / "vaccel" / "large.py").write_text("#" * 11)
    with pytest.raises(Exhausted, match="is over 10 bytes"):
        layer_digest(source)
