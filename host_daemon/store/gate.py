"""One transaction at a time, whichever thread asks, and none inside another."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from vaccel import bounds
from vaccel.errors import HostFault, Internal


class Gate:
    """Guards a store named ``what``."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._lock = threading.Lock()
        self._holder = 0
        self._closed = False

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Be the only one inside.

        Raises Internal where this thread is inside already (an await within a transaction lets
        another task in) or where the store is closed, HostFault where another thread does not come
        out.
        """
        if self._holder == threading.get_ident():
            raise Internal(f"a transaction on {self._what} was begun inside another")
        if not self._lock.acquire(timeout=bounds.STORE_BUSY_SECONDS):
            raise HostFault(
                f"{self._what} was busy for {bounds.STORE_BUSY_SECONDS:g} s",
                hint="look at the health and load of its disk",
            )
        try:
            if self._closed:
                raise Internal(f"{self._what} is closed")
            self._holder = threading.get_ident()
            yield
        finally:
            self._holder = 0
            self._lock.release()

    def close(self) -> bool:
        """Let nobody in any more, once whoever is inside has left. False where it was closed."""
        with self._lock:
            was_open, self._closed = not self._closed, True
        return was_open
