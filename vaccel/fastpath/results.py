"""Large results of calls: lent where they lie in the slab, as staging arrays are, or copied.

A guest under an emulator copies 18 MB in 8 ms, a quarter of what the model took that gave them. A
result that is lent costs nothing: it is an array over its piece of the slab, which goes back with
the array's last view. When the window is taken back, the array becomes memory of the process's own,
with the same contents.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vaccel import bounds
from vaccel.fastpath import pages
from vaccel.fastpath.piece import Piece
from vaccel.fastpath.queue import AppQueue
from vaccel.fastpath.recycled import Recycled
from vaccel.model import Array
from vaccel.rpc.ring_launch import Staged


@dataclass(frozen=True, slots=True)
class Room:
    """Where the results of one call go: ``size`` bytes from ``offset`` of the window. ``own`` is
    the piece of the slab that they have for themselves, where they are large.
    """

    offset: int
    size: int
    own: int | None


class Results:
    """Those of one queue pair's calls. Any thread may use it."""

    def __init__(self, queue: AppQueue) -> None:
        self._queue = queue
        # The most that the results of a program took, in bytes.
        self._rooms: dict[int, int] = {}
        self._copies = Recycled()

    def room(self, program: int) -> int:
        """Bytes that the results of a call are expected to take."""
        return self._rooms.get(program, bounds.CALL_ROOM_BYTES)

    def taken(self, piece: Piece, room: Room, staged: Mapping[str, Staged]) -> dict[str, Any]:
        """Arrays of what the worker put into the room, which is done with it."""
        if room.own is None:
            return {name: self._copied(each) for name, each in staged.items()}
        used = max((each.offset + each.nbytes for each in staged.values()), default=0) - room.offset
        # A small part of a large piece is not worth what it keeps from others.
        worth = used >= max(bounds.RESULTS_LENT_LEAST, room.size // 2)
        if not worth or not piece.lend(room.own, room.size):
            return {name: self._copied(each) for name, each in staged.items()}
        # Not by np.ndarray, which refers to the map and holds no buffer of it.
        flat = np.frombuffer(self._queue.window.bytes, np.uint8, used, room.offset)
        weakref.finalize(flat, self._queue.free, room.own).atexit = False
        return {
            name: flat[each.offset - room.offset :][: each.nbytes]
            .view(each.dtype.numpy)
            .reshape(each.shape)
            for name, each in staged.items()
        }

    def _copied(self, one: Staged) -> Array:
        """A result of the process's own."""
        shown: Array = np.ndarray(one.shape, one.dtype.numpy, self._queue.window.bytes, one.offset)
        if one.nbytes < bounds.RESULTS_KEPT_LEAST:
            return shown.copy()
        made: Array = self._copies.take(one.nbytes).view(one.dtype.numpy).reshape(one.shape)
        np.copyto(made, shown)
        return made

    def note(self, program: int, staged: Mapping[str, Staged], beside: int) -> None:
        """What the results of a call took, and would have taken where they found no room."""
        took = beside + sum(pages.rounded(each.nbytes) for each in staged.values())
        if took > self._rooms.get(program, -1):
            self._rooms[program] = took
