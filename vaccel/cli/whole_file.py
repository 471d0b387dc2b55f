"""A file that a command leaves behind: all of it, or what was there before."""

from __future__ import annotations

import os
from pathlib import Path

from vaccel.errors import HostFault


def write_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; a device, a pipe or a link is written to, never replaced.

    Raises HostFault naming the path.
    """
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            path.write_bytes(data)
            return
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            fresh.write_bytes(data)
            fresh.replace(path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
    except (OSError, ValueError) as fault:
        why = getattr(fault, "strerror", None) or fault
        raise HostFault(
            f"{str(path)!r} cannot be written: {why}", hint="name a file in a folder of yours"
        ) from None
