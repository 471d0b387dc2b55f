"""Calls that travel in a slab: the messages of the Compute service, without gRPC around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from google.protobuf.message import DecodeError, Message

from vaccel import bounds
from vaccel.aperture.descriptors import Op
from vaccel.commands import Command, Launch, Signal
from vaccel.compute import Compute, Progress
from vaccel.errors import InvalidArgument, VaccelError
from vaccel.rpc import convert
from vaccel.rpc.convert_commands import progress_of, to_command
from vaccel.rpc.methods import METHODS, commands_of
from vaccel.v1 import compute_pb2 as pb
from vaccel.v1 import types_pb2

CALLS: Final = {Op.SUBMIT: "Submit", Op.RUN: "Run", Op.WAIT: "Wait"}
OPS: Final = {name: op for op, name in CALLS.items()}


async def answer(compute: Compute, op: Op, context: str, payload: bytes) -> bytes:
    """Serve one call of a queue; its context is the queue's, whatever the message says."""
    method = METHODS[CALLS[op]]
    request: Any = _parse(method.request, payload)
    request.context = context
    reply = await method.serve(compute, request)
    return reply.SerializeToString()


def recording_of(payload: bytes) -> tuple[Command, ...]:
    """The commands of a recording, from a SubmitRequest.

    Raises InvalidArgument also for what can be no part of one: a signal, which names a fence that
    differs each time, and a launch with a result that has no place of its own.
    """
    commands = commands_of(_parse(pb.SubmitRequest, payload).commands)
    for number, command in enumerate(commands):
        if isinstance(command, Signal):
            raise InvalidArgument(f"recording: command {number} is a signal", hint="leave it out")
        if isinstance(command, Launch) and (
            not command.results or any(result.place is None for result in command.results)
        ):
            raise InvalidArgument(
                f"recording: launch {number} leaves a result without a place",
                hint="name every result that is wanted, and a buffer for it",
            )
    if not commands:
        raise InvalidArgument("recording: it holds no command")
    return tuple(commands)


def to_recording(commands: Sequence[Command]) -> bytes:
    """What ``recording_of`` reads."""
    return pb.SubmitRequest(commands=[to_command(one) for one in commands]).SerializeToString()


def to_submission(stream: int, first_fence: int, commands: Sequence[Command]) -> bytes:
    """A SubmitRequest; the queue it travels in names the context."""
    return pb.SubmitRequest(
        stream=stream, first_fence=first_fence, commands=[to_command(one) for one in commands]
    ).SerializeToString()


def to_wait(stream: int, fence: int, timeout: float, acknowledged: int) -> bytes:
    """A WaitRequest; ``timeout`` in seconds."""
    return pb.WaitRequest(
        stream=stream,
        fence=fence,
        timeout_ns=int(min(timeout, bounds.WAIT_SECONDS) * 1e9),
        acknowledged=acknowledged,
    ).SerializeToString()


def progress_of_reply(payload: bytes) -> Progress:
    """What a WaitReply says."""
    return progress_of(pb.WaitReply.FromString(payload))


def encode_error(error: VaccelError) -> bytes:
    """An error as it travels in a slab."""
    return convert.to_error(error).SerializeToString()


def decode_error(payload: bytes) -> VaccelError:
    """An error from a copy of what ``encode_error`` made."""
    return convert.error_of(types_pb2.Error.FromString(payload))


def _parse(kind: type[Message], payload: bytes) -> Any:
    if len(payload) > bounds.MESSAGE_BYTES:
        raise InvalidArgument(
            f"a request of {len(payload)} bytes is more than {bounds.MESSAGE_BYTES}"
        )
    try:
        return kind.FromString(payload)
    except DecodeError as fault:
        raise InvalidArgument(f"{kind.__name__} cannot be read: {fault}") from fault
