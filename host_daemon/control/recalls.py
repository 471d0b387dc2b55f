"""Recalls: a guest lets go of a VF's window before the device is pulled from under it.

Unplugging does not end what programs have mapped, so the guest's agent is asked first. It answers
by ending its stream, once no program in the guest has the window any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Watcher:
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)


class Recalls:
    """Which agents listen, and what they were asked."""

    def __init__(self) -> None:
        self._watchers: dict[str, set[_Watcher]] = {}

    async def watch(self, vf: str) -> AsyncGenerator[None, None]:
        """Yields once its VF is recalled. Whoever ends it has let go, or has died."""
        watcher = _Watcher()
        self._watchers.setdefault(vf, set()).add(watcher)
        try:
            await watcher.asked.wait()
            yield
            await asyncio.get_running_loop().create_future()
        finally:
            watcher.left.set()
            watchers = self._watchers.get(vf, set())
            watchers.discard(watcher)
            if not watchers:
                self._watchers.pop(vf, None)

    async def recall(self, vf: str, patience: float) -> bool:
        """Ask the agents of a VF, if any listen, and wait for so many seconds; whether all of them
        let go in time.
        """
        watchers = list(self._watchers.get(vf, ()))
        for watcher in watchers:
            watcher.asked.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                for watcher in watchers:
                    await watcher.left.wait()
                return True
        log.warning("the agent of %s did not let go within %g s", vf, patience)
        return False
