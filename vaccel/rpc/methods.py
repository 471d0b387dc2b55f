"""The Compute service method by method: how a request becomes a call on a ``Compute``, and its
reply.

The gRPC servicer and the private link's server both walk this table; neither knows a method by
name.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message

from vaccel import bounds, errors
from vaccel.commands import Command
from vaccel.compute import Compute
from vaccel.rpc import convert, convert_commands, convert_values
from vaccel.v1 import compute_pb2 as pb

Serve = Callable[[Compute, Any], Awaitable[Message]]


@dataclass(frozen=True, slots=True)
class Method:
    """One method.

    ``seconds`` is the longest that the server works on it, whatever the client says.
    """

    request: type[Message]
    reply: type[Message]
    serve: Serve
    seconds: float


async def _list_devices(target: Compute, _request: pb.ListDevicesRequest) -> Message:
    devices = await target.devices()
    return pb.ListDevicesReply(devices=[convert.to_device(device) for device in devices])


async def _open_context(target: Compute, request: pb.OpenContextRequest) -> Message:
    context = await target.open_context(request.device, request.resume)
    return pb.OpenContextReply(context=context)


async def _close_context(target: Compute, request: pb.CloseContextRequest) -> Message:
    await target.close_context(request.context)
    return pb.CloseContextReply()


async def _allocate(target: Compute, request: pb.AllocateRequest) -> Message:
    return pb.AllocateReply(buffer=await target.allocate(request.context, request.size))


async def _free(target: Compute, request: pb.FreeRequest) -> Message:
    await target.free(request.context, request.buffer)
    return pb.FreeReply()


async def _write(target: Compute, request: pb.WriteRequest) -> Message:
    _check_chunk(len(request.data))
    await target.write(request.context, request.buffer, request.offset, request.data)
    return pb.WriteReply()


async def _read(target: Compute, request: pb.ReadRequest) -> Message:
    _check_chunk(request.length)
    data = await target.read(request.context, request.buffer, request.offset, request.length)
    return pb.ReadReply(data=data)


async def _load_program(target: Compute, request: pb.LoadProgramRequest) -> Message:
    program = await target.load_program(request.context, convert.source_of(request))
    return convert.to_program(program)


async def _unload_program(target: Compute, request: pb.UnloadProgramRequest) -> Message:
    await target.unload_program(request.context, request.program)
    return pb.UnloadProgramReply()


async def _estimate(target: Compute, request: pb.EstimateCostRequest) -> Message:
    arguments = convert_values.values_of(request.arguments, "argument")
    cost = await target.estimate(request.context, request.program, arguments)
    return pb.EstimateCostReply(cost=convert_commands.to_cost(cost))


def commands_of(messages: Sequence[pb.Command]) -> list[Command]:
    """The commands of one submission. Raises InvalidArgument past the bound."""
    if len(messages) > bounds.COMMANDS_PER_SUBMIT:
        raise errors.InvalidArgument(
            f"submit: {len(messages)} commands are more than {bounds.COMMANDS_PER_SUBMIT}",
            hint="split the submission",
        )
    return [convert_commands.command_of(message) for message in messages]


async def _submit(target: Compute, request: pb.SubmitRequest) -> Message:
    commands = commands_of(request.commands)
    await target.submit(request.context, request.stream, request.first_fence, commands)
    return pb.SubmitReply()


async def _run(target: Compute, request: pb.RunRequest) -> Message:
    progress = await target.run(
        request.context,
        request.stream,
        request.first_fence,
        commands_of(request.commands),
        min(request.timeout_ns / 1e9, bounds.WAIT_SECONDS),
        request.acknowledged,
    )
    return convert_commands.to_progress(progress)


async def _wait(target: Compute, request: pb.WaitRequest) -> Message:
    timeout = min(request.timeout_ns / 1e9, bounds.WAIT_SECONDS)
    progress = await target.wait(
        request.context, request.stream, request.fence, timeout, request.acknowledged
    )
    return convert_commands.to_progress(progress)


async def _lend(target: Compute, request: pb.LendQueueRequest) -> Message:
    lease = await target.lend_queue(request.context, request.slab_bytes, request.after)
    return pb.LendQueueReply(
        queue=lease.queue,
        slab_offset=lease.slab_offset,
        slab_bytes=lease.slab_bytes,
        window_bytes=lease.window_bytes,
    )


def _check_chunk(length: int) -> None:
    if length > bounds.CHUNK_BYTES:
        raise errors.InvalidArgument(
            f"a chunk of {length} bytes is more than {bounds.CHUNK_BYTES}",
            hint="move it in several calls",
        )


_CALL: Final = bounds.CALL_SECONDS
_DATA: Final = bounds.DATA_SECONDS
_WORK: Final = bounds.COMPUTE_SECONDS

METHODS: Final[dict[str, Method]] = {
    "ListDevices": Method(pb.ListDevicesRequest, pb.ListDevicesReply, _list_devices, _CALL),
    "OpenContext": Method(pb.OpenContextRequest, pb.OpenContextReply, _open_context, _CALL),
    "CloseContext": Method(pb.CloseContextRequest, pb.CloseContextReply, _close_context, _CALL),
    "Allocate": Method(pb.AllocateRequest, pb.AllocateReply, _allocate, _CALL),
    "Free": Method(pb.FreeRequest, pb.FreeReply, _free, _CALL),
    "Write": Method(pb.WriteRequest, pb.WriteReply, _write, _DATA),
    "Read": Method(pb.ReadRequest, pb.ReadReply, _read, _DATA),
    "LoadProgram": Method(pb.LoadProgramRequest, pb.LoadProgramReply, _load_program, _WORK),
    "UnloadProgram": Method(pb.UnloadProgramRequest, pb.UnloadProgramReply, _unload_program, _CALL),
    "EstimateCost": Method(pb.EstimateCostRequest, pb.EstimateCostReply, _estimate, _WORK),
    "Submit": Method(pb.SubmitRequest, pb.SubmitReply, _submit, _DATA),
    "Run": Method(pb.RunRequest, pb.WaitReply, _run, bounds.WAIT_SECONDS),
    "Wait": Method(pb.WaitRequest, pb.WaitReply, _wait, bounds.WAIT_SECONDS),
    "LendQueue": Method(pb.LendQueueRequest, pb.LendQueueReply, _lend, _CALL),
}
