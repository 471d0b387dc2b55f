"""Enrolment on both ends: a one-time token becomes a credential."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
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


async def enrol(channel: grpc.aio.Channel, vf: str, epoch: int, token: bytes) -> str:
    """The credential of a VF. Raises Unauthenticated where the token is forged, stale or used."""
    stub = Stub(channel, SERVICES["Enrol"], "the host's daemon")
    request = pb.EnrolRequest(vf=vf, epoch=epoch, token=token, agent_version=__version__)
    reply = await stub.unary("Enrol", request, bounds.CALL_SECONDS)
    return str(reply.credential)


def add_enrol(server: grpc.aio.Server, enrolment: Enrolment, admit: Admit = admit_all) -> None:
    """Register the Enrol service on a server."""

    async def answer(_principal: Any, request: pb.EnrolRequest) -> Message:
        version = request.agent_version[: bounds.NAME_BYTES]
        credential = await enrolment(request.vf, request.epoch, request.token, version)
        return pb.EnrolReply(credential=credential)

    implementation = Implementation(answer, bounds.CALL_SECONDS)
    add_service(server, SERVICES["Enrol"], {"Enrol": implementation}, admit)


def authorization(credential: str) -> tuple[tuple[str, str], ...]:
    """The metadata that shows a credential."""
    return (("authorization", f"Bearer {credential}"),)
