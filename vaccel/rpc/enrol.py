"""Enrolment on both ends: a one-time token becomes a credential."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from vaccel import __version__, bounds
from vaccel.rpc.rules import SERVICES
from vaccel.rpc.service import Admit, Implementation, Stub, add_service, admit_all
from vaccel.v1 import enrol_pb2 as pb

if TYPE_CHECKING:
    import grpc

# (vf, epoch, token, agent's version) to the credential; raises Unauthenticated.
Enrolment = Callable[[str, int, bytes, str], Awaitable[str]]
# For a principal: yields when that agent shall take windows back, and is closed when it has.
Recalls = Callable[[Any], AsyncGenerator[None, None]]


async def enrol(channel: grpc.aio.Channel, vf: str, epoch: int, token: bytes) -> str:
    """The credential of a VF. Raises Unauthenticated where the token is forged, stale or used."""
    stub = Stub(channel, SERVICES["Enrol"], "the host's daemon")
    request = pb.EnrolRequest(vf=vf, epoch=epoch, token=token, agent_version=__version__)
    reply = await stub.unary("Enrol", request, bounds.CALL_SECONDS)
    return str(reply.credential)


async def recalled(
    channel: grpc.aio.Channel, credential: str
) -> AsyncGenerator[None, None]:
    """Yields when the host asks for the windows back; to close it then says that it has them.

    Raises Unavailable where the connection ends, Unauthenticated.
    """
    stub = Stub(channel, SERVICES["Enrol"], "the host's daemon", authorization(credential))
    async with aclosing(stub.stream("Watch", pb.WatchRequest(), None)) as replies:
        async for reply in replies:
            if reply.recall:
                yield


def add_enrol(
    server: grpc.aio.Server, enrolment: Enrolment, recalls: Recalls, admit: Admit = admit_all
) -> None:
    """Register the Enrol service on a server."""

    async def answer(_principal: Any, request: pb.EnrolRequest) -> Message:
        version = request.agent_version[: bounds.NAME_BYTES]
        credential = await enrolment(request.vf, request.epoch, request.token, version)
        return pb.EnrolReply(credential=credential)

    async def watch(principal: Any, _request: pb.WatchRequest) -> AsyncIterator[Message]:
        async with aclosing(recalls(principal)) as asked:
            async for _ in asked:
                yield pb.WatchReply(recall=True)

    implementations = {
        "Enrol": Implementation(answer, bounds.CALL_SECONDS),
        "Watch": Implementation(watch, None),
    }
    add_service(server, SERVICES["Enrol"], implementations, admit)


def authorization(credential: str) -> tuple[tuple[str, str], ...]:
    """The metadata that shows a credential."""
    return (("authorization", f"Bearer {credential}"),)
