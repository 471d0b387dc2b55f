from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path

import pytest

from host_daemon.images.image import MANIFEST
from host_daemon.images.store import ImageStore, default_cache
from vaccel.errors import HostFault, NotFound

from .conftest import Clock, Programs, names_in


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "images"


@pytest.fixture
def store(
    recipes: Path, lock_file: Path, cache: Path, programs: Programs, clock: Clock
) -> ImageStore:
    return ImageStore(recipes, lock_file, cache, programs, now_ns=clock)


def age(cache: Path, clock: Clock) -> None:
    """Let two hours pass over all that is built."""
    for folder in (cache / "base").iterdir():
        os.utime(folder, ns=(clock.now, clock.now))
    clock.pass_hours(2)


def built(programs: Programs) -> int:
    return sum(command[0] == "mmdebstrap" for command in programs.commands)


async def test_a_build_publishes_everything_a_vm_needs(store: ImageStore, cache: Path) -> None:
    image = await store.build()
    assert image.kernel.read_bytes() == b"kernel"
    assert image.initrd.read_bytes().startswith(b"070701")
    assert image.root.read_bytes() == b"root"
    assert image.command_line == "console=ttyS0 quiet"
    assert image.built_unix_ns == 43
    assert image.bytes > 0
    assert await store.find() == image
    assert names_in(cache) == [".lock", "base"]


async def test_the_second_build_is_the_first(store: ImageStore, programs: Programs) -> None:
    assert await store.build() == await store.build()
    assert built(programs) == 1
    assert built(programs) == 1


async def test_a_rebuild_leaves_the_bytes_under_running_vms(
    store: ImageStore, programs: Programs, clock: Clock, cache: Path
) -> None:
    first = await store.build()
    second = await store.build(rebuild=True)
    assert built(programs) == 2
    assert second.digest == first.digest
    assert second.folder != first.folder
    assert first.root.is_file()
    assert await store.find() == second
    assert await store.list() == [(first, False), (second, True)]
    age(cache, clock)
    assert await store.prune() == [first.folder]


async def test_builds_at_once_build_once(store: ImageStore, programs: Programs) -> None:
    first, second = await asyncio.gather(store.build(), store.build())
    assert first == second
    assert built(programs) == 1


async def test_a_failed_build_leaves_nothing(
    store: ImageStore, programs: Programs, cache: Path
) -> None:
    for program in ("apt-get", "mmdebstrap", "dpkg-deb", "tar"):
        programs.fail = lambda command, bad=program: (  # type: ignore[misc]
            HostFault(f"{bad} failed") if command[0] == bad else None
        )
        with pytest.raises(HostFault, match=f"{program} failed"):
            await store.build()
        assert names_in(cache) == [".lock"]


async def test_a_failed_rebuild_keeps_what_there_was(store: ImageStore, programs: Programs) -> None:
    image = await store.build()
    programs.fail = lambda command: HostFault("no") if command[0] == "tar" else None
    with pytest.raises(HostFault, match="no"):
        await store.build(rebuild=True)
    assert await store.find() == image


async def test_what_a_killed_build_left_is_cleared(store: ImageStore, cache: Path) -> None:
    (cache / ".building-old").mkdir(parents=True)
    await store.build()
    assert not (cache / ".building-old").exists()


async def test_progress_says_that_it_waits_for_another(store: ImageStore, cache: Path) -> None:
    os.makedirs(cache)
    waits = asyncio.Event()
    descriptor = os.open(cache / ".lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)

    def tell(step: str, share: float) -> None:
        assert 0 <= share <= 1
        if step == "waiting for another build":
            waits.set()

    building = asyncio.create_task(store.build(progress=tell))
    await waits.wait()
    assert not building.done()
    os.close(descriptor)
    await building


async def test_what_is_not_built_is_named_with_the_next_step(
    store: ImageStore, recipes: Path
) -> None:
    with pytest.raises(HostFault) as caught:
        await store.find()
    assert caught.value.message == "image debian is not built"
    assert "vaccelctl image build" in caught.value.hint
    await store.build()
    (recipes / "debian" / "assemble").write_text("changed")
    with pytest.raises(HostFault, match="not built since its recipe changed"):
        await store.find()
    with pytest.raises(NotFound, match="image 'fedora' has no recipe"):
        await store.find("fedora")


async def test_the_list_tells_current_from_outdated_and_prune_spares_what_is_used(
    store: ImageStore, recipes: Path, clock: Clock, cache: Path
) -> None:
    old = await store.build()
    (recipes / "debian" / "assemble").write_text("changed")
    new = await store.build()
    assert sorted(await store.list(), key=lambda row: row[1]) == [(old, False), (new, True)]
    assert await store.prune() == []
    age(cache, clock)
    assert await store.prune(in_use=[old.root]) == []
    assert await store.prune() == [old.folder]
    assert await store.list() == [(new, True)]


async def test_a_damaged_manifest_is_named(store: ImageStore) -> None:
    image = await store.build()
    (image.folder / MANIFEST).write_text("{}")
    with pytest.raises(HostFault, match=f"guest image {image.folder} has a damaged manifest.json"):
        await store.find()


async def test_a_cache_that_cannot_be_written_is_named(
    recipes: Path, lock_file: Path, programs: Programs, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    store = ImageStore(recipes, lock_file, tmp_path / "file" / "cache", programs)
    with pytest.raises(HostFault, match=r"image cache .*file/cache cannot be used"):
        await store.build()


async def test_a_missing_lock_file_is_named(
    recipes: Path, cache: Path, programs: Programs, tmp_path: Path
) -> None:
    store = ImageStore(recipes, tmp_path / "none.lock", cache, programs)
    with pytest.raises(HostFault, match=r"lock file .*none\.lock cannot be read"):
        await store.find()


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "vaccel" / "images"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "vaccel" / "images"
