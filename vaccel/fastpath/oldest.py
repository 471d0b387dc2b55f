"""What is remembered of the last calls, which any thread may add to while others do."""

from __future__ import annotations

from contextlib import suppress
from typing import Any


def make_room(known: dict[Any, Any], most: int) -> None:
    """Forget what was added first, until another one makes no more than ``most``."""
    while len(known) >= most:
        # Another thread may change it between any two steps: then look again.
        with suppress(KeyError, RuntimeError, StopIteration):
            del known[next(iter(known))]
