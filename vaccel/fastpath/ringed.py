"""Compute whose hot calls go through the queue pair of a context, where it has one.

``submit``, ``run`` and ``wait`` travel as the same messages in the slab, ``write`` and ``read`` as
bytes there; what finds no room goes by gRPC, as do all other calls. A queue that dies (a reset, a
recall) fails what is under way as Unavailable, which is asked again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import Any, Final

from google.protobuf.message import Message

from vaccel import bounds
from vaccel.aperture import lending
from vaccel.aperture.descriptors import TOO_LARGE, Completion, Op
from vaccel.aperture.doorbell import Doorbell, EventDoorbell, RegisterDoorbell
from vaccel.aperture.window import Window
from vaccel.compute import Lease
from vaccel.errors import Detached, DeviceLost, Exhausted, TimedOut, Unavailable, WrongState
from vaccel.fastpath.poller import poller
from vaccel.fastpath.queue import AppQueue
from vaccel.rpc import ring_calls
from vaccel.rpc.methods import METHODS
from vaccel.rpc.proxy import GrpcCompute

# How often to look whether a full ring has room again.
_FULL_SECONDS: Final = 0.001
# Beyond the wait itself, for the worker to say that it timed out.
_MARGIN_SECONDS: Final = 5.0


class RingedCompute(GrpcCompute):
    """See ``vaccel.compute.Compute``. Whoever derives from it says which queue a context has."""

    def queue(self, context: str) -> AppQueue | None:
        """The queue pair of a context, where it has one that works."""
        return None

    async def _call(self, method: str, request: Message, timeout: float) -> Any:
        op = ring_calls.OPS.get(method)
        asked: Any = request
        queue = self.queue(asked.context) if op is not None else None
        if op is None or queue is None:
            return await super()._call(method, request, timeout)
        payload = request.SerializeToString()
        capacity = bounds.RING_REPLY_BYTES
        try:
            place = queue.allocate(capacity + len(payload))
        except Exhausted:
            return await super()._call(method, request, timeout)
        queue.window.bytes[place + capacity : place + capacity + len(payload)] = payload
        operands = (place + capacity, len(payload), place, capacity)
        async with _Piece(queue, place) as piece:
            done = await piece.post(op, operands, timeout + _MARGIN_SECONDS, method)
            if done.value == TOO_LARGE:
                return await self._fetch(method, asked, timeout)
            data = bytes(queue.window.bytes[place : place + min(done.value, capacity)])
        if done.error is not None:
            raise ring_calls.decode_error(data) if data else done.error
        return METHODS[method].reply.FromString(data)

    async def _fetch(self, method: str, asked: Any, timeout: float) -> Any:
        """A reply that found no room stays in the worker until it is acknowledged."""
        request = METHODS["Wait"].request()
        last = asked.first_fence + len(asked.commands) - 1 if method == "Run" else asked.fence
        message: Any = request
        message.context, message.stream, message.fence = asked.context, asked.stream, last
        message.timeout_ns, message.acknowledged = asked.timeout_ns, asked.acknowledged
        return await super()._call("Wait", request, timeout)

    async def write(self, context: str, buffer: int, offset: int, data: bytes) -> None:
        """See ``Compute``."""
        queue = self.queue(context)
        if queue is None or len(data) > bounds.CHUNK_BYTES:
            return await super().write(context, buffer, offset, data)
        try:
            place = queue.allocate(len(data))
        except Exhausted:
            return await super().write(context, buffer, offset, data)
        queue.window.bytes[place : place + len(data)] = data
        async with _Piece(queue, place) as piece:
            operands = (place, buffer, offset, len(data))
            done = await piece.post(Op.WRITE, operands, bounds.DATA_SECONDS, "write")
        if done.error is not None:
            raise done.error

    async def read(self, context: str, buffer: int, offset: int, length: int) -> bytes:
        """See ``Compute``."""
        queue = self.queue(context)
        if queue is None or length > bounds.CHUNK_BYTES:
            return await super().read(context, buffer, offset, length)
        try:
            place = queue.allocate(length)
        except Exhausted:
            return await super().read(context, buffer, offset, length)
        async with _Piece(queue, place) as piece:
            operands = (place, buffer, offset, length)
            done = await piece.post(Op.READ, operands, bounds.DATA_SECONDS, "read")
            data = bytes(queue.window.bytes[place : place + length])
        if done.error is not None:
            raise done.error
        return data


class _Piece:
    """A piece of the slab and the one descriptor that uses it: freed when both sides are done."""

    def __init__(self, queue: AppQueue, place: int) -> None:
        self._queue, self._place = queue, place
        self._posted = self._done = self._left = False

    async def __aenter__(self) -> _Piece:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._left = True
        self._release()

    def _release(self) -> None:
        if self._left and (self._done or not self._posted):
            self._queue.free(self._place)

    async def post(
        self, op: Op, operands: tuple[int, int, int, int], timeout: float, what: str
    ) -> Completion:
        """Post the descriptor and await its completion. Raises TimedOut, or Unavailable."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Completion] = loop.create_future()

        def tell(completion: Completion) -> None:
            self._done = True
            if self._left:
                self._release()
            if not future.done():
                future.set_result(completion)

        def done(completion: Completion) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits
                loop.call_soon_threadsafe(tell, completion)

        async with asyncio.timeout(timeout) as limit:
            try:
                await self._post(op, operands, done)
                poller().watch(self._queue)
                completion = await future
            except asyncio.CancelledError:
                if limit.expired():
                    raise TimedOut(f"{what} took more than {timeout:g} s") from None
                raise
        dead = self._queue.dead
        # Closed since it was answered: what came with the answer cannot be read any more.
        if dead is not None and (completion.error is dead or self._queue.closed):
            raise Unavailable(f"the queue pair has ended: {dead}")
        return completion

    async def _post(self, op: Op, operands: tuple[int, int, int, int], done: Any) -> None:
        while True:
            try:
                self._queue.post(op, operands, done)
            except Exhausted:
                self._queue.reap()
                await asyncio.sleep(_FULL_SECONDS)
                continue
            except (Detached, DeviceLost, WrongState) as gone:
                raise Unavailable(f"the queue pair has ended: {gone}") from None
            self._posted = True
            return


def open_queue(
    kind: str, window_fd: int, doorbell_fd: int, window_bytes: int, lease: Lease
) -> AppQueue:
    """Map a window that was lent. The descriptors are closed: mappings do not need them."""
    try:
        if kind == lending.PCI:
            window = Window.from_lent(window_fd, window_bytes)
        else:
            window = Window.from_fd(window_fd, window_bytes)
    except BaseException:
        os.close(doorbell_fd)
        raise
    finally:
        os.close(window_fd)
    return AppQueue(window, open_doorbell(kind, doorbell_fd), lease)


def open_doorbell(kind: str, fd: int) -> Doorbell:
    """The doorbell of a window that was lent, which has the descriptor from here on."""
    return RegisterDoorbell(fd) if kind == lending.PCI else EventDoorbell(fd)
