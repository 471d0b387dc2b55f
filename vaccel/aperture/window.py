"""A window: the memory that a VF and its guest share. The only module that maps memory.

Life
    host: ``create_window`` → ``Window.from_fd`` → ``write_header`` → ``erase_token`` → ``close``.
    guest: ``Window.from_resource`` → ``read_header`` → ``close``.

Shared words are read and written through ``words``, an 8-byte aligned ``memoryview.cast("Q")``: one
aligned load or store each, which on x86-64 is never torn and never reordered with another store.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import mmap
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from vaccel.aperture import layout
from vaccel.aperture.header import Header, decode, without_token
from vaccel.errors import HostFault, InvalidArgument, Unavailable, WrongState

_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
# mmap(2) and mremap(2) of Linux on x86-64: what Python's mmap has no names for.
_MAP_NORESERVE: Final = 0x4000
_MAP_FAILED: Final = (1 << 64) - 1
_MREMAP_TO: Final = 1 | 2  # MREMAP_MAYMOVE, MREMAP_FIXED
_PROT_NONE: Final = 0
_WORD_MASK: Final = (1 << 64) - 1
# A writer needs microseconds; a reader that finds it at work this often gives up for now.
_READ_ATTEMPTS: Final = 64


def create_window(size: int, name: str = "vaccel-window") -> int:
    """A memfd of zeros that nobody can resize: the caller owns the descriptor (close-on-exec).

    Raises InvalidArgument where ``size`` (bytes) is not a power of two within bounds, HostFault
    where the host has no descriptor or memory left.
    """
    return create_sealed(layout.check_size(size), name)


def create_sealed(size: int, name: str) -> int:
    """As ``create_window``, of any size. Raises HostFault."""
    try:
        fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError as error:
        raise HostFault(f"cannot create {name} of {size} bytes: {error.strerror}") from error
    try:
        os.ftruncate(fd, size)
        # Memory that could shrink would kill whoever has it mapped (SIGBUS).
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except OSError as error:
        os.close(fd)
        raise HostFault(f"cannot seal {name} of {size} bytes: {error.strerror}") from error
    return fd


def is_sealed(fd: int, size: int) -> bool:
    """Whether a descriptor is a memfd of that size that nobody can resize."""
    return os.fstat(fd).st_size == size and _sealed(fd)


class Window:
    """A mapped window. ``bytes`` and ``words`` are views of it: hold none beyond ``close``."""

    def __init__(self, memory: mmap.mmap, size: int, name: str) -> None:
        self._memory = memory
        self._name = name
        self.size = size
        self.bytes = memoryview(memory)
        self.words = self.bytes.cast("Q")
        self._page: bytes | None = None
        self._identity: tuple[int, int] | None = None
        self._closed = self._private = False
        _libc()  # loaded now: a forked child may need it, and has to do with little

    @classmethod
    def from_fd(cls, fd: int, size: int) -> Window:
        """Map a sealed memfd. The descriptor stays the caller's; the mapping does not need it.

        Raises InvalidArgument where the size is wrong or the memfd could be resized.
        """
        layout.check_size(size)
        actual = os.fstat(fd).st_size
        if actual != size:
            raise InvalidArgument(f"window descriptor {fd} has {actual} bytes, not {size}")
        if not _sealed(fd):
            raise InvalidArgument(
                f"window descriptor {fd} is not sealed against resizing",
                hint="make windows with vaccel.aperture.window.create_window",
            )
        made = cls(mmap.mmap(fd, size), size, f"window descriptor {fd}")
        made._identity = _identity(fd)
        return made

    @classmethod
    def from_lent(cls, fd: int, size: int) -> Window:
        """Map a descriptor that the agent lent, of a PCI function's BAR2. It stays the caller's.

        Raises HostFault where the kernel does not allow the map.
        """
        name = f"lent window descriptor {fd}"
        try:
            return cls(mmap.mmap(fd, layout.check_size(size)), size, name)
        except OSError as error:
            raise _resource_error(Path(name), error) from error

    def shows(self, fd: int) -> bool:
        """Whether a descriptor is of the very memory that ``from_fd`` mapped."""
        return self._identity == _identity(fd)

    def revoke(self, keep: Iterable[tuple[int, int]] = ()) -> None:
        """Put private memory where the window was: views stay valid memory, and reach no device.

        Unplugging a function does not end its mappings, and another may come to its address.
        ``keep`` has offset and size of the pieces that are copied; the rest is zeros. A window that
        was revoked stays as it is. Raises HostFault.
        """
        if self._private:
            return
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        self._replace(-1, flags, keep)
        self._private = True

    def disown(self, keep: Iterable[tuple[int, int]]) -> None:
        """As ``revoke``, in a forked child, whose parent keeps the window. Takes no lock.

        Where there is no memory for that, nothing of it can be touched any more.
        """
        if self._closed:
            return
        with contextlib.suppress(ValueError):  # a thread that has stayed behind was closing it
            try:
                self.revoke(keep=keep)
            except HostFault:
                _libc().mprotect(self._address, self.size, _PROT_NONE)

    def restore(self, fd: int, keep: Iterable[tuple[int, int]]) -> None:
        """After ``revoke``: put a window that was lent again where it was, with what is kept here.

        The descriptor stays the caller's. Raises HostFault.
        """
        self._private = False  # from before it is, for a child that is forked meanwhile
        try:
            self._replace(fd, mmap.MAP_SHARED, keep)
        except HostFault:
            self._private = True
            raise

    @property
    def _address(self) -> int:
        return ctypes.addressof(ctypes.c_char.from_buffer(self._memory))

    def _replace(self, fd: int, flags: int, keep: Iterable[tuple[int, int]]) -> None:
        libc, address, size = _libc(), self._address, self.size
        made = libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, fd, 0)
        if made == _MAP_FAILED:
            raise HostFault(f"{self._name}: cannot replace the map ({_reason()})")
        for at, length in keep:
            ctypes.memmove(made + at, address + at, length)
        # In one step: whoever looks meanwhile finds the old memory or the new.
        if libc.mremap(made, size, size, _MREMAP_TO, address) != address:
            reason = _reason()
            libc.munmap(made, size)
            raise HostFault(f"{self._name}: cannot replace the map ({reason})")

    @classmethod
    def from_resource(cls, path: Path) -> Window:
        """Map a PCI function's BAR from sysfs (``…/resource2``); the function must be enabled.

        Raises HostFault naming an unassigned BAR or a locked-down kernel, Unavailable where the
        function has gone.
        """
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise _resource_error(path, error) from error
        try:
            size = os.fstat(fd).st_size
            if size == 0:
                raise HostFault(
                    f"{path} has length 0: the guest's firmware or kernel gave this BAR no address",
                    hint="start the VM with machine type pc and a smaller window",
                )
            return cls(mmap.mmap(fd, layout.check_size(size)), size, str(path))
        except OSError as error:
            raise _resource_error(path, error) from error
        finally:
            os.close(fd)

    def write_header(self, page: bytes) -> None:
        """Publish what ``header.encode`` made. A reader sees the old header, the new or none."""
        if len(page) != layout.HEADER_BYTES:
            raise InvalidArgument(f"header is {len(page)} bytes, not {layout.HEADER_BYTES}")
        self._page = bytes(page)
        self._publish(self._page)

    def erase_token(self) -> None:
        """Overwrite the token. Published from this side's own copy, wherever there is one.

        A process that took the window over has no copy: it passes the shared bytes on unread, which
        may be as wrong as the guest made them, and matter to the guest alone.
        """
        page = self._page
        if page is None:
            page = bytes(self.bytes[: layout.HEADER_BYTES])
        self.write_header(without_token(page))

    def read_header(self) -> Header:
        """Copy the header once, then decode the copy. Raises as ``header.decode`` does."""
        return decode(self._copy_header())

    def close(self) -> None:
        """Unmap. Closing twice is no error. Raises WrongState while somebody holds a view."""
        if self._closed:
            return
        try:
            self.words.release()
            self.bytes.release()
            self._memory.close()
        except BufferError as error:
            raise WrongState(
                f"{self._name} is still viewed", hint="release slices of its memory first"
            ) from error
        self._closed = True

    def _publish(self, page: bytes) -> None:
        # Any number serves as a start, so a hostile one does no harm.
        odd = self.words[layout.SEQUENCE_FIELD.word] | 1
        self.words[layout.SEQUENCE_FIELD.word] = odd
        before, after = layout.SEQUENCE_FIELD.offset, layout.SEQUENCE_FIELD.offset + layout.WORD
        self.bytes[:before] = page[:before]
        self.bytes[after : layout.HEADER_BYTES] = page[after:]
        self.words[layout.SEQUENCE_FIELD.word] = (odd + 1) & _WORD_MASK

    def _copy_header(self) -> bytes:
        sequence = layout.SEQUENCE_FIELD.word
        for _ in range(_READ_ATTEMPTS):
            first = self.words[sequence]
            page = bytes(self.bytes[: layout.HEADER_BYTES])
            if first == self.words[sequence] and not first & 1:
                return page
        raise Unavailable(
            f"{self._name}: the host is writing the header (sequence {first})",
            hint="read it again in a moment",
        )


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino


@functools.cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    pointer, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    libc.mmap.restype = libc.mremap.restype = pointer
    libc.mmap.argtypes = [pointer, size, number, number, number, ctypes.c_long]
    libc.mremap.argtypes = [pointer, size, size, number, pointer]
    libc.munmap.argtypes = [pointer, size]
    libc.mprotect.argtypes = [pointer, size, number]
    return libc


def _reason() -> str:
    return os.strerror(ctypes.get_errno())


def _sealed(fd: int) -> bool:
    try:
        return fcntl.fcntl(fd, fcntl.F_GET_SEALS) & _SEALS == _SEALS
    except OSError:
        # Not a memfd: whoever owns that file can truncate it.
        return False


def _resource_error(path: Path, error: OSError) -> HostFault | Unavailable:
    if error.errno == errno.EPERM:
        return HostFault(
            f"mapping {path} is not permitted: the kernel is locked down (Secure Boot)",
            hint="turn Secure Boot off in this guest: without the map there is no VF here",
        )
    if error.errno == errno.EACCES:
        return HostFault(f"{path} is not accessible to this user", hint="run vaccel-agent as root")
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return Unavailable(f"{path} is gone: the PCI function was unplugged")
    return HostFault(f"cannot map {path}: {error.strerror}")
