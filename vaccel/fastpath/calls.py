"""Calls of programs straight from the caller's thread: one descriptor, no event loop.

The tensors of a call lie in the slab, which costs the caller one copy of each. What has no room
there is left to the general way, by buffers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vaccel import binding, bounds, loop
from vaccel.aperture.descriptors import TOO_LARGE, Op
from vaccel.commands import Completion, Result
from vaccel.errors import Detached, Exhausted, Unavailable, Unsupported
from vaccel.fastpath import pages
from vaccel.fastpath.piece import Piece
from vaccel.fastpath.queue import AppQueue
from vaccel.fastpath.recycled import Recycled
from vaccel.fastpath.span import Spans
from vaccel.model import Array, Cost, Items, Tensor, Value
from vaccel.rpc import ring_calls, ring_launch
from vaccel.rpc.ring_launch import Staged
from vaccel.session import Session


class Calls:
    """Calls over one queue pair, all in one stream, whose fences the worker numbers. Any thread may
    make them.
    """

    def __init__(self, session: Session, queue: AppQueue) -> None:
        self._session, self._queue = session, queue
        self._stream = session.new_stream_number()
        # What the results of a program took the last time, in bytes.
        self._rooms: dict[int, int] = {}
        self._spans = Spans()
        self._results = Recycled()

    @property
    def queue(self) -> AppQueue:
        """The queue pair that they travel over."""
        return self._queue

    def call(
        self,
        program: int,
        values: Mapping[str, Value],
        timeout: float,
        results: Sequence[Result] = (),
    ) -> tuple[dict[str, Any], Cost] | None:
        """Run a program. None where the slab has no room for it, or the queue has ended.
        ``results`` as in ``Session.run``.

        Raises the launch's error, TimedOut, or DeviceLost where a reset ended it.
        """
        large = {name: value for name, value in values.items() if _is_large(value)}
        small = {name: value for name, value in values.items() if name not in large}
        sizes = [pages.rounded(_nbytes(value)) for value in large.values()]
        if sum(sizes) > bounds.CALL_BYTES:
            return None
        room = self._rooms.get(program, bounds.CALL_ROOM_BYTES)
        try:
            return self._call(program, small, large, room, timeout, results)
        except (Exhausted, Detached, Unavailable) as fault:
            if isinstance(fault, _NoRoom):
                return None
            # It may have run: another time what is in place would be taken for new.
            if self._queue.dead is None or _places(results):
                raise
            return None

    def _call(
        self,
        program: int,
        small: Mapping[str, Value],
        large: Mapping[str, Value],
        room: int,
        timeout: float,
        results: Sequence[Result],
    ) -> tuple[dict[str, Any], Cost]:
        message = bounds.CALL_MESSAGE_BYTES
        places, end = [], 0
        for size in (*(_nbytes(value) for value in large.values()), room):
            places.append(pages.begin(end, size))
            end = places[-1] + size
        at = pages.rounded(end)
        with _piece(self._queue, at + 2 * message) as piece:
            staged: dict[str, Staged] = {}
            for place, (name, value) in zip(places[:-1], large.items(), strict=True):
                assert isinstance(value, Tensor)
                assert value.data is not None
                piece.put(place, _flat(value.data))
                staged[name] = Staged(value.dtype, value.shape, piece.offset + place)
            where = (piece.offset + places[-1], room)
            request = ring_launch.to_call(self._stream, program, small, staged, where, results)
            if len(request) > message:
                raise _NoRoom(f"a call's message of {len(request)} bytes")
            piece.put(at, request)
            reply = piece.offset + at + message
            operands = (piece.offset + at, len(request), reply, message)
            kind = (program, sum(tensor.nbytes for tensor in staged.values()))
            done = piece.ask(Op.CALL, operands, timeout, self._spans.quiet(kind))
            data = piece.get(at + message, min(done.value, message))
            if done.error is not None:
                raise ring_calls.decode_error(data) if data else done.error
            if done.value == TOO_LARGE:
                raise _NoRoom(f"the results of a call have no room in {message} bytes")
            told = ring_launch.reply_of(data)
            self._spans.note(kind, told.served_ns)
            arrays: dict[str, Any] = {n: self._taken(tensor) for n, tensor in told.staged.items()}
        return self._gathered(program, told.completion, arrays, _places(results))

    def _gathered(
        self, program: int, completion: Completion, arrays: dict[str, Any], placed: set[str]
    ) -> tuple[dict[str, Any], Cost]:
        if completion.error is not None:
            raise completion.error
        took = sum(pages.rounded(array.nbytes) for array in arrays.values())
        for name, value in completion.results.items():
            if name in placed:
                arrays[name] = value
                continue
            if isinstance(value, Tensor) and value.place is not None:
                took += pages.rounded(value.nbytes)
            arrays[name] = self._fetched(value)
        if not all(isinstance(arrays[name], Tensor) for name in placed):
            raise Unsupported(
                "the worker is of a version that places no outputs of calls",
                hint='update the host, or use path="grpc"',
            )
        if took > self._rooms.get(program, bounds.CALL_ROOM_BYTES):
            self._rooms[program] = took
        return arrays, completion.cost or Cost()

    def _fetched(self, value: Value) -> Any:
        """A result that is not in the slab; what lies in buffers takes more trips."""
        if isinstance(value, Items) or (isinstance(value, Tensor) and value.place is not None):
            return loop.run(self._session.fetch(value))
        return binding.object_of(value)

    def _taken(self, tensor: Staged) -> Array:
        """A result out of the slab, whose place is about to go."""
        flat = np.frombuffer(self._queue.window.bytes, np.uint8, tensor.nbytes, tensor.offset)
        taken = self._results.take(tensor.nbytes)
        np.copyto(taken, flat)
        return taken.view(tensor.dtype.numpy).reshape(tensor.shape)


class _NoRoom(Exhausted):
    """The slab, or the ring, has no room now: there is another way."""


def _places(results: Sequence[Result]) -> set[str]:
    """Names of the outputs that are put into places."""
    return {each.name for each in results if each.place is not None}


def _piece(queue: AppQueue, size: int) -> Piece:
    try:
        return Piece(queue, size, pages.alignment(size))
    except Exhausted as full:
        raise _NoRoom(full.message, hint=full.hint) from None


def _is_large(value: Value) -> bool:
    return (
        isinstance(value, Tensor)
        and value.data is not None
        and len(value.data) > bounds.CALL_INLINE_BYTES
    )


def _nbytes(value: Value) -> int:
    return value.nbytes if isinstance(value, Tensor) else 0


def _flat(data: bytes | memoryview) -> bytes | memoryview:
    return data.cast("B") if isinstance(data, memoryview) and data.format != "B" else data
