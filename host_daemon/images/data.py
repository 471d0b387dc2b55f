"""An optional disk for a guest with a copy of a host folder; never a share."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

from host_daemon.images.runner import Runner
from host_daemon.images.squash import make_squashfs
from vaccel import bounds
from vaccel.errors import Exhausted, HostFault, InvalidArgument


def measure(folder: Path) -> int:
    """Bytes of the regular files under a folder, links not followed.

    Raises InvalidArgument for what is no readable folder or holds devices or sockets, Exhausted
    beyond the bounds; each names the path.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise InvalidArgument(f"data folder {folder} {what}", hint="give a folder of this host")
    total = count = 0
    for parent, folders, files in os.walk(folder, onerror=_refuse):
        count += len(folders) + len(files)
        if count > bounds.DATA_DISK_FILES:
            raise Exhausted(
                f"data folder {folder} holds over {bounds.DATA_DISK_FILES} files",
                hint="give a smaller folder, or pack it into one file",
            )
        for name in files:
            path = Path(parent, name)
            if not path.is_symlink() and not path.is_file():
                raise InvalidArgument(f"data folder {folder} holds {path}, which is not a file")
            total += path.lstat().st_size
            if total > bounds.DATA_DISK_BYTES:
                raise Exhausted(
                    f"data folder {folder} is over {bounds.DATA_DISK_BYTES >> 30} GiB",
                    hint="give a smaller folder",
                )
    return total


def _refuse(fault: OSError) -> None:
    raise InvalidArgument(
        f"data folder {fault.filename} cannot be read: {fault.strerror}"
    ) from fault


async def make_data_disk(run: Runner, folder: Path, target: Path) -> Path:
    """Copy a folder into a read-only disk at ``target``, which appears whole or not at all."""
    await asyncio.to_thread(measure, folder)
    try:
        work = tempfile.TemporaryDirectory(prefix=".data-", dir=target.parent)
    except OSError as fault:
        raise HostFault(f"data disk {target} cannot be written: {fault.strerror}") from fault
    with work as name:
        made = await make_squashfs(run, folder, Path(name) / "data.squashfs")
        os.rename(made, target)
    return target
