"""Read-only disks from folders."""

from __future__ import annotations

from pathlib import Path

from host_daemon.images.runner import Runner
from vaccel import bounds


async def make_squashfs(run: Runner, folder: Path, target: Path) -> Path:
    """A squashfs of a folder, owned by root and dated 1970: the same content gives the same bytes.

    Nothing is compressed: an emulated CPU unpacks slowly. The file is padded to whole MiB.
    """
    command = ["mksquashfs", str(folder), str(target), "-noappend", "-no-progress", "-quiet"]
    command += [
        "-noI",
        "-noD",
        "-noF",
        "-noX",
        "-no-xattrs",
        "-all-root",
        "-mkfs-time",
        "0",
        "-all-time",
        "0",
    ]
    await run(command, timeout=bounds.IMAGE_BUILD_SECONDS)
    _pad(target)
    return target


def _pad(target: Path) -> None:
    size = target.stat().st_size
    with target.open("ab") as file:
        file.truncate(size + -size % bounds.MIB)
