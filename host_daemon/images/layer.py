"""The second disk of a guest: vaccel's own packages, in the form a wheel would install them."""

from __future__ import annotations

import asyncio
import compileall
import hashlib
import importlib.util
import py_compile
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from host_daemon.images.runner import Runner
from host_daemon.images.squash import make_squashfs
from vaccel import bounds
from vaccel.errors import Exhausted, HostFault

# Never host_daemon: a guest has no use for it, and it would tell a tenant how the host works.
PACKAGES: Final = ("vaccel", "guest_agent")
_VERSION: Final = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)
_SUFFIXES: Final = frozenset({".py", ".pyi", ".toml", ".json", ".typed"})


def _files(source: Path) -> Iterator[Path]:
    """Files of the packages that go into the guest, relative to the source, sorted."""
    for package in PACKAGES:
        if not (source / package / "__init__.py").is_file():
            raise HostFault(
                f"package {package} is not in {source}", hint="give the folder of the checkout"
            )
        for path in sorted((source / package).rglob("*")):
            if path.is_file() and (path.suffix in _SUFFIXES or path.name == "py.typed"):
                yield path.relative_to(source)


def _version(source: Path) -> str:
    """The version that the packages there state, which need not be those that run here."""
    path = source / "vaccel/__init__.py"
    found = _VERSION.search(path.read_text()) if path.is_file() else None
    if found is None:
        raise HostFault(f"{path} states no version", hint="give the folder of the checkout")
    return found[1]


def layer_digest(source: Path) -> str:
    """SHA-256, in hex, over what the layer would hold.

    Raises HostFault where a package is missing, Exhausted where there is far too much.
    """
    files = list(_files(source))
    total = hashlib.sha256(f"{_version(source)}\0{importlib.util.MAGIC_NUMBER.hex()}\0".encode())
    size = 0
    for path in files:
        content = (source / path).read_bytes()
        size += len(content)
        if size > bounds.IMAGE_LAYER_BYTES:
            raise Exhausted(f"layer from {source} is over {bounds.IMAGE_LAYER_BYTES} bytes")
        total.update(f"{path.as_posix()}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


def _stage(source: Path, folder: Path) -> None:
    for path in _files(source):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, target)
    about = folder / f"vaccel-{_version(source)}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: vaccel\nVersion: {_version(source)}\n"
    )
    # Helps where the host's Python is the guest's; another one's files are passed over there.
    compileall.compile_dir(
        folder,
        quiet=2,
        stripdir=str(folder),
        prependdir="/opt/vaccel/app",
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


async def make_layer(run: Runner, source: Path, work: Path) -> Path:
    """Make the layer's disk in a working folder; returns the file."""
    folder = work / "app"
    await asyncio.to_thread(_stage, source, folder)
    return await make_squashfs(run, folder, work / "layer.squashfs")
