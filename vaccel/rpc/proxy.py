"""A Compute over gRPC: what an app asks of its agent, and an agent of the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from vaccel import bounds, errors
from vaccel.rpc.remote import RemoteCompute
from vaccel.rpc.rules import SERVICES
from vaccel.rpc.service import Stub
from vaccel.v1 import compute_pb2 as pb

if TYPE_CHECKING:
    import grpc


class GrpcCompute(RemoteCompute):
    """See ``vaccel.compute.Compute``. A context lives as long as the stream that opened it."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        metadata: tuple[tuple[str, str], ...] = (),
        peer: str = "the server",
    ) -> None:
        self._stub = Stub(channel, SERVICES["Compute"], peer, metadata)
        self._held: dict[str, AsyncIterator[Any]] = {}

    async def _call(self, method: str, request: Message, timeout: float) -> Any:
        return await self._stub.unary(method, request, timeout)

    async def open_context(self, device: str = "", resume: str = "") -> str:
        """See ``Compute``. The stream is held until ``close_context`` or ``close``."""
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
        if old := self._held.get(reply.context):
            await _close(old)
        self._held[reply.context] = stream
        return str(reply.context)

    async def close_context(self, context: str) -> None:
        """See ``Compute``."""
        try:
            await super().close_context(context)
        finally:
            if stream := self._held.pop(context, None):
                await _close(stream)

    async def close(self) -> None:
        """Let go of every context; the server frees them after its grace."""
        while self._held:
            _, stream = self._held.popitem()
            await _close(stream)


async def _close(stream: AsyncIterator[Any]) -> None:
    closer = getattr(stream, "aclose", None)
    if closer is not None:
        await closer()
