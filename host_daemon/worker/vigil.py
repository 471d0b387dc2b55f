"""Looking at the rings for a moment after they had something, so that the next needs no doorbell.

An app that waits for one command before it submits the next is back within some microseconds. To
ring costs it as much again, most of all in an emulated guest, and so does waking the worker. While
a vigil lasts the apps are told by a word of their queue pair (``polls``) that they need not ring.
It lasts as long as something comes within ``bounds.VIGIL_SECONDS``; where nothing came, the next
ones are left out, twice as many each time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from host_daemon.worker.queue import Queue
from vaccel import bounds

_MOST_LEFT_OUT: Final = 256


class Vigil:
    """Belongs to the event loop, which does nothing else meanwhile. ``calm``: nothing else is to
    be done; ``serve``: take what is in the rings.
    """

    def __init__(self, calm: Callable[[], bool], serve: Callable[[], bool]) -> None:
        self._calm, self._serve = calm, serve
        self._barrier = threading.Lock()
        self._left_out = self._step = 0

    def keep(self, queues: Sequence[Queue]) -> None:
        """After something was taken from these."""
        if self._left_out:
            self._left_out -= 1
            return
        if len(queues) > bounds.VIGIL_QUEUES or not self._calm():
            return
        for queue in queues:
            queue.polls(True)
        try:
            found = self._look(queues)
        finally:
            for queue in queues:
                queue.polls(False)
            # A processor may let the looks that follow pass the stores before, save at a locked
            # instruction: then an app would not ring, and nobody would look.
            with self._barrier:
                pass
        self._serve()
        self._step = 0 if found else min(2 * self._step + 1, _MOST_LEFT_OUT)
        self._left_out = self._step

    def _look(self, queues: Sequence[Queue]) -> bool:
        """Until nothing has come for a while, or others' turn has come; whether anything came."""
        now = time.monotonic_ns
        found, wait = False, int(bounds.VIGIL_SECONDS * 1e9)
        begun = now()
        last, end = begun + wait, begun + int(bounds.VIGIL_MOST_SECONDS * 1e9)
        while True:
            for queue in queues:
                # One that takes none of its completions has more all the time, and is not served.
                if queue.has_more and self._serve():
                    found = True
                    last = now() + wait
                    if not self._calm():
                        return found
            moment = now()
            if moment > last or moment > end:
                return found
