"""The agent's own use of the aperture: for apps that speak gRPC to it, and map nothing themselves.

The hot calls of such an app go from the agent through a queue pair of the app's context, and never
over the guest's network. An app that asks for the queue pair itself gets it: the agent lets go of
that context's for good.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from vaccel import bounds
from vaccel.aperture.lending import PCI
from vaccel.errors import Unavailable, VaccelError
from vaccel.fastpath.ringed import RingedCompute, open_queue
from vaccel.rpc import ring_calls

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message

    from guest_agent.rings import Rings
    from vaccel.compute import Lease
    from vaccel.fastpath.queue import AppQueue

log = logging.getLogger(__name__)

class DirectCompute(RingedCompute):
    """The host's Compute by gRPC, with a queue pair for each context that makes a hot call."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        metadata: tuple[tuple[str, str], ...],
        peer: str,
        rings: Rings,
    ) -> None:
        super().__init__(channel, metadata, peer)
        self._rings = rings
        self._queues: dict[str, AppQueue] = {}
        self._opening = asyncio.Lock()
        rings.users.add(self._drop_all)

    def queue(self, context: str) -> AppQueue | None:
        """See ``RingedCompute``."""
        queue = self._queues.get(context)
        return queue if queue is not None and queue.dead is None else None

    async def lend_queue(self, context: str, slab_bytes: int = 0, after: str = "") -> Lease:
        """See ``Compute``: from here on the queue pair is the app's."""
        async with self._opening:
            self._rings.taken.add(context)
            self._drop(context)
        return await super().lend_queue(context, slab_bytes, after)

    async def close_context(self, context: str) -> None:
        """See ``Compute``."""
        self._drop(context)
        self._rings.taken.discard(context)
        await super().close_context(context)

    async def close(self) -> None:
        """Let go of every context and its window."""
        self._rings.users.discard(self._drop_all)
        self._drop_all()
        await super().close()

    def _drop_all(self) -> None:
        for context in list(self._queues):
            self._drop(context)

    def _drop(self, context: str) -> None:
        queue = self._queues.pop(context, None)
        if queue is not None:
            queue.die(Unavailable(f"the queue pair of {context} went to its app"), revoke=True)
            queue.close()

    async def _call(self, method: str, request: Message, timeout: float) -> Any:
        if method in ring_calls.OPS:
            await self._ensure(getattr(request, "context", ""))
        return await super()._call(method, request, timeout)

    async def write(self, context: str, buffer: int, offset: int, data: bytes) -> None:
        """See ``Compute``."""
        await self._ensure(context)
        await super().write(context, buffer, offset, data)

    async def read(self, context: str, buffer: int, offset: int, length: int) -> bytes:
        """See ``Compute``."""
        await self._ensure(context)
        return await super().read(context, buffer, offset, length)

    async def _ensure(self, context: str) -> None:
        """Try once to get a context its queue pair; without one, gRPC does."""
        if not self._lacks(context):
            return
        async with self._opening:
            if not self._lacks(context):
                return
            try:
                lease = await super().lend_queue(context, bounds.AGENT_SLAB_BYTES)
                if self._rings.left:
                    return
                window, doorbell, size = self._rings.open_window()
                self._queues[context] = open_queue(PCI, window, doorbell, size, lease)
            except VaccelError as fault:
                self._rings.taken.add(context)
                log.info("%s goes by gRPC: %s", context, fault)

    def _lacks(self, context: str) -> bool:
        rings = self._rings
        return not (context in self._queues or context in rings.taken or rings.left)
