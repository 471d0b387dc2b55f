"""Credentials that outlive the agent: one root-only file per VF and epoch."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from vaccel import bounds
from vaccel.errors import HostFault, InvalidArgument
from vaccel.ids import is_id

_SUFFIX: Final = ".credential"


class CredentialStore:
    """A folder of mode 0700 with files of mode 0600, each ``<vf>.<epoch>.credential``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self) -> None:
        """Make the folder, for this user only. Raises HostFault naming it."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.chmod(0o700)
        except OSError as error:
            raise HostFault(
                f"cannot prepare the state folder {self._folder}: {error.strerror}",
                hint="run vaccel-agent as root, or set state_dir in its configuration",
            ) from error

    def load(self, vf: str, epoch: int) -> str | None:
        """The credential of a VF in an epoch, or None. One that others can read is not used."""
        try:
            fd = os.open(self._path(vf, epoch), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        with os.fdopen(fd, "rb") as file:
            found = os.fstat(fd)
            if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
                return None
            data = file.read(bounds.CREDENTIAL_BYTES + 1)
        if not data.isascii() or not 0 < len(data) <= bounds.CREDENTIAL_BYTES:
            return None
        return data.decode("ascii")

    def keep(self, vf: str, epoch: int, credential: str) -> None:
        """Keep a credential, forget other epochs; a crash leaves the old state or the new."""
        data = credential.encode()
        if not credential.isprintable() or not 0 < len(data) <= bounds.CREDENTIAL_BYTES:
            raise InvalidArgument(f"credential of {vf} has {len(data)} bytes or odd characters")
        path = self._path(vf, epoch)
        temporary = path.with_suffix(".new")
        try:
            temporary.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)
        except OSError as error:
            raise HostFault(f"cannot keep {path}: {error.strerror}") from error
        self.forget(vf, keep_epoch=epoch)

    def forget(self, vf: str, keep_epoch: int | None = None) -> None:
        """Remove what is kept of a VF, save one epoch."""
        kept = None if keep_epoch is None else self._path(vf, keep_epoch)
        for path in self._folder.glob(f"{_checked(vf)}.*"):
            if path != kept:
                path.unlink(missing_ok=True)

    def _path(self, vf: str, epoch: int) -> Path:
        return self._folder / f"{_checked(vf)}.{epoch}{_SUFFIX}"


def _checked(vf: str) -> str:
    # It becomes part of a path.
    if not is_id(vf):
        raise InvalidArgument(f"{vf!r} is not the id of a VF")
    return vf
