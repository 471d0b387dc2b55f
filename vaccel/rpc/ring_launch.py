"""A program's call in the slab: the messages, with the large tensors beside them.

What is small travels in the message; a large tensor lies in the slab, and the message says where.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from vaccel import bounds
from vaccel.commands import Completion, Launch, Result
from vaccel.errors import InvalidArgument
from vaccel.model import DType, Tensor, Value
from vaccel.rpc import convert, convert_commands, convert_values
from vaccel.v1 import ring_pb2


@dataclass(frozen=True, slots=True)
class Staged:
    """A tensor in the slab; ``offset`` is in the window."""

    dtype: DType
    shape: tuple[int, ...]
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes of the whole tensor."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Call:
    """A launch to be made, and where its large results may be put."""

    stream: int
    launch: Launch
    room_offset: int
    room_bytes: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What became of a call; ``staged`` are the results that were put into the room.

    ``served_ns`` is what the worker took for it: the caller's next call may be left alone so long.
    """

    completion: Completion
    staged: Mapping[str, Staged]
    served_ns: int = 0


def to_call(
    stream: int,
    program: int,
    arguments: Mapping[str, Value],
    staged: Mapping[str, Staged],
    room: tuple[int, int],
    results: Sequence[Result] = (),
) -> bytes:
    """A call as it travels; ``room`` is an offset and a number of bytes."""
    message = ring_pb2.CallRequest(
        stream=stream,
        program=program,
        arguments=convert_values.to_values(arguments),
        room_offset=room[0],
        room_bytes=room[1],
        results=convert_commands.to_results(results),
    )
    for name, tensor in staged.items():
        _put(message.staged[name], tensor)
    return message.SerializeToString()


def call_of(payload: bytes, copy: Callable[[int, int], bytes]) -> Call:
    """The call in a copy of what ``to_call`` made; ``copy(offset, length)`` fetches from the slab.

    Every tensor is copied once, before anything looks at it. Raises InvalidArgument.
    """
    message = ring_pb2.CallRequest()
    try:
        message.ParseFromString(payload)
    except DecodeError as fault:
        raise InvalidArgument(f"CallRequest cannot be read: {fault}") from fault
    arguments = convert_values.values_of(message.arguments, "argument")
    if len(arguments) + len(message.staged) > bounds.ARGUMENTS_PER_LAUNCH:
        raise InvalidArgument(
            f"call: {len(arguments) + len(message.staged)} arguments, at most"
            f" {bounds.ARGUMENTS_PER_LAUNCH}"
        )
    left = bounds.CALL_BYTES
    for name, one in message.staged.items():
        if name in arguments:
            raise InvalidArgument(f"call: argument {convert.clip(name, 80)!r} is given twice")
        tensor = _get(one, name)
        left -= tensor.nbytes
        if left < 0:
            raise InvalidArgument(
                f"call: arguments of more than {bounds.CALL_BYTES} bytes",
                hint="write large tensors to buffers first",
            )
        data = copy(tensor.offset, tensor.nbytes)
        arguments[name] = Tensor(tensor.dtype, tensor.shape, data=data)
    launch = Launch(message.program, arguments, convert_commands.results_of(message.results))
    return Call(message.stream, launch, message.room_offset, message.room_bytes)


def to_reply(reply: Reply) -> bytes:
    """A reply as it travels."""
    message = ring_pb2.CallReply(
        completion=convert_commands.to_completion(reply.completion), served_ns=reply.served_ns
    )
    for name, tensor in reply.staged.items():
        _put(message.staged[name], tensor)
    return message.SerializeToString()


def reply_of(payload: bytes) -> Reply:
    """What ``to_reply`` made."""
    message = ring_pb2.CallReply.FromString(payload)
    staged = {name: _get(one, name) for name, one in message.staged.items()}
    completion = convert_commands.completion_of(message.completion)
    return Reply(completion, staged, message.served_ns)


def _put(message: ring_pb2.SlabTensor, tensor: Staged) -> None:
    message.dtype, message.offset = tensor.dtype.value, tensor.offset
    message.shape.extend(tensor.shape)


def _get(message: ring_pb2.SlabTensor, name: str) -> Staged:
    where = f"argument {convert.clip(name, 80)!r}"
    dtype = convert_values.dtype_of(message.dtype, where)
    if dtype is DType.STRING:
        raise InvalidArgument(f"{where}: strings do not lie in a slab")
    return Staged(dtype, convert_values.shape_of(message.shape, where), message.offset)
