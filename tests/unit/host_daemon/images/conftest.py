from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

LOCK = """\
grpcio==1.85.1 \\
    --hash=sha256:{a} \\
    --hash=sha256:{b}
    # via
    #   -r requirements.in
    #   onnx
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:{a}
    # via -r requirements.in
numpy==2.5.5 ; python_full_version >= '3.12' \\
    --hash=sha256:{b}
    # via -r requirements.in
onnx==1.23.2 \\
    --hash=sha256:{b}
    # via -r requirements.in
protobuf==6.33.6 \\
    --hash=sha256:{a}
    # via
    #   -r requirements.in
    #   onnx
typing-extensions==4.16.0 \\
    --hash=sha256:{b}
    # via
    #   grpcio
    #   onnx
""".format(a="a" * 64, b="b" * 64)

RECIPE = """\
name = "debian"
suite = "bookworm"
architecture = "amd64"
python = "3.11"
kernel_package = "linux-image-cloud-amd64"
packages = ["python3"]
modules_early = ["virtio_blk"]
modules_late = ["squashfs"]
wheels = ["numpy", "grpcio"]
platforms = ["manylinux_2_28_x86_64"]
command_line = ["console=ttyS0", "quiet"]
root_mib = 64
"""


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    """A folder of recipes with one small recipe in it."""
    folder = tmp_path / "images" / "debian"
    (folder / "root" / "etc").mkdir(parents=True)
    (folder / "initrd").mkdir()
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "root" / "etc" / "inittab").write_text("::sysinit:/boot\n")
    (folder / "initrd" / "init").write_text("#!/bin/busybox sh\n")
    (folder / "assemble").write_text("#!/bin/sh\n")
    return folder.parent


@pytest.fixture
def lock_file(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.lock"
    path.write_text(LOCK)
    return path


class Programs:
    """A Runner that does with files what the host's programs would, in no time."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.fail: Callable[[Sequence[str]], Exception | None] = lambda command: None

    async def __call__(
        self,
        command: Sequence[str],
        *,
        timeout: float,
        on_line: Callable[[str], None] | None = None,
    ) -> str:
        self.commands.append(list(command))
        if fault := self.fail(command):
            raise fault
        match command[0]:
            case "apt-get":
                return "http://mirror.example/debian/|bookworm|main|Debian\n"
            case "mmdebstrap":
                return self._mmdebstrap(command, on_line or (lambda line: None))
            case "dpkg-deb":
                self._kernel_tree(Path(command[3]))
            case "tar":
                folder = Path(command[command.index("--directory") + 1])
                (folder / "root.img").write_bytes(b"root")
            case "mksquashfs":
                self._mksquashfs(Path(command[1]), Path(command[2]))
        return ""

    def _mmdebstrap(self, command: Sequence[str], on_line: Callable[[str], None]) -> str:
        on_line("I: downloading packages with apt...")
        for word in command:
            if word.startswith("--customize-hook=download"):
                Path(word.split()[-1]).write_bytes(b"made")
        return ""

    def _mksquashfs(self, folder: Path, target: Path) -> None:
        listing = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
        target.write_text(json.dumps(listing))

    def _kernel_tree(self, tree: Path) -> None:
        (tree / "boot").mkdir(parents=True)
        (tree / "boot" / "vmlinuz-6.1").write_bytes(b"kernel")
        modules = tree / "lib" / "modules" / "6.1" / "kernel"
        modules.mkdir(parents=True)
        for name in ("virtio_blk", "squashfs"):
            (modules / f"{name}.ko").write_bytes(b"\x7fELF\0depends=\0")


class Clock:
    """A clock that moves by a nanosecond when read, and by hours when told."""

    def __init__(self) -> None:
        self.now = 42

    def __call__(self) -> int:
        self.now += 1
        return self.now

    def pass_hours(self, hours: int) -> None:
        self.now += hours * 3600 * 10**9


@pytest.fixture
def clock() -> Clock:
    return Clock()


def names_in(folder: Path) -> list[str]:
    """Names of what a folder holds, sorted."""
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def programs() -> Programs:
    return Programs()
