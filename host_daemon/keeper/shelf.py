"""What the keeper keeps: descriptors by the name of their VF."""

from __future__ import annotations

import os
from collections.abc import Sequence

from host_daemon.keeper.protocol import DESCRIPTORS, NAMES, Op, Reply, Request, Status


class Shelf:
    """Owns the descriptors that it holds."""

    def __init__(self, most: int = NAMES) -> None:
        self._most = most
        self._held: dict[str, tuple[int, ...]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def answer(self, request: Request, given: Sequence[int]) -> tuple[Reply, tuple[int, ...]]:
        """The reply to a request, and the descriptors to send with it, which stay the shelf's.

        ``given`` came with the request and is the shelf's from here on: kept or closed.
        """
        if request.op is Op.PUT:
            return self._put(request.name, tuple(given)), ()
        _close(given)
        if request.op is Op.LIST:
            return Reply(Status.DONE, tuple(sorted(self._held))), ()
        held = self._held.get(request.name)
        if held is None:
            return Reply(Status.UNKNOWN), ()
        if request.op is Op.GET:
            return Reply(Status.DONE), held
        _close(self._held.pop(request.name))
        return Reply(Status.DONE), ()

    def _put(self, name: str, given: tuple[int, ...]) -> Reply:
        if len(given) != DESCRIPTORS:
            _close(given)
            return Reply(Status.MALFORMED)
        if name not in self._held and len(self._held) >= self._most:
            _close(given)
            return Reply(Status.FULL)
        _close(self._held.pop(name, ()))
        self._held[name] = given
        return Reply(Status.DONE)

    def clear(self) -> None:
        """Close all."""
        for held in self._held.values():
            _close(held)
        self._held.clear()


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
