"""Compute with a queue pair per context, borrowed from whoever holds the window.

A queue that dies fails what is under way as Unavailable, which is asked again; from then on gRPC
answers, and says what became of the device.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from vaccel import bounds
from vaccel.aperture import lending
from vaccel.errors import DeviceLost, Unavailable, VaccelError
from vaccel.fastpath.queue import AppQueue
from vaccel.fastpath.ringed import RingedCompute, open_queue

if TYPE_CHECKING:
    import grpc

log = logging.getLogger(__name__)


class ApertureCompute(RingedCompute):
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
            with contextlib.suppress(VaccelError):
                await super().close_context(fresh)
            raise
        except VaccelError as error:
            self._return(context)
            if self._required:
                with contextlib.suppress(VaccelError):
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
            queue = open_queue(loan.kind, loan.window, loan.doorbell, loan.window_bytes, lease)
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
