"""The queue pairs of a VF: who has which, and the doorbell that wakes the worker for all of them.

A doorbell says nothing, so each one is a look at every lent queue: a few microseconds. One that
finds nothing is counted; too many of those within a period, and the doorbell goes unheard until
its end, when the queues are looked at once. So a storm costs a few percent of a core at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
from collections.abc import Callable

from host_daemon.worker.contexts import Context
from host_daemon.worker.executor import Executor
from host_daemon.worker.queue import Queue
from host_daemon.worker.queue_totals import QueueTotals
from host_daemon.worker.recovery import end_lost
from host_daemon.worker.status import StatusPage
from host_daemon.worker.vigil import Vigil
from vaccel import bounds
from vaccel.aperture import layout
from vaccel.aperture.journal import Journal
from vaccel.aperture.slab import Slab
from vaccel.aperture.window import Window
from vaccel.compute import Lease
from vaccel.errors import Exhausted
from vaccel.model import Limits

log = logging.getLogger(__name__)


class Queues:
    """An async context manager: inside, the doorbell is heard. The descriptor stays the caller's.

    Lends queue pairs to the contexts of an executor (``lender.QueueLender``).
    """

    def __init__(
        self, executor: Executor, window: Window, doorbell: int, journal: Journal
    ) -> None:
        self._executor, self._window, self._doorbell = executor, window, doorbell
        self._journal = journal
        start = layout.slabs_offset(window.size)
        self._slabs = Slab(start, window.size - start, "window")
        self._numbers = set(range(layout.queue_pairs(window.size)))
        self._queues: dict[str, Queue] = {}
        # Leases of contexts that a reset ended: their apps may come back for what is in the slab,
        # and may know only the name before, where the reset came while it was lent on.
        self._left: dict[str, Lease] = {}
        self._known_as: dict[str, str] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._scanning = False
        self._again: asyncio.Handle | None = None
        self._period_end = 0.0
        self._empty = 0
        self.totals = QueueTotals(journal.counters)
        self._vigil = Vigil(self._is_calm, self._scan)
        self._status = StatusPage(window, executor, self, self._slabs)

    def __len__(self) -> int:
        return len(self._queues)

    @property
    def limits(self) -> Limits:
        """See ``lender.QueueLender``."""
        return Limits(
            queue_pairs=layout.queue_pairs(self._window.size),
            slabs_bytes=self._slabs.size,
            slab_bytes=_usual(self._slabs.size),
            descriptors=layout.SQ_ENTRIES,
            recordings=bounds.RECORDINGS_PER_QUEUE,
        )

    @property
    def free_pairs(self) -> int:
        """Queue pairs that could be lent now."""
        return len(self._numbers)

    @property
    def busy(self) -> bool:
        """Whether anything that a queue pair asked for is under way."""
        return any(queue.busy for queue in self._queues.values())

    async def __aenter__(self) -> Queues:
        self._status.show(layout.RECOVERING)
        self._executor.queues = self
        self._executor.keep_totals(self._journal)
        for context, lost in end_lost(self._window, self._journal, self._slabs).items():
            self._numbers.discard(lost.lease.queue)
            self._leave(context, lost.lease, lost.after)
        asyncio.get_running_loop().add_reader(self._doorbell, self._rung)
        self._status.show(layout.SERVING)
        return self

    async def __aexit__(self, *_exc: object) -> None:
        self._status.end()
        asyncio.get_running_loop().remove_reader(self._doorbell)
        self._executor.queues = None
        if self._again is not None:
            self._again.cancel()
        for context in list(self._queues):
            self._end(context)
        await asyncio.gather(*self._closing)

    async def stop(self, context: Context) -> None:
        """See ``lender.QueueLender``."""
        if (queue := self._queues.get(context.name)) is not None:
            await queue.close()

    def lend(self, context: Context, slab_bytes: int, after: str) -> Lease:
        """As ``Compute.lend_queue`` says; a context that has one gets it reset."""
        old = self._queues.pop(context.name, None)
        if old is not None:
            self._close(old)
            lease = old.lease
        elif (found := self._left.pop(self._known_as.get(after, after), None)) is not None:
            lease = found
        else:
            lease, after = self._take(slab_bytes), ""
        record = self._journal.queue(lease.queue)
        queue = Queue(self._executor, context, self._window, lease, self.totals, record, after)
        self._queues[context.name] = queue
        context.reached, context.accepted = queue.reached, queue.accepted
        context.ended = lambda: self._end(context.name)
        self._status.touch()
        return lease

    def reset(self) -> None:
        """See ``lender.QueueLender``."""
        self._status.show(layout.RECOVERING)
        for name in list(self._queues):
            queue = self._queues.pop(name)
            queue.lose()
            self._close(queue, functools.partial(self._leave, name, queue.lease, queue.after))

    async def settle(self) -> None:
        """See ``lender.QueueLender``."""
        await asyncio.gather(*self._closing)
        self._status.show(layout.SERVING)

    def _leave(self, context: str, lease: Lease, after: str) -> None:
        """Keep the lease of a context that is gone, for a while."""
        self._left[context] = lease
        if after:
            self._known_as[after] = context
        loop = asyncio.get_running_loop()
        loop.call_later(bounds.LEASE_GRACE_SECONDS, self._give_up, context)

    def _give_up(self, context: str) -> None:
        if (lease := self._left.pop(context, None)) is not None:
            self._known_as = {k: v for k, v in self._known_as.items() if v != context}
            self._free(lease)

    def _free(self, lease: Lease) -> None:
        self._journal.queue(lease.queue).free()
        self._slabs.free(lease.slab_offset)
        self._numbers.add(lease.queue)
        self._status.touch()

    def _take(self, slab_bytes: int) -> Lease:
        try:
            return self._take_free(slab_bytes)
        except Exhausted:
            if not self._left:
                raise
        for context in list(self._left):  # who is here goes before who may come back
            self._give_up(context)
        return self._take_free(slab_bytes)

    def _take_free(self, slab_bytes: int) -> Lease:
        if not self._numbers:
            raise Exhausted(
                f"all {layout.queue_pairs(self._window.size)} queue pairs of the window are lent",
                hint='close a context, or open the device with path="grpc"',
            )
        size = slab_bytes or _usual(self._slabs.largest_free)
        if size < bounds.SLAB_BYTES_LEAST:
            raise Exhausted(
                f"window has a slab of {size} bytes left, {bounds.SLAB_BYTES_LEAST} is the least",
                hint="close a context, or take a VF with a larger window",
            )
        offset = self._slabs.allocate(size, bounds.SLAB_BYTES_LEAST)
        number = min(self._numbers)
        self._numbers.discard(number)
        return Lease(number, offset, size, self._window.size)

    def _end(self, context: str) -> None:
        if (queue := self._queues.pop(context, None)) is not None:
            self._close(queue, lambda: self._free(queue.lease))

    def _close(self, queue: Queue, then: Callable[[], None] = lambda: None) -> None:
        """What is under way may touch the slab: it is lent again only after."""
        queue.stop()

        async def close() -> None:
            await queue.close()
            then()

        task = asyncio.get_running_loop().create_task(close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    # --- the doorbell -----------------------------------------------------------------------

    def _rung(self) -> None:
        self._status.rang()
        found = self._scan()
        with contextlib.suppress(BlockingIOError):  # somebody else emptied it
            os.read(self._doorbell, 8)
        # What came after the first look and rang before the doorbell was emptied.
        if self._scan() or found:
            self._vigil.keep(list(self._queues.values()))
            return
        totals = self.totals
        totals.empty_doorbells += 1
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now >= self._period_end:
            self._period_end, self._empty = now + bounds.DOORBELL_PERIOD_SECONDS, 0
        self._empty += 1
        if self._empty >= bounds.DOORBELLS_EMPTY:
            totals.throttled += 1
            loop.remove_reader(self._doorbell)
            loop.call_at(self._period_end, self._listen)

    def _is_calm(self) -> bool:
        """Whether there is nothing to do but to wait for a ring."""
        return self._again is None and self._executor.is_idle and not self.busy

    def _listen(self) -> None:
        if self._executor.queues is self:
            asyncio.get_running_loop().add_reader(self._doorbell, self._rung)
            self._scan()

    def look(self) -> bool:
        """See ``lender.QueueLender``. Nothing, from within a look: queues are served in turn."""
        turns = layout.SQ_ENTRIES // bounds.DESCRIPTORS_PER_TURN
        return not self._scanning and sum(self._scan() for _ in range(turns)) > 0

    def _scan(self) -> bool:
        """Serve every queue once; whether any had something. More is taken after other tasks."""
        found = more = False
        self._scanning = True
        for queue in list(self._queues.values()):
            taken = queue.serve()
            found |= taken > 0
            more |= taken == bounds.DESCRIPTORS_PER_TURN
        self._scanning = False
        if more and self._again is None:
            self._again = asyncio.get_running_loop().call_soon(self._resume)
        return found

    def _resume(self) -> None:
        self._again = None
        self._scan()


def _usual(free: int) -> int:
    """A slab for who asks for no size, of so many bytes that are free: room for several apps."""
    part = min(free // bounds.SLAB_PART, bounds.SLAB_BYTES_MOST)
    whole = max(part, min(bounds.SLAB_BYTES, free))
    return whole - whole % bounds.SLAB_BYTES_LEAST
