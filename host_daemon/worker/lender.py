"""What an executor asks of whoever lends queue pairs to its contexts."""

from __future__ import annotations

from typing import Protocol

from host_daemon.worker.contexts import Context
from host_daemon.worker.queue_totals import QueueTotals
from vaccel.compute import Lease
from vaccel.model import Limits


class QueueLender(Protocol):
    """Who gives contexts their queue pairs: ``host_daemon.worker.queues``."""

    @property
    def totals(self) -> QueueTotals:
        """What went through all queues."""

    @property
    def limits(self) -> Limits:
        """What can be lent at most."""

    async def stop(self, context: Context) -> None:
        """Until nothing that was asked through a context's queue pair touches its slab any more."""

    def lend(self, context: Context, slab_bytes: int, after: str) -> Lease:
        """As ``Compute.lend_queue`` says."""

    def look(self) -> bool:
        """Take what is in the rings now; whether anything was."""

    def reset(self) -> None:
        """All contexts are about to end by a reset: tell their apps, and keep their slabs."""

    async def settle(self) -> None:
        """Until nothing of what has ended touches a slab any more."""

    def __len__(self) -> int: ...
