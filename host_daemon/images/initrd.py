"""The initrd: busybox, a script and the few kernel modules that a guest needs.

The archive is the kernel's "newc" cpio, as its buffer-format.rst has it,
not compressed: QEMU loads it at memory speed, an emulated CPU would unpack it slowly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vaccel.errors import HostFault

_DEPENDS: Final = re.compile(rb"(?:^|\0)depends=([^\0]*)\0")
_REGULAR: Final = 0o100000
_FOLDER: Final = 0o040000
_DEVICE: Final = 0o020000


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of the archive; ``mode`` holds type and permissions, ``device`` major and minor."""

    path: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def cpio(entries: Iterable[Entry]) -> bytes:
    """The archive of the entries, in their order, all owned by root and dated 1970."""
    archive = bytearray()
    for inode, entry in enumerate([*entries, Entry("TRAILER!!!", 0)], start=1):
        name = entry.path.encode() + b"\0"
        size = len(entry.content)
        links = 2 if entry.mode & 0o170000 == _FOLDER else 1
        head = (inode, entry.mode, 0, 0, links, 0, size, 0, 0, *entry.device, len(name), 0)
        archive += b"070701" + b"".join(b"%08x" % field for field in head) + name
        archive += bytes(-len(archive) % 4) + entry.content
        archive += bytes(-len(archive) % 4)
    return bytes(archive)


def find_modules(tree: Path) -> dict[str, Path]:
    """Module name, with underscores, to its file, for all modules under a folder."""
    return {path.stem.replace("-", "_"): path for path in sorted(tree.rglob("*.ko"))}


def builtin_modules(tree: Path) -> set[str]:
    """Names of what the kernel has built in, from its ``modules.builtin``."""
    return {
        Path(line).stem.replace("-", "_")
        for listing in tree.rglob("modules.builtin")
        for line in listing.read_text().split()
    }


def load_order(
    wanted: Sequence[str], modules: Mapping[str, Path], builtin: Iterable[str]
) -> list[str]:
    """The wanted modules and what they depend on, each after its dependencies, each once.

    Dependencies are what each file itself names in its ``.modinfo``. Raises HostFault where one is
    missing.
    """
    order: list[str] = []
    present = set(builtin)

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if name in order or name in present:
            return
        if name in trail:
            raise HostFault(f"kernel module {name} depends on itself: {' -> '.join(trail)}")
        if name not in modules:
            needed = f", needed by {trail[-1]}" if trail else ""
            raise HostFault(f"kernel module {name} is not in the kernel package{needed}")
        found = _DEPENDS.search(modules[name].read_bytes())
        below = found[1].decode() if found else ""
        for dependency in filter(None, below.split(",")):
            visit(dependency.replace("-", "_"), (*trail, name))
        order.append(name)

    for name in wanted:
        visit(name.replace("-", "_"), ())
    return order


def make_initrd(
    tree: Path, busybox: bytes, script: bytes, early: Sequence[str], late: Sequence[str]
) -> bytes:
    """The initrd from an unpacked kernel package.

    The script loads the modules of ``early``; those of ``late`` are handed on to the guest's init.
    """
    modules, builtin = find_modules(tree), builtin_modules(tree)
    first = load_order(early, modules, builtin)
    after = load_order(late, modules, builtin | set(first))
    settings = f'early="{" ".join(first)}"\nlate="{" ".join(after)}"\n'
    folders = ("bin", "dev", "lib", "proc", "root", "sys")
    return cpio(
        [
            *(Entry(folder, _FOLDER | 0o755) for folder in folders),
            # The kernel opens it before anything is mounted.
            Entry("dev/console", _DEVICE | 0o600, device=(5, 1)),
            Entry("bin/busybox", _REGULAR | 0o755, busybox),
            Entry("init", _REGULAR | 0o755, script),
            Entry("modules", _REGULAR | 0o644, settings.encode()),
            *(
                Entry(f"lib/{name}.ko", _REGULAR | 0o644, modules[name].read_bytes())
                for name in (*first, *after)
            ),
        ]
    )
