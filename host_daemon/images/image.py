"""A built guest image, and the manifest that lies beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vaccel.errors import HostFault

MANIFEST: Final = "manifest.json"
# Raised when what the manifest says, or how a folder is laid out, changes its meaning.
FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class GuestImage:
    """What a VM needs to boot: kernel, initrd, a root disk that is never written, a command line.

    ``digest`` is the SHA-256 (hex) of everything it was made from; ``bytes`` what it takes on the
    host's disk (the root file system is sparse); ``built_unix_ns`` is in nanoseconds since 1970.
    """

    name: str
    digest: str
    folder: Path
    kernel: Path
    initrd: Path
    root: Path
    command_line: str
    bytes: int
    built_unix_ns: int

    @staticmethod
    def in_folder(
        folder: Path, *, name: str, digest: str, command_line: str, bytes: int, built_unix_ns: int
    ) -> GuestImage:
        """The image whose files have their usual names in a folder."""
        return GuestImage(
            name=name,
            digest=digest,
            folder=folder,
            kernel=folder / "kernel",
            initrd=folder / "initrd",
            root=folder / "root.img",
            command_line=command_line,
            bytes=bytes,
            built_unix_ns=built_unix_ns,
        )

    def write_manifest(self, folder: Path) -> None:
        """Write the manifest into a folder, which need not be the final one."""
        values = {
            "format": FORMAT,
            "name": self.name,
            "digest": self.digest,
            "command_line": self.command_line,
            "bytes": self.bytes,
            "built_unix_ns": self.built_unix_ns,
        }
        (folder / MANIFEST).write_text(json.dumps(values, indent=2) + "\n")


def read_manifest(folder: Path) -> GuestImage:
    """The image in a folder. Raises HostFault naming the folder where its manifest is damaged."""
    try:
        values = json.loads((folder / MANIFEST).read_text())
        if values["format"] != FORMAT:
            raise ValueError(f"format {values['format']!r}, not {FORMAT}")
        return GuestImage.in_folder(
            folder,
            name=str(values["name"]),
            digest=str(values["digest"]),
            command_line=str(values["command_line"]),
            bytes=int(values["bytes"]),
            built_unix_ns=int(values["built_unix_ns"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise HostFault(
            f"guest image {folder} has a damaged {MANIFEST}: {fault}",
            hint="build it again: vaccelctl image build --rebuild",
        ) from fault
