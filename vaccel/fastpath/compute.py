"""Compute whose hot calls go through a queue pair; control calls, and what finds no room, by gRPC.

``submit``, ``run`` and ``wait`` travel as the same messages in the slab, ``write`` and ``read`` as
bytes there. A queue that dies (a reset, a recall) fails what is under way as Unavailable, which is
asked again; from then on gRPC answers, and says what became of the device.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import Message

from vaccel import bounds
from vaccel.aperture import lending
from vaccel.aperture.descriptors import TOO_LARGE, Completion, Op
from vaccel.aperture.doorbell import Doorbell, EventDoorbell, RegisterDoorbell
from vaccel.aperture.window import Window
from vaccel.compute import Lease
from vaccel.errors import Detached, DeviceLost, Exhausted, TimedOut, Unavailable, VaccelError
from vaccel.fastpath.poller import poller
from vaccel.fastpath.queue import AppQueue
from vaccel.rpc import ring_calls
from vaccel.rpc.methods import METHODS
from vaccel.rpc.proxy import GrpcCompute

if TYPE_CHECKING:
    import grpc

log = logging.getLogger(__name__)

# How often to look whether a full ring has room again.
_FULL_SECONDS: Final = 0.001
# Beyond the wait itself, for the worker to say that it timed out.
_MARGIN_SECONDS: Final = 5.0


class ApertureCompute(GrpcCompute):
    """See ``vaccel.compute.Compute``. ``required``: no queue pair is an error, not a fallback."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        address: str,
        *,
        required: bool = False,
        slab_bytes: int = 0,
    ) -> None:
        super().__init__(channel, peer=address, keeps=True)
        self._lender = lending.path_of(address)
        self._required, self._slab_bytes = required, slab_bytes
        self._borrowed: dict[str, lending.Borrowed] = {}
        self._queues: dict[str, AppQueue] = {}

    def queue(self, context: str) -> AppQueue | None:
        """The queue pair of a context, where it has one that works."""
        queue = self._queues.get(context)
        return queue if queue is not None and queue.dead is None else None

    def end_of(self, context: str) -> VaccelError | None:
        """Why the queue pair of a context works no more; None where it works or there is none."""
        queue = self._queues.get(context)
        return None if queue is None else queue.dead

    async def open_context(self, device: str = "", resume: str = "") -> str:
        """See ``Compute``; then a queue pair is borrowed for it."""
        context = await super().open_context(device, resume)
        if context in self._queues:
            return context
        try:
            await self._borrow(context)
        except VaccelError as error:
            if self._required:
                await super().close_context(context)
                raise
            log.info("no queue pair for %s: %s", context, error)
        return context

    async def reopen(self, context: str, device: str = "") -> str:
        """See ``GrpcCompute``; under the mapping that there is, and with the same slab."""
        fresh = await super().reopen(context, device)
        queue, loan = self._queues.get(context), self._borrowed.get(context)
        try:
            if queue is None or loan is None or not isinstance(queue.dead, DeviceLost):
                self._return(context)
                await self._borrow(fresh)
                return fresh
            lease = await self.lend_queue(fresh, queue.lease.slab_bytes, context)
        except (Unavailable, DeviceLost):
            await super().close_context(fresh)
            raise
        except VaccelError as error:
            self._return(context)
            if self._required:
                await super().close_context(fresh)
                raise
            log.info("no queue pair for %s: %s", fresh, error)
            return fresh
        del self._queues[context], self._borrowed[context]
        self._keep_loan(fresh, queue.successor(lease), loan)
        return fresh

    async def close_context(self, context: str) -> None:
        """See ``Compute``."""
        try:
            await super().close_context(context)
        finally:
            self._return(context)

    async def close(self) -> None:
        """Let go of every context and its window."""
        for context in list(self._queues):
            self._return(context)
        await super().close()

    async def _borrow(self, context: str) -> None:
        if self._lender is None:
            raise Unavailable("windows are lent over unix sockets only")
        lease = await self.lend_queue(context, self._slab_bytes)
        loan = await asyncio.to_thread(lending.borrow, self._lender, context)
        try:
            queue = _open(loan, lease)
        except BaseException:
            loan.socket.close()
            raise
        self._keep_loan(context, queue, loan)

    def _keep_loan(self, context: str, queue: AppQueue, loan: lending.Borrowed) -> None:
        self._queues[context], self._borrowed[context] = queue, loan
        if loan.socket.fileno() >= 0:  # else its lender has gone, and nobody will recall it
            asyncio.get_running_loop().add_reader(loan.socket, self._recalled, context)

    def _recalled(self, context: str) -> None:
        loan, queue = self._borrowed[context], self._queues[context]
        try:
            data = loan.socket.recv(bounds.LENDING_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        asyncio.get_running_loop().remove_reader(loan.socket)
        if not data and loan.kind == lending.MEMFD:
            # The daemon went: worker and window go on. Nobody else can ever come to this memory.
            loan.socket.close()
            return
        reason = lending.recalled(data)
        queue.die(reason, revoke=True)
        # Seen by the lender: nothing reaches the window from here any more.
        loan.socket.close()
        log.info("queue pair of %s: %s", context, reason)

    async def _keep(self, context: str) -> None:
        await super()._keep(context)
        if (queue := self._queues.get(context)) is not None:
            queue.die(DeviceLost(f"context {context} has ended", hint="open the device again"))

    def _return(self, context: str) -> None:
        queue, loan = self._queues.pop(context, None), self._borrowed.pop(context, None)
        if loan is not None and loan.socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(loan.socket)
            loan.socket.close()
        if queue is not None:
            queue.close()

    # --- hot calls --------------------------------------------------------------------------

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
        if self._queue.dead is not None and completion.error is self._queue.dead:
            raise Unavailable(f"the queue pair has ended: {completion.error}")
        return completion

    async def _post(self, op: Op, operands: tuple[int, int, int, int], done: Any) -> None:
        while True:
            try:
                self._queue.post(op, operands, done)
            except Exhausted:
                self._queue.reap()
                await asyncio.sleep(_FULL_SECONDS)
                continue
            except (Detached, DeviceLost) as gone:
                raise Unavailable(f"the queue pair has ended: {gone}") from None
            self._posted = True
            return


def _open(loan: lending.Borrowed, lease: Lease) -> AppQueue:
    """Map what was lent. The descriptors are closed: mappings do not need them."""
    try:
        if loan.kind == lending.PCI:
            window = Window.from_lent(loan.window, loan.window_bytes)
        else:
            window = Window.from_fd(loan.window, loan.window_bytes)
    except BaseException:
        os.close(loan.doorbell)
        raise
    finally:
        os.close(loan.window)
    bell: Doorbell
    if loan.kind == lending.PCI:
        bell = RegisterDoorbell(loan.doorbell)
    else:
        bell = EventDoorbell(loan.doorbell)
    return AppQueue(window, bell, lease)
