"""What the agent keeps of a VF's queue pairs from one connection to the next."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

# BAR2, BAR0 and the bytes of BAR2; the descriptors are the caller's.
OpenWindow = Callable[[], tuple[int, int, int]]


class Rings:
    """What outlives a connection: how to open the window, and whose queue pairs are not ours."""

    def __init__(self, open_window: OpenWindow) -> None:
        self.open_window: Final = open_window
        self.taken: set[str] = set()
        # The function is about to go, and another may come to its address: nothing is mapped again.
        self.left = False
        self.users: set[Callable[[], None]] = set()

    def leave(self) -> None:
        """Let go of every mapping, for good."""
        self.left = True
        for let_go in list(self.users):
            let_go()
