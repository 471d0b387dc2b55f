"""Serving Compute over gRPC, with contexts that live as long as the stream that opened them."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from vaccel import errors
from vaccel.compute import Compute
from vaccel.rpc.methods import METHODS, Method
from vaccel.rpc.rules import SERVICES
from vaccel.rpc.service import Admit, Implementation, add_service, admit_all
from vaccel.v1 import compute_pb2 as pb

if TYPE_CHECKING:
    import grpc

log = logging.getLogger(__name__)

# The Compute that a principal (what the admission yielded) may use.
ComputeOf = Callable[[Any], Compute]


@dataclass(slots=True)
class _Held:
    streams: Counter[str] = field(default_factory=Counter)
    freeing: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    openings: set[asyncio.Future[str]] = field(default_factory=set)
    closed: bool = False


class ContextHolder:
    """Frees a context when the last stream that held it is gone, after a grace.

    The grace lets a client whose connection broke come back for its context: 0 for apps (a broken
    stream means that the app died), ``bounds.CONTEXT_GRACE_SECONDS`` for agents. A context may be
    held by streams of several endpoints, and by none just after a restart: holders that are made
    by ``sharing`` count them together.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._shared = _Held()

    def sharing(self, grace: float) -> ContextHolder:
        """Another holder of the same contexts, for an endpoint with another grace."""
        other = ContextHolder(grace)
        other._shared = self._shared
        return other

    @property
    def _streams(self) -> Counter[str]:
        return self._shared.streams

    @property
    def _freeing(self) -> dict[str, asyncio.Task[None]]:
        return self._shared.freeing

    def hold(self, context: str) -> None:
        """A stream holds it."""
        self._streams[context] += 1
        if task := self._freeing.pop(context, None):
            task.cancel()

    def let_go(self, context: str, compute: Compute) -> None:
        """A stream of it has ended; without another one it is freed after the grace."""
        self._streams[context] -= 1
        if self._streams[context] <= 0:
            del self._streams[context]
            self.expire(context, compute)

    def expire(self, context: str, compute: Compute) -> None:
        """Start the grace of a context that no stream holds."""
        if self._shared.closed or context in self._freeing or context in self._streams:
            return
        task = asyncio.create_task(self._free(context, compute))
        self._freeing[context] = task
        task.add_done_callback(lambda done: self._forget(context, done))

    def _forget(self, context: str, task: asyncio.Task[None]) -> None:
        if self._freeing.get(context) is task:
            del self._freeing[context]

    async def _free(self, context: str, compute: Compute) -> None:
        await asyncio.sleep(self._grace)
        try:
            await compute.close_context(context)
        except errors.VaccelError as fault:
            log.info("context %s went with its device: %s", context, fault)

    def orphan(self, opening: asyncio.Future[str], compute: Compute) -> None:
        """Its client went before the context was open: once it is, nobody holds it."""

        def opened(done: asyncio.Future[str]) -> None:
            self._shared.openings.discard(done)
            if not done.cancelled() and done.exception() is None:
                self.expire(done.result(), compute)

        self._shared.openings.add(opening)
        opening.add_done_callback(opened)

    async def close(self) -> None:
        """Stop counting down, for all that share: what is left is the next daemon's."""
        self._shared.closed = True
        tasks: list[asyncio.Future[Any]] = [*self._freeing.values(), *self._shared.openings]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def add_compute(
    server: grpc.aio.Server,
    compute_of: ComputeOf,
    holder: ContextHolder,
    admit: Admit = admit_all,
) -> None:
    """Register the Compute service on a server."""

    def unary(method: Method) -> Implementation:
        async def answer(principal: Any, request: Any) -> Message:
            return await method.serve(compute_of(principal), request)

        return Implementation(answer, method.seconds)

    async def open_context(
        principal: Any, request: pb.OpenContextRequest
    ) -> AsyncIterator[Message]:
        compute = compute_of(principal)
        opening = asyncio.ensure_future(compute.open_context(request.device, request.resume))
        try:
            context = await asyncio.shield(opening)
        except asyncio.CancelledError:
            holder.orphan(opening, compute)
            raise
        holder.hold(context)
        try:
            yield pb.OpenContextReply(context=context)
            await asyncio.get_running_loop().create_future()  # until the client goes
        finally:
            holder.let_go(context, compute)

    implementations = {name: unary(method) for name, method in METHODS.items()}
    implementations["OpenContext"] = Implementation(open_context, None)
    add_service(server, SERVICES["Compute"], implementations, admit)
