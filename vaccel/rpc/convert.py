"""Messages to values and back: the one place that knows both. Parses and caps at the edge, once.

``*_of`` reads a message and raises InvalidArgument naming the field; ``to_*`` writes one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from vaccel import bounds, compute, errors
from vaccel.model import (
    BufferRange,
    Device,
    DType,
    Port,
    Profile,
    Strings,
    Tensor,
    Usage,
    Value,
)
from vaccel.v1 import admin_pb2, compute_pb2, types_pb2

# --- errors ---------------------------------------------------------------------------------


def to_error(error: errors.VaccelError) -> types_pb2.Error:
    """An error as it travels: whatever a caller put into it, it fits."""
    return types_pb2.Error(
        code=error.code,
        message=clip(error.message, bounds.ERROR_BYTES),
        hint=clip(error.hint, bounds.HINT_BYTES),
    )


def clip(text: str, size: int) -> str:
    """A text of at most ``size`` bytes of UTF-8, with … where something was left out."""
    data = text.encode(errors="replace")
    if len(data) <= size:
        return data.decode()
    return data[: size - 3].decode(errors="ignore") + "…"


def error_of(message: types_pb2.Error) -> errors.VaccelError:
    """An error that a peer sent."""
    return errors.from_code(message.code, message.message, message.hint)


# --- tensors --------------------------------------------------------------------------------


def dtype_of(name: str, where: str) -> DType:
    """An element type by its name; ``where`` names the tensor in the error."""
    try:
        return DType(name)
    except ValueError:
        known = ", ".join(d.value for d in DType)
        raise errors.InvalidArgument(
            f"{where}: unknown dtype {name[:40]!r}", hint=f"one of {known}"
        ) from None


def shape_of(dims: Any, where: str) -> tuple[int, ...]:
    """A shape whose size can be computed with; ``where`` names the tensor in the error."""
    if len(dims) > bounds.TENSOR_RANK:
        raise errors.InvalidArgument(f"{where}: rank {len(dims)} is more than {bounds.TENSOR_RANK}")
    shape = tuple(dims)
    # A zero dimension must not hide the overflow of the others.
    if math.prod(d or 1 for d in shape) > 1 << 48:
        raise errors.InvalidArgument(f"{where}: shape {list(shape)} has more than 2^48 elements")
    return shape


def range_of(message: types_pb2.BufferRange) -> BufferRange:
    """A place in device memory; the executor checks that it exists."""
    return BufferRange(message.buffer, message.offset)


def to_range(place: BufferRange) -> types_pb2.BufferRange:
    """A place in device memory."""
    return types_pb2.BufferRange(buffer=place.buffer, offset=place.offset)


def value_of(message: types_pb2.Value, where: str) -> Value:
    """A tensor or strings; inline data has exactly the bytes that dtype and shape say."""
    kind = message.WhichOneof("value")
    if kind == "strings":
        shape = shape_of(message.strings.shape, where)
        count = math.prod(shape)
        if count != len(message.strings.items) or count > bounds.STRINGS_PER_VALUE:
            raise errors.InvalidArgument(
                f"{where}: {len(message.strings.items)} strings for shape {list(shape)}"
            )
        try:
            return Strings(shape, tuple(item.decode() for item in message.strings.items))
        except UnicodeDecodeError as fault:
            raise errors.InvalidArgument(f"{where}: a string is not UTF-8: {fault}") from None
    if kind != "tensor":
        raise errors.InvalidArgument(f"{where}: holds neither a tensor nor strings")
    tensor = message.tensor
    dtype = dtype_of(tensor.dtype, where)
    if dtype is DType.STRING:
        raise errors.InvalidArgument(f"{where}: strings travel as Strings, not as a tensor")
    shape = shape_of(tensor.shape, where)
    place = tensor.WhichOneof("place")
    if place == "range":
        return Tensor(dtype, shape, place=range_of(tensor.range))
    wanted = math.prod(shape) * dtype.itemsize
    if place == "inline" and len(tensor.inline) != wanted:
        raise errors.InvalidArgument(
            f"{where}: {len(tensor.inline)} bytes of data, but {dtype.value}{list(shape)}"
            f" has {wanted}"
        )
    # Without a place it has only a shape: an argument of EstimateCost.
    return Tensor(dtype, shape, data=tensor.inline if place == "inline" else None)


def to_value(value: Value) -> types_pb2.Value:
    """A tensor or strings as it travels."""
    if isinstance(value, Strings):
        items = [item.encode() for item in value.items]
        return types_pb2.Value(strings=types_pb2.Strings(shape=value.shape, items=items))
    tensor = types_pb2.Tensor(dtype=value.dtype.value, shape=value.shape)
    if value.place is not None:
        tensor.range.CopyFrom(to_range(value.place))
    elif value.data is not None:
        tensor.inline = bytes(value.data)
    return types_pb2.Value(tensor=tensor)


def values_of(messages: Mapping[str, types_pb2.Value], what: str) -> dict[str, Value]:
    """Named values."""
    if len(messages) > bounds.ARGUMENTS_PER_LAUNCH:
        raise errors.InvalidArgument(
            f"{len(messages)} {what}s are more than {bounds.ARGUMENTS_PER_LAUNCH}"
        )
    return {name: value_of(value, f"{what} {name[:80]!r}") for name, value in messages.items()}


def to_values(values: Mapping[str, Value]) -> dict[str, types_pb2.Value]:
    """Named values as they travel."""
    return {name: to_value(value) for name, value in values.items()}


# --- programs -------------------------------------------------------------------------------


def port_of(message: compute_pb2.Port) -> Port:
    """An input or output of a program."""
    if len(message.shape) > bounds.TENSOR_RANK:
        raise errors.InvalidArgument(
            f"port {message.name[:80]!r}: rank {len(message.shape)} is more than"
            f" {bounds.TENSOR_RANK}"
        )
    dims = tuple(
        d.value if d.WhichOneof("size") == "value" else (d.symbol or None) for d in message.shape
    )
    dtype = dtype_of(message.dtype, f"port {message.name[:80]!r}")
    return Port(message.name, dtype, None if message.rank_unknown else dims, message.optional)


def to_port(port: Port) -> compute_pb2.Port:
    """An input or output as it travels."""
    message = compute_pb2.Port(
        name=port.name,
        dtype=port.dtype.value,
        rank_unknown=port.shape is None,
        optional=port.optional,
    )
    for dim in port.shape or ():
        if isinstance(dim, int):
            message.shape.add(value=dim)
        else:
            message.shape.add(symbol=dim or "")
    return message


def source_of(message: compute_pb2.LoadProgramRequest) -> compute.OnnxSource | compute.KernelSource:
    """Where a program comes from."""
    kind = message.WhichOneof("source")
    if kind == "onnx":
        onnx = message.onnx
        return compute.OnnxSource(onnx.buffer, onnx.offset, onnx.length)
    if kind == "kernel":
        kernel = message.kernel
        if len(kernel.operands) > bounds.ARGUMENTS_PER_LAUNCH:
            raise errors.InvalidArgument(f"kernel {kernel.name[:80]!r}: too many operands")
        return compute.KernelSource(
            kernel.name, tuple(map(port_of, kernel.operands)), dict(kernel.attributes)
        )
    raise errors.InvalidArgument("load_program: no source", hint="give onnx or kernel")


def to_program_request(
    context: str, source: compute.OnnxSource | compute.KernelSource
) -> compute_pb2.LoadProgramRequest:
    """A request to compile."""
    if isinstance(source, compute.OnnxSource):
        onnx = compute_pb2.OnnxSource(
            buffer=source.buffer, offset=source.offset, length=source.length
        )
        return compute_pb2.LoadProgramRequest(context=context, onnx=onnx)
    kernel = compute_pb2.KernelSource(
        name=source.name,
        operands=[to_port(p) for p in source.operands],
        attributes=dict(source.attributes),
    )
    return compute_pb2.LoadProgramRequest(context=context, kernel=kernel)


def program_of(message: compute_pb2.LoadProgramReply) -> compute.Program:
    """A loaded program."""
    return compute.Program(
        message.program,
        tuple(map(port_of, message.inputs)),
        tuple(map(port_of, message.outputs)),
        message.weight_bytes,
        message.nodes,
        message.sha256,
    )


def to_program(program: compute.Program) -> compute_pb2.LoadProgramReply:
    """A loaded program as it travels."""
    return compute_pb2.LoadProgramReply(
        program=program.id,
        inputs=[to_port(p) for p in program.inputs],
        outputs=[to_port(p) for p in program.outputs],
        weight_bytes=program.weight_bytes,
        nodes=program.nodes,
        sha256=program.sha256,
    )


# --- devices --------------------------------------------------------------------------------


def profile_of(message: types_pb2.Profile) -> Profile:
    """A size of VF."""
    return Profile(
        message.name,
        message.kind,
        message.cores,
        message.memory_bytes,
        message.bandwidth_bytes_per_second,
        message.window_bytes,
    )


def to_profile(profile: Profile) -> types_pb2.Profile:
    """A profile as it travels."""
    return types_pb2.Profile(
        name=profile.name,
        kind=profile.kind,
        cores=profile.cores,
        memory_bytes=profile.memory_bytes,
        bandwidth_bytes_per_second=profile.bandwidth_bytes_per_second,
        window_bytes=profile.window_bytes,
    )


def device_of(message: types_pb2.Device) -> Device:
    """A device."""
    return Device(
        message.id,
        message.kind,
        message.card,
        profile_of(message.profile),
        message.epoch,
        message.memory_free_bytes,
        tuple(message.arithmetic),
        message.clock_hz,
    )


def to_device(device: Device) -> types_pb2.Device:
    """A device as it travels, with the bounds that a client must keep."""
    return types_pb2.Device(
        id=device.id,
        kind=device.kind,
        card=device.card,
        profile=to_profile(device.profile),
        epoch=device.epoch,
        memory_free_bytes=device.memory_free_bytes,
        arithmetic=device.arithmetic,
        clock_hz=device.clock_hz,
        max_inline_bytes=bounds.INLINE_BYTES,
        max_chunk_bytes=bounds.CHUNK_BYTES,
        max_commands=bounds.COMMANDS_PER_SUBMIT,
    )


def usage_of(message: admin_pb2.Usage) -> Usage:
    """What a VF holds and has done."""
    return Usage(
        message.contexts,
        message.buffers,
        message.programs,
        message.memory_bytes,
        message.launches,
        message.device_ns,
        message.joules,
        message.errors,
        message.idle_joules,
        message.queues,
        message.descriptors,
        message.malformed,
        message.broken_queues,
        message.empty_doorbells,
        message.throttled,
    )


def to_usage(usage: Usage) -> admin_pb2.Usage:
    """A usage as it travels."""
    return admin_pb2.Usage(
        contexts=usage.contexts,
        buffers=usage.buffers,
        programs=usage.programs,
        memory_bytes=usage.memory_bytes,
        launches=usage.launches,
        device_ns=usage.device_ns,
        joules=usage.joules,
        errors=usage.errors,
        idle_joules=usage.idle_joules,
        queues=usage.queues,
        descriptors=usage.descriptors,
        malformed=usage.malformed,
        broken_queues=usage.broken_queues,
        empty_doorbells=usage.empty_doorbells,
        throttled=usage.throttled,
    )
