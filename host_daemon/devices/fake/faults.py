"""The faults that the fake card makes on request."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import Final

from vaccel.errors import DeviceLost, Unsupported

FAULTS: Final = ("refuse", "lose", "hang", "crash", "corrupt")


@dataclass(frozen=True, slots=True)
class Faults:
    """Per fault the operations that it strikes."""

    refuse: frozenset[str] = frozenset()
    lose: frozenset[str] = frozenset()
    hang: frozenset[str] = frozenset()
    crash: frozenset[str] = frozenset()
    corrupt: frozenset[str] = frozenset()
    hang_seconds: float = 0.0

    def on_cost(self, op: str) -> None:
        """Raises Unsupported where it is asked to."""
        if _struck(self.refuse, op):
            raise Unsupported(f"{op}: the fake card refuses it", hint="faults.refuse of its file")

    def on_run(self, op: str) -> bool:
        """Fails as asked; returns whether the result is to be corrupted."""
        if _struck(self.lose, op):
            raise DeviceLost(f"{op}: the fake card is lost", hint="faults.lose of its file")
        if _struck(self.hang, op):
            time.sleep(self.hang_seconds)
        if _struck(self.crash, op):
            os.kill(os.getpid(), signal.SIGKILL)
        return _struck(self.corrupt, op)


def _struck(switch: frozenset[str], op: str) -> bool:
    return op in switch or "*" in switch
