"""A Compute over gRPC: what an app asks of its agent, and an agent of the daemon."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.message import Message

from vaccel import bounds, errors, forks
from vaccel.rpc.remote import RemoteCompute
from vaccel.rpc.rules import SERVICES
from vaccel.rpc.service import Stub
from vaccel.v1 import compute_pb2 as pb

if TYPE_CHECKING:
    import grpc


# While a context hangs by its grace: a server on this machine is back within a second.
_LONGEST_PAUSE_SECONDS: Final = 0.5


class GrpcCompute(RemoteCompute):
    """See ``vaccel.compute.Compute``. A context lives as long as the stream that opened it.

    With ``keeps`` a context whose stream broke is taken up again as soon as the server is back, so
    that one that restarts does not free it.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        metadata: tuple[tuple[str, str], ...] = (),
        peer: str = "the server",
        *,
        keeps: bool = False,
    ) -> None:
        self._stub = Stub(channel, SERVICES["Compute"], peer, metadata)
        self._keeps = keeps
        self._held: dict[str, AsyncIterator[Any]] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        # Contexts whose stream is broken at the moment.
        self._loose: dict[str, asyncio.Event] = {}
        forks.hold(self)  # the streams, too, are of a channel

    async def _call(self, method: str, request: Message, timeout: float) -> Any:
        context = getattr(request, "context", "")
        loose = self._loose.get(context)
        if loose is not None and method != "CloseContext":
            # A server that has just come back does not know the context before its stream is held.
            try:
                async with asyncio.timeout(min(timeout, bounds.RETRY_SECONDS)):
                    await loose.wait()
            except TimeoutError:
                raise _away(context) from None
        try:
            return await self._stub.unary(method, request, timeout)
        except errors.NotFound as fault:
            if context in self._loose and context in fault.message:
                raise _away(context) from fault
            raise

    async def open_context(self, device: str = "", resume: str = "") -> str:
        """See ``Compute``. The stream is held until ``close_context`` or ``close``."""
        context, stream = await self._open(device, resume)
        await self._let_go(context)
        self._held[context] = stream
        if self._keeps:
            self._keepers[context] = asyncio.create_task(self._keep(context))
        return context

    async def _open(self, device: str, resume: str) -> tuple[str, AsyncIterator[Any]]:
        request = pb.OpenContextRequest(device=device, resume=resume)
        stream = self._stub.stream("OpenContext", request, None)
        try:
            async with asyncio.timeout(bounds.CALL_SECONDS):
                reply = await anext(stream)
        except StopAsyncIteration:
            raise errors.Unavailable("the server closed the context before it was open") from None
        except TimeoutError:
            await _close(stream)
            raise errors.TimedOut(
                f"open_context: no answer within {bounds.CALL_SECONDS:g} s"
            ) from None
        return str(reply.context), stream

    async def _keep(self, context: str) -> None:
        """Hold a context's stream; when it breaks, open it again while the grace lasts."""
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(errors.VaccelError):  # how it broke decides nothing
                async for _ in self._held[context]:
                    pass
            loose = self._loose[context] = asyncio.Event()
            try:
                if not await self._hold_again(context, loop.time() + bounds.CONTEXT_GRACE_SECONDS):
                    return
            finally:
                del self._loose[context]
                loose.set()

    async def _hold_again(self, context: str, give_up: float) -> bool:
        loop = asyncio.get_running_loop()
        pause = bounds.BACKOFF_FIRST_SECONDS
        while True:
            await asyncio.sleep(pause)
            try:
                _, self._held[context] = await self._open("", context)
                return True
            except (errors.Unavailable, errors.TimedOut):
                if loop.time() > give_up:
                    return False
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            except errors.VaccelError:
                return False  # it is gone, and the next call in it says why

    async def reopen(self, context: str, device: str = "") -> str:
        """Another context in place of one that a reset ended."""
        fresh = await GrpcCompute.open_context(self, device)
        await self._let_go(context)
        return fresh

    async def close_context(self, context: str) -> None:
        """See ``Compute``. Whoever keeps contexts waits a moment for a server that restarts."""
        try:
            await self._close_soon(context)
        finally:
            await self._let_go(context)

    async def _close_soon(self, context: str) -> None:
        loop = asyncio.get_running_loop()
        give_up = loop.time() + (bounds.CLOSE_SECONDS if self._keeps else 0.0)
        pause = bounds.BACKOFF_FIRST_SECONDS
        while True:
            if (loose := self._loose.get(context)) is not None:
                # One that has just come back does not know the context before its stream is held.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(give_up):
                        await loose.wait()
            try:
                return await super().close_context(context)
            except errors.Unavailable:
                if loop.time() + pause > give_up:
                    raise
                await asyncio.sleep(pause)
                pause *= 2

    async def _let_go(self, context: str) -> None:
        if keeper := self._keepers.pop(context, None):
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        if stream := self._held.pop(context, None):
            await _close(stream)

    async def close(self) -> None:
        """Let go of every context; the server frees them after its grace."""
        for context in list(self._held):
            await self._let_go(context)


def _away(context: str) -> errors.Unavailable:
    return errors.Unavailable(
        f"context {context} is not taken up again yet", hint="try again in a moment"
    )


async def _close(stream: AsyncIterator[Any]) -> None:
    closer = getattr(stream, "aclose", None)
    if closer is not None:
        await closer()
