"""A folder where finished things appear whole or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Final

from vaccel import bounds
from vaccel.errors import HostFault, TimedOut

_STAGING: Final = ".building-"
_POLL_SECONDS: Final = 0.2


@contextlib.asynccontextmanager
async def locked(folder: Path, waiting: Callable[[], None]) -> AsyncIterator[None]:
    """Hold the folder's lock, across processes; ``waiting`` is called once if another one has it.

    Raises HostFault where the folder cannot be made, TimedOut where the other never ends.
    """
    descriptor = _open_lock(folder)
    try:
        if not _try_lock(descriptor):
            waiting()
            await _wait_for_lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _open_lock(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as fault:
        raise HostFault(
            f"image cache {folder} cannot be used: {fault.strerror}",
            hint="make it writable, or choose another with XDG_CACHE_HOME",
        ) from fault


async def _wait_for_lock(descriptor: int, folder: Path) -> None:
    try:
        async with asyncio.timeout(bounds.IMAGE_BUILD_SECONDS):
            while not _try_lock(descriptor):  # noqa: ASYNC110 - no flock can be awaited: ask again
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise TimedOut(f"image cache {folder} is still locked by another build") from None


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A temporary folder beside the finished things; gone at the end, whatever happens.

    The holder of the lock is alone, so what an earlier, killed build left is cleared first.
    """
    for left in folder.glob(f"{_STAGING}*"):
        shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=_STAGING, dir=folder))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def publish(made: Path, final: Path) -> None:
    """Give a finished file or folder its name, durably. A folder's name must not be taken yet."""
    final.parent.mkdir(parents=True, exist_ok=True)
    for path in [*made.rglob("*"), made] if made.is_dir() else [made]:
        _sync(path)
    os.rename(made, final)
    _sync(final.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def disk_bytes(folder: Path) -> int:
    """Bytes that the files under a folder take on the disk; holes of sparse files take none."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())
