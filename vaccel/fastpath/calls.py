"""Calls of programs straight from the caller's thread: one descriptor, no event loop.

The tensors of a call lie in the slab, which costs the caller one copy of each argument, and none of
a large result: that is lent (see ``results``). What has no room there is left to the general way,
by buffers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from vaccel import binding, bounds, loop
from vaccel.aperture.descriptors import TOO_LARGE, Op
from vaccel.commands import Result
from vaccel.errors import Detached, Exhausted, Unavailable, Unsupported
from vaccel.fastpath import pages
from vaccel.fastpath.oldest import make_room
from vaccel.fastpath.piece import Piece
from vaccel.fastpath.prepared import Prepared, split
from vaccel.fastpath.queue import AppQueue
from vaccel.fastpath.results import Results, Room
from vaccel.fastpath.span import Spans
from vaccel.model import Array, Costing, Items, Tensor, Value
from vaccel.plain import Key
from vaccel.rpc import ring_calls, ring_launch
from vaccel.rpc.ring_launch import Reply
from vaccel.session import Session

Done = tuple[dict[str, Any], Costing]
# Kinds of calls that are prepared; the oldest goes first.
_KINDS: Final = 256


class Calls:
    """Calls over one queue pair, all in one stream, whose fences the worker numbers. Any thread may
    make them.
    """

    def __init__(self, session: Session, queue: AppQueue) -> None:
        self._session, self._queue = session, queue
        self._stream = session.new_stream_number()
        self._spans = Spans()
        self._results = Results(queue)
        self._prepared: dict[tuple[int, Key], Prepared] = {}

    @property
    def queue(self) -> AppQueue:
        """The queue pair that they travel over."""
        return self._queue

    def again(self, program: int, key: Key, arrays: Sequence[Array], timeout: float) -> Done | None:
        """Run a program with arrays of a ``key`` that it was run with before. None where it was
        not; and as ``call``.
        """
        prepared = self._prepared.get((program, key))
        if prepared is None:
            return None
        return self._patiently(prepared, [each.data.cast("B") for each in arrays], timeout)

    def call(
        self,
        program: int,
        values: Mapping[str, Value],
        timeout: float,
        results: Sequence[Result] = (),
        key: Key | None = None,
    ) -> Done | None:
        """Run a program. None where the slab has no room for it, or the queue has ended.

        ``results`` as in ``Session.run``. ``key`` tells calls with the same plain arrays apart,
        where these are all that is given.
        Raises the launch's error, TimedOut, or DeviceLost where a reset ended it.
        """
        tensors, others = split(values)
        prepared = Prepared(self._stream, program, tensors, others, results)
        if sum(prepared.sizes) > bounds.CALL_BYTES:
            return None
        done = self._patiently(prepared, [_flat(each) for each in tensors.values()], timeout)
        if done is not None and key is not None and not others:
            make_room(self._prepared, _KINDS)
            self._prepared[program, key] = prepared
        return done

    def _patiently(
        self, prepared: Prepared, data: Sequence[memoryview], timeout: float
    ) -> Done | None:
        try:
            return self._call(prepared, data, timeout)
        except (Exhausted, Detached, Unavailable) as fault:
            if isinstance(fault, _NoRoom):
                return None
            # It may have run: another time what is in place would be taken for new.
            if self._queue.dead is None or prepared.placed:
                raise
            return None

    def _call(self, prepared: Prepared, data: Sequence[memoryview], timeout: float) -> Done:
        most = bounds.CALL_MESSAGE_BYTES
        program = prepared.kind[0]
        room_bytes = self._results.room(program)
        with self._piece(prepared, room_bytes) as piece:
            for place, each in zip(prepared.places, data, strict=True):
                piece.put(place, each)
            room = _room(piece, prepared, room_bytes)
            request = prepared.request(piece.offset, room.offset, room.size)
            if len(request) > most:
                raise _NoRoom(f"a call's message of {len(request)} bytes")
            piece.put(prepared.message, request)
            at = piece.offset
            operands = (at + prepared.message, len(request), at + prepared.reply, most)
            done = piece.ask(Op.CALL, operands, timeout, self._spans.quiet(prepared.kind))
            reply = piece.get(prepared.reply, min(done.value, most))
            if done.error is not None:
                raise ring_calls.decode_error(reply) if reply else done.error
            if done.value == TOO_LARGE:
                raise _NoRoom(f"the results of a call have no room in {most} bytes")
            told = ring_launch.reply_of(reply)
            self._spans.note(prepared.kind, told.served_ns)
            arrays = self._results.taken(piece, room, told.staged)
        beside = self._beside(told, arrays, prepared.placed) if told.says_more else 0
        if not all(isinstance(arrays.get(name), Tensor) for name in prepared.placed):
            raise Unsupported(
                "the worker is of a version that places no outputs of calls",
                hint='update the host, or use path="grpc"',
            )
        self._results.note(program, told.staged, beside)
        return arrays, told.cost

    def _piece(self, prepared: Prepared, room: int) -> Piece:
        try:
            within = 0 if room >= bounds.RESULTS_LENT_LEAST else room
            return Piece(self._queue, prepared.total + within, prepared.alignment)
        except Exhausted as full:
            raise _NoRoom(full.message, hint=full.hint) from None

    def _beside(self, told: Reply, arrays: dict[str, Any], placed: Collection[str]) -> int:
        """Results that are not in the slab, into ``arrays``; the room that they would have taken.

        What lies in buffers takes more trips, save for what was ``placed`` there. Raises the
        launch's error.
        """
        done, took = told.completion, 0
        if done.error is not None:
            raise done.error
        for name, value in done.results.items():
            if name in placed:
                arrays[name] = value
                continue
            if isinstance(value, Items) or (isinstance(value, Tensor) and value.place is not None):
                arrays[name] = loop.run(self._session.fetch(value))
            else:
                arrays[name] = binding.object_of(value)
            if isinstance(value, Tensor):
                took += pages.rounded(value.nbytes)
        return took


class _NoRoom(Exhausted):
    """The slab, or the ring, has no room now: there is another way."""


def _room(piece: Piece, prepared: Prepared, size: int) -> Room:
    """Room for results: behind the call's own, or where they are large a piece for themselves."""
    if size < bounds.RESULTS_LENT_LEAST:
        return Room(piece.offset + prepared.total, size, None)
    skipped = pages.begin(0, size)
    try:
        own = piece.add(skipped + size, pages.alignment(size))
    except Exhausted as full:
        raise _NoRoom(full.message, hint=full.hint) from None
    return Room(own + skipped, size, own)


def _flat(tensor: Tensor) -> memoryview:
    data = memoryview(tensor.data or b"")
    return data if data.format == "B" else data.cast("B")
