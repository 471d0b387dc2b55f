"""Doorbells: how an app wakes the worker. They carry nothing; the rings say what is to be done.

In a guest it is a register of the PCI function (BAR0), whose write QEMU turns into the worker's
eventfd; a local process has that eventfd itself.
"""

from __future__ import annotations

import mmap
import os
from typing import Final, Protocol

from vaccel.aperture import layout
from vaccel.errors import HostFault

_ONE: Final = (1).to_bytes(8, "little")
_REGISTER: Final = layout.DOORBELL_OFFSET // 4


class Doorbell(Protocol):
    """Wakes the worker of a VF."""

    def ring(self) -> None:
        """Ring once. Never blocks."""

    def revoke(self) -> None:
        """The window was taken back: reach nothing that may soon be another's."""

    def close(self) -> None:
        """Let go of it; closing twice is no error."""


class EventDoorbell:
    """The worker's eventfd, owned from here on."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def ring(self) -> None:
        """See ``Doorbell``. A full counter means that it rings already."""
        try:
            os.write(self._fd, _ONE)
        except BlockingIOError:
            return
        except OSError:
            if self._fd >= 0:  # else another thread has closed it meanwhile
                raise

    def revoke(self) -> None:
        """See ``Doorbell``: nobody else can come to an eventfd."""

    def close(self) -> None:
        """See ``Doorbell``."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class RegisterDoorbell:
    """The doorbell register of a PCI function, from a descriptor of its BAR0."""

    def __init__(self, fd: int) -> None:
        try:
            self._memory = mmap.mmap(fd, layout.DOORBELL_BYTES)
        except OSError as fault:
            raise HostFault(f"cannot map the doorbell: {fault.strerror}") from fault
        finally:
            os.close(fd)
        self._words = memoryview(self._memory).cast("I")

    def ring(self) -> None:
        """See ``Doorbell``."""
        try:
            self._words[_REGISTER] = layout.DOORBELL_VALUE
        except ValueError:  # another thread was told meanwhile that it is taken back
            return

    def revoke(self) -> None:
        """See ``Doorbell``: another function may come to its address."""
        self.close()

    def close(self) -> None:
        """See ``Doorbell``."""
        self._words.release()
        self._memory.close()
