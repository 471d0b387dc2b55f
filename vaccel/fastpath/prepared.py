"""What stays the same between two calls of a program with arrays of the same types and shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from vaccel import bounds
from vaccel.commands import Result
from vaccel.fastpath import pages
from vaccel.fastpath.oldest import make_room
from vaccel.model import Tensor, Value
from vaccel.rpc import ring_launch
from vaccel.rpc.ring_launch import Staged

# Requests that are kept: the places in the slab that calls of one kind take turns at.
_REQUESTS: Final = 8
_NONE: Final[Mapping[str, Value]] = {}


class Prepared:
    """A call, for any contents of its arrays. ``places`` are those of the arrays within a piece of
    the slab that has room for the request and its reply as well; ``sizes`` their bytes.
    """

    def __init__(
        self,
        stream: int,
        program: int,
        tensors: Mapping[str, Tensor],
        others: Mapping[str, Value] = _NONE,
        results: Sequence[Result] = (),
    ) -> None:
        """``others`` travel in the request itself. ``results``: see ``Launch``."""
        self._stream, self._program = stream, program
        # Without their bytes, which are of one call.
        self._tensors = {name: Tensor(v.dtype, v.shape) for name, v in tensors.items()}
        self._others, self._results = others, results
        self._requests: dict[tuple[int, int, int], bytes] = {}
        self.sizes: Final[Sequence[int]] = [each.nbytes for each in tensors.values()]
        self.places: Final[list[int]] = []
        end = 0
        for size in self.sizes:
            self.places.append(pages.begin(end, size))
            end = self.places[-1] + size
        self.message: Final = pages.rounded(end)
        self.reply: Final = self.message + bounds.CALL_MESSAGE_BYTES
        self.total: Final = self.reply + bounds.CALL_MESSAGE_BYTES
        self.alignment: Final = pages.alignment(max(self.sizes, default=0))
        # What calls are expected to take equally long by.
        self.kind: Final = (program, sum(self.sizes))
        self.placed: Final = frozenset(each.name for each in results if each.place is not None)

    def request(self, offset: int, room: int, room_bytes: int) -> bytes:
        """The message, for a piece at ``offset`` and results at ``room``, in the window."""
        place = (offset, room, room_bytes)
        known = self._requests.get(place)
        if known is None:
            make_room(self._requests, _REQUESTS)
            known = self._requests[place] = self._written(offset, (room, room_bytes))
        return known

    def _written(self, offset: int, room: tuple[int, int]) -> bytes:
        staged = {
            name: Staged(each.dtype, each.shape, offset + place)
            for place, (name, each) in zip(self.places, self._tensors.items(), strict=True)
        }
        return ring_launch.to_call(
            self._stream, self._program, self._others, staged, room, self._results
        )


def split(values: Mapping[str, Value]) -> tuple[dict[str, Tensor], dict[str, Value]]:
    """What lies in the slab, and what travels in the request."""
    tensors = {
        name: value
        for name, value in values.items()
        if isinstance(value, Tensor) and value.data is not None and value.nbytes
    }
    return tensors, {name: value for name, value in values.items() if name not in tensors}
