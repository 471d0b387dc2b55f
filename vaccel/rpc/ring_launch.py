"""A program's call in the slab: the messages, with the tensors beside them.

Tensors lie in the slab, and the messages say where. A call and its reply say the same as the last
of their kind did, but for what lies in the slab and for the cost: what they say is read once.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from google.protobuf.message import DecodeError

from vaccel import bounds
from vaccel.commands import Completion, Launch, Result
from vaccel.errors import InvalidArgument
from vaccel.model import Cost, DType, Tensor, Value
from vaccel.rpc import convert, convert_commands, convert_values
from vaccel.v1 import compute_pb2, ring_pb2

# Of a reply: what the worker took for the call (ns), whether its completion has an error or
# results, the bytes of the CallResults that follow; the rest is the Completion.
_HEAD: Final = struct.Struct("<QII")
# The longest request that is remembered: a guest decides what is in it, and how many there are.
_KEPT_BYTES: Final = 8 * bounds.KIB


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


class Reply:
    """What became of a call; ``staged`` are the results that were put into the room.

    ``served_ns`` is what the worker took for it: the caller's next call may be left alone so long.
    ``says_more``: the completion has an error, or results that are not in the room.
    """

    __slots__ = ("_completion", "says_more", "served_ns", "staged")

    def __init__(
        self, staged: Mapping[str, Staged], served_ns: int, says_more: bool, completion: bytes
    ) -> None:
        self.staged, self.served_ns, self.says_more = staged, served_ns, says_more
        self._completion = completion

    @property
    def completion(self) -> Completion:
        """The launch's error, its cost, and the results that are not in the room; read anew each
        time, as most callers want none of it.
        """
        message = compute_pb2.Completion.FromString(self._completion)
        return convert_commands.completion_of(message)

    def cost(self) -> Cost:
        """What the launch would have cost the device."""
        return self.completion.cost or Cost()


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
    read = _asked_before if len(payload) <= _KEPT_BYTES else _asked
    asked = read(payload)
    arguments = dict(asked.arguments)
    for name, one in asked.staged.items():
        data = copy(one.offset, one.nbytes)
        arguments[name] = Tensor(one.dtype, one.shape, data=data)
    launch = Launch(asked.program, arguments, asked.results)
    return Call(asked.stream, launch, asked.room_offset, asked.room_bytes)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a request says, without what lies in the slab."""

    stream: int
    program: int
    arguments: Mapping[str, Value]
    staged: Mapping[str, Staged]
    room_offset: int
    room_bytes: int
    results: tuple[Result, ...]


def _asked(payload: bytes) -> _Asked:
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
    staged = {name: _get(one, name) for name, one in message.staged.items()}
    if twice := sorted(arguments.keys() & staged.keys()):
        raise InvalidArgument(f"call: argument {convert.clip(twice[0], 80)!r} is given twice")
    if sum(one.nbytes for one in staged.values()) > bounds.CALL_BYTES:
        raise InvalidArgument(
            f"call: arguments of more than {bounds.CALL_BYTES} bytes",
            hint="write large tensors to buffers first",
        )
    return _Asked(
        message.stream,
        message.program,
        arguments,
        staged,
        message.room_offset,
        message.room_bytes,
        convert_commands.results_of(message.results),
    )


# An app's calls of one kind send the same bytes each time.
_asked_before: Final = lru_cache(maxsize=64)(_asked)


def to_reply(completion: Completion, staged: Mapping[str, Staged], served_ns: int) -> bytes:
    """A reply as it travels: a head, the results that are staged, the completion."""
    message = ring_pb2.CallResults()
    for name, tensor in staged.items():
        _put(message.staged[name], tensor)
    places = message.SerializeToString(deterministic=True)
    says_more = completion.error is not None or bool(completion.results)
    head = _HEAD.pack(served_ns, says_more, len(places))
    return head + places + convert_commands.to_completion(completion).SerializeToString()


def reply_of(payload: bytes) -> Reply:
    """What ``to_reply`` made."""
    served_ns, says_more, length = _HEAD.unpack_from(payload)
    end = _HEAD.size + length
    return Reply(_staged(payload[_HEAD.size : end]), served_ns, bool(says_more), payload[end:])


# Results of one kind are put into few places in turn.
@lru_cache(maxsize=64)
def _staged(payload: bytes) -> Mapping[str, Staged]:
    message = ring_pb2.CallResults.FromString(payload)
    return {name: _get(one, name) for name, one in message.staged.items()}


def _put(message: ring_pb2.SlabTensor, tensor: Staged) -> None:
    message.dtype, message.offset = tensor.dtype.value, tensor.offset
    message.shape.extend(tensor.shape)


def _get(message: ring_pb2.SlabTensor, name: str) -> Staged:
    where = f"argument {convert.clip(name, 80)!r}"
    dtype = convert_values.dtype_of(message.dtype, where)
    if dtype is DType.STRING:
        raise InvalidArgument(f"{where}: strings do not lie in a slab")
    return Staged(dtype, convert_values.shape_of(message.shape, where), message.offset)
