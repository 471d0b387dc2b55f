"""Compute with a queue pair per context, borrowed from whoever holds the window.

A queue that dies fails what is under way as Unavailable, which is asked again; from then on gRPC
answers, and says what became of the device. Where it died with its lender, another is borrowed as
soon as somebody lends again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import TYPE_CHECKING, Final

from vaccel import bounds, forks
from vaccel.aperture import lending
from vaccel.errors import (
    DeviceLost,
    NotFound,
    Unavailable,
    Unsupported,
    VaccelError,
    WrongState,
)
from vaccel.fastpath.queue import AppQueue
from vaccel.fastpath.ringed import RingedCompute, open_doorbell, open_queue

if TYPE_CHECKING:
    import grpc

    from vaccel.compute import Lease

log = logging.getLogger(__name__)

# Between two looks for a lender that has gone: one that restarts is back within seconds.
_LONGEST_PAUSE_SECONDS: Final = 1.0


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
        self._seeking: dict[str, asyncio.Task[None]] = {}
        self._mending = asyncio.Lock()
        forks.follow(self)

    def forked(self) -> None:
        """See ``forks.Follower``: only the parent's end of these sockets says that it has gone."""
        for loan in self._borrowed.values():
            loan.socket.close()

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
            _tell(context, error)
        return context

    async def reopen(self, context: str, device: str = "") -> str:
        """See ``GrpcCompute``; under the mapping that there is, and with the same slab."""
        fresh = await super().reopen(context, device)
        try:
            await self._take_over(context, fresh)
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
            _tell(fresh, error)
        return fresh

    async def _take_over(self, context: str, fresh: str) -> None:
        """A queue pair for the context that took a lost one's place."""
        queue = self._queues.get(context)
        if queue is None or not isinstance(queue.dead, DeviceLost):
            self._return(context)
            return await self._borrow(fresh)
        # Again, so that whoever lends knows whose context it is now.
        loan = await self._lent(fresh)
        if loan.kind == lending.MEMFD and not queue.window.shows(loan.window):
            # Whoever held the window died with it: nobody serves the old one any more.
            self._return(context)
            return await self._accept(fresh, loan)
        try:
            lease = await self.lend_queue(fresh, queue.lease.slab_bytes, context)
        except BaseException:
            loan.leave()
            raise
        if not queue.has_slab(lease):  # the old one may be others' by now, or a part of the new one
            self._return(context)
            return self._map(fresh, loan, lease)
        loan.close_memory()  # it is mapped already
        self._forget(context)
        self._keep_loan(fresh, queue.successor(lease), loan)

    async def mend(self, context: str) -> None:
        """Have a queue pair that broke lent again, with its slab; where that fails gRPC goes on."""
        async with self._mending:
            queue = self._queues.get(context)
            if queue is None or not isinstance(queue.dead, WrongState):
                return  # somebody else has done it meanwhile
            try:
                lease = await self.lend_queue(context, queue.lease.slab_bytes)
            except VaccelError as error:
                log.info("the queue pair of %s stays broken: %s", context, error)
                return
            if self._queues.get(context) is queue and isinstance(queue.dead, WrongState):
                self._queues[context] = queue.successor(lease)

    async def close_context(self, context: str) -> None:
        """See ``Compute``."""
        try:
            self._return(context)  # first of all: the slab goes to another context next
        finally:
            await super().close_context(context)

    async def close(self) -> None:
        """Let go of every context and its window."""
        for context in list(self._queues):
            self._return(context)
        await super().close()

    async def _borrow(self, context: str) -> None:
        await self._accept(context, await self._lent(context))

    async def _lent(self, context: str) -> lending.Borrowed:
        """The window of a context. Raises what the lender says, Unavailable where nobody lends."""
        if self._lender is None:
            raise Unavailable("windows are lent over unix sockets only")
        asking = asyncio.ensure_future(asyncio.to_thread(lending.borrow, self._lender, context))
        try:
            return await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(_leave_unused)
            raise

    async def _accept(self, context: str, loan: lending.Borrowed) -> None:
        """Map a window for the first time, with a queue pair in it."""
        try:
            lease = await self.lend_queue(context, self._slab_bytes)
        except BaseException:
            loan.leave()
            raise
        self._map(context, loan, lease)

    def _map(self, context: str, loan: lending.Borrowed, lease: Lease) -> None:
        try:
            queue = open_queue(loan.kind, loan.window, loan.doorbell, loan.window_bytes, lease)
        except BaseException:
            loan.let_go()
            raise
        self._keep_loan(context, queue, loan)

    # --- a lender that comes back -----------------------------------------------------------

    async def _seek(self, context: str) -> None:
        """The lender has gone: borrow again from the next one, while the context lives."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + 2 * bounds.CONTEXT_GRACE_SECONDS
        pause = bounds.BACKOFF_FIRST_SECONDS
        while loop.time() < give_up:
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            if (loose := self._loose.get(context)) is not None:
                await loose.wait()
            if context not in self._queues or self._is_lost(context):
                return
            try:
                await self._borrow_again(context)
            except (Unavailable, NotFound) as fault:  # NotFound: it does not know us yet
                log.debug("no window for %s yet: %s", context, fault)
                continue
            except VaccelError as fault:
                log.info("%s goes on by gRPC: %s", context, fault)
            return

    def _is_lost(self, context: str) -> bool:
        keeper = self._keepers.get(context)
        return keeper is None or keeper.done()

    async def _borrow_again(self, context: str) -> None:
        loan = await self._lent(context)
        queue = self._queues.get(context)
        if loan.kind == lending.MEMFD and queue is not None and queue.window.shows(loan.window):
            # It works, or a reset ended it, which is told by other ways: whoever lends knows us.
            loan.close_memory()
            self._forget(context)
            return self._keep_loan(context, queue, loan)
        if loan.kind == lending.MEMFD or queue is None or not isinstance(queue.dead, Unavailable):
            return loan.leave()
        try:
            lease = await self.lend_queue(context, queue.lease.slab_bytes)
        except BaseException:
            loan.leave()
            raise
        try:
            fresh = _mapped_again(queue, loan, lease)
        except BaseException:
            loan.let_go()
            raise
        self._forget(context)
        self._keep_loan(context, fresh, loan)
        log.info("%s has a queue pair again", context)

    def _keep_loan(self, context: str, queue: AppQueue, loan: lending.Borrowed) -> None:
        self._queues[context], self._borrowed[context] = queue, loan
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
        if data or loan.kind == lending.PCI:
            reason = lending.recalled(data)
            queue.die(reason, revoke=True)
            log.info("queue pair of %s: %s", context, reason)
        # Else the daemon went: worker and window go on. Nobody else can ever come to this memory.
        loan.let_go()
        if not data:
            seeking = asyncio.create_task(self._seek(context), name="lender")
            self._seeking[context] = seeking
            seeking.add_done_callback(lambda done: self._sought(context, done))

    def _sought(self, context: str, seeking: asyncio.Task[None]) -> None:
        if self._seeking.get(context) is seeking:
            del self._seeking[context]

    async def _keep(self, context: str) -> None:
        await super()._keep(context)
        if (queue := self._queues.get(context)) is not None:
            queue.die(DeviceLost(f"context {context} has ended", hint="open the device again"))

    def _return(self, context: str) -> None:
        if (seeking := self._seeking.pop(context, None)) is not None:
            seeking.cancel()
        if (queue := self._queues.get(context)) is not None:
            queue.close()
        self._forget(context)

    def _forget(self, context: str) -> None:
        """Whose the queue and the loan were; the loan is over."""
        self._queues.pop(context, None)
        loan = self._borrowed.pop(context, None)
        if loan is not None and loan.socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(loan.socket)
            loan.let_go()


def _tell(context: str, error: VaccelError) -> None:
    """Why a context goes by gRPC. What will not mend itself is worth a warning."""
    level = logging.WARNING if isinstance(error, Unsupported) else logging.INFO
    log.log(level, "no queue pair for %s: %s", context, error)


def _leave_unused(asking: asyncio.Future[lending.Borrowed]) -> None:
    """Nobody waits any more for what a lender gave."""
    if not asking.cancelled() and asking.exception() is None:
        asking.result().leave()


def _mapped_again(queue: AppQueue, loan: lending.Borrowed, lease: Lease) -> AppQueue:
    """What takes the place of a queue whose window was revoked, at the same address if it can."""
    if not queue.has_slab(lease):
        fresh = open_queue(loan.kind, loan.window, loan.doorbell, loan.window_bytes, lease)
        queue.close()
        return fresh
    try:
        return queue.restore(loan.window, lease, open_doorbell(loan.kind, loan.doorbell))
    finally:
        os.close(loan.window)
