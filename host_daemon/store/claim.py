"""Who may write a store: one process at a time, by a lock that dies with its holder."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from vaccel.errors import HostFault


class Claim:
    """An exclusive ``flock`` on a file beside the store. It holds its owner's pid, for people."""

    def __init__(self, descriptor: int) -> None:
        """For ``take`` only."""
        self._descriptor = descriptor

    @classmethod
    def take(cls, store: Path, what: str = "the store", key: str = "state_dir") -> Claim:
        """Claim a store, or raise HostFault naming the process that has it.

        ``what`` and ``key`` are what messages call it, and the setting that gives another.
        """
        path = store.with_name(store.name + ".lock")
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            raise HostFault(
                f"{what} {store} cannot be locked: {error}",
                hint="look at the permissions and the space of the folder",
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                raise HostFault(
                    f"{what} {store} is in use by process {holder or 'unknown'}",
                    hint=f"stop that vacceld, or give this one a {key} of its own",
                ) from error
            raise HostFault(f"{what} {store} cannot be locked: {error}") from error
        return cls(descriptor)

    def release(self) -> None:
        """Let another process claim it. Releasing twice is no error."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
