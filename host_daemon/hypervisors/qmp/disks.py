"""Disk images: of what format one is, and the writable layer over one."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from vaccel.errors import HostFault

_QCOW2_MAGIC: Final = b"QFI\xfb"


def disk_format(path: Path) -> str:
    """``raw`` or ``qcow2``, by the image's first bytes; only for images that no guest has written.

    Raises HostFault where it cannot be read.
    """
    try:
        with path.open("rb") as image:
            return "qcow2" if image.read(len(_QCOW2_MAGIC)) == _QCOW2_MAGIC else "raw"
    except OSError as error:
        raise HostFault(
            f"disk image {path} cannot be read: {error.strerror}",
            hint="build the image, or mend its permissions",
        ) from error


async def make_overlay(base: Path, overlay: Path) -> None:
    """Create an empty layer over ``base``, an absolute path. Raises HostFault as qemu-img does."""
    arguments = [
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        disk_format(base),
        "-b",
        str(base),
    ]
    process = await asyncio.create_subprocess_exec(
        "qemu-img",
        *arguments,
        str(overlay),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        _, words = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise HostFault(
            f"qemu-img cannot create {overlay}: {words.decode(errors='replace')[:500]}",
            hint="see that the disk has space and the folder can be written",
        )
