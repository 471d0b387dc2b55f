"""PCI functions that carry a VF's window, as sysfs shows them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from vaccel.aperture.header import Header
from vaccel.aperture.window import Window
from vaccel.errors import HostFault, Unavailable

# QEMU's ivshmem devices (Red Hat's vendor id), docs/specs/ivshmem-spec.rst of QEMU.
VENDOR: Final = "0x1af4"
DEVICE: Final = "0x1110"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, order=True)
class Function:
    """A PCI function. ``incarnation`` tells a new device from an old one at the same address."""

    address: str  # such as 0000:00:05.0
    incarnation: int


class PciBus:
    """The functions under a sysfs root."""

    def __init__(self, root: Path) -> None:
        self._devices = root / "bus" / "pci" / "devices"
        # What was there at the last scan, and whether it is of our kind: an incarnation stays what
        # it is, and files of sysfs are slow to read for a guest that is emulated.
        self._seen: dict[Function, bool] = {}

    def scan(self) -> frozenset[Function]:
        """The functions of our kind that are there now."""
        try:
            names = os.listdir(self._devices)
        except FileNotFoundError:
            # A kernel without PCI, or a guest that never had a bus.
            names = []
        seen = {}
        for name in names:
            try:
                function = Function(name, os.stat(self._devices / name).st_ino)
                known = self._seen.get(function)
                seen[function] = self._is_ours(name) if known is None else known
            except OSError:
                # Unplugged between the two looks.
                continue
        self._seen = seen
        return frozenset(function for function, ours in seen.items() if ours)

    def _is_ours(self, name: str) -> bool:
        folder = self._devices / name
        return _read(folder / "vendor") == VENDOR and _read(folder / "device") == DEVICE

    def read_header(self, function: Function) -> Header:
        """Enable the function and read its window's header.

        Raises as ``read`` does; Unavailable also where the header is torn, InvalidArgument naming
        the field that is wrong.
        """
        return self.read(function, Window.read_header)

    def read(self, function: Function, look: Callable[[Window], T]) -> T:
        """Enable the function, and look at its window.

        Maps afresh each time: a mapping outlives its device and would show the next one at that
        address. Raises Unavailable where the function has gone, HostFault naming what stops the
        map.
        """
        folder = self._devices / function.address
        self._enable(folder)
        window = Window.from_resource(folder / "resource2")
        try:
            found = look(window)
        finally:
            window.close()
        if not self._same(folder, function):
            raise Unavailable(f"PCI function {function.address} was replaced by another device")
        return found

    def open_window(self, function: Function) -> tuple[int, int, int]:
        """(BAR2, BAR0, bytes of BAR2) of an enabled function; the descriptors are the caller's.

        Raises Unavailable where the function has gone, HostFault where it cannot be opened.
        """
        folder = self._devices / function.address
        opened: list[int] = []
        try:
            for name in ("resource2", "resource0"):
                opened.append(os.open(folder / name, os.O_RDWR | os.O_CLOEXEC))
            size = os.fstat(opened[0]).st_size
            if not self._same(folder, function):
                raise Unavailable(f"PCI function {function.address} was replaced")
        except (OSError, Unavailable) as error:
            for fd in opened:
                os.close(fd)
            if isinstance(error, Unavailable) or error.errno == errno.ENOENT:
                raise Unavailable(f"PCI function {function.address} has gone") from None
            raise HostFault(
                f"cannot open the window of PCI function {function.address}: {error.strerror}",
                hint="run vaccel-agent as root",
            ) from error
        return opened[0], opened[1], size

    def _enable(self, folder: Path) -> None:
        try:
            # The kernel counts enables: one is enough.
            if _read(folder / "enable") == "0":
                (folder / "enable").write_text("1")
        except FileNotFoundError:
            raise Unavailable(f"PCI function {folder.name} has gone") from None
        except OSError as error:
            raise HostFault(
                f"cannot enable PCI function {folder.name}: {error.strerror}",
                hint="run vaccel-agent as root",
            ) from error

    def _same(self, folder: Path, function: Function) -> bool:
        try:
            return folder.stat().st_ino == function.incarnation
        except OSError:
            return False


def _read(path: Path) -> str:
    return path.read_text(encoding="ascii").strip()
