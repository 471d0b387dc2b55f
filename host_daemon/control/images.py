"""What the control plane needs of guest images; ``host_daemon.images`` provides it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol


class BootImage(Protocol):
    """An image in the cache."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def digest(self) -> str: ...  # noqa: D102
    @property
    def folder(self) -> Path: ...  # noqa: D102
    @property
    def kernel(self) -> Path: ...  # noqa: D102
    @property
    def initrd(self) -> Path: ...  # noqa: D102
    @property
    def root(self) -> Path: ...  # noqa: D102
    @property
    def command_line(self) -> str: ...  # noqa: D102
    @property
    def bytes(self) -> int: ...  # noqa: D102
    @property
    def built_unix_ns(self) -> int: ...  # noqa: D102


class Images(Protocol):
    """The cache of images. ``progress(step, fraction)`` is called as work goes on."""

    async def build(
        self, name: str, rebuild: bool, progress: Callable[[str, float], None]
    ) -> BootImage:
        """Build, or find in the cache. Raises NotFound for the recipe, HostFault."""

    async def list(self) -> Sequence[tuple[BootImage, bool]]:
        """Images, and whether each is what its recipe says now."""

    async def find(self, name: str) -> BootImage:
        """The current image. Raises HostFault where it is not built."""

    async def layer(self, source: Path) -> Path:
        """The disk with this checkout's own packages."""

    async def data_disk(self, folder: Path, target: Path) -> Path:
        """A read-only disk with a folder's files."""
