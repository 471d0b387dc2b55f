"""Messages to values and back: the one place that knows both. Parses and caps at the edge, once.

``*_of`` reads a message and raises InvalidArgument naming the field; ``to_*`` writes one.
"""

from __future__ import annotations

from vaccel import bounds, compute, errors
from vaccel.model import Device, Limits, Port, Profile, Usage
from vaccel.rpc.convert_values import dtype_of
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
    if len(message.containers) > bounds.VALUE_DEPTH:
        raise errors.InvalidArgument(
            f"port {message.name[:80]!r}: {len(message.containers)} containers are more than"
            f" {bounds.VALUE_DEPTH}"
        )
    return Port(
        message.name,
        dtype,
        None if message.rank_unknown else dims,
        message.optional,
        tuple(text[: bounds.NAME_BYTES] for text in message.containers),
    )


def to_port(port: Port) -> compute_pb2.Port:
    """An input or output as it travels."""
    message = compute_pb2.Port(
        name=port.name,
        dtype=port.dtype.value,
        rank_unknown=port.shape is None,
        optional=port.optional,
        containers=port.containers,
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
        return _onnx_of(message.onnx)
    if kind == "kernel":
        kernel = message.kernel
        if len(kernel.operands) > bounds.ARGUMENTS_PER_LAUNCH:
            raise errors.InvalidArgument(f"kernel {kernel.name[:80]!r}: too many operands")
        return compute.KernelSource(
            kernel.name, tuple(map(port_of, kernel.operands)), dict(kernel.attributes)
        )
    raise errors.InvalidArgument("load_program: no source", hint="give onnx or kernel")


def _onnx_of(onnx: compute_pb2.OnnxSource) -> compute.OnnxSource:
    if len(onnx.blobs) > bounds.BLOBS_PER_MODEL:
        raise errors.InvalidArgument(
            f"model with {len(onnx.blobs)} files of data: at most {bounds.BLOBS_PER_MODEL}"
        )
    blobs = tuple(compute.Blob(blob.name, blob.offset, blob.length) for blob in onnx.blobs)
    where = onnx.buffer, onnx.offset, onnx.length
    return compute.OnnxSource(*where, blobs, onnx.take, onnx.arithmetic, onnx.max_error)


def to_program_request(
    context: str, source: compute.OnnxSource | compute.KernelSource
) -> compute_pb2.LoadProgramRequest:
    """A request to compile."""
    if isinstance(source, compute.OnnxSource):
        onnx = compute_pb2.OnnxSource(
            buffer=source.buffer,
            offset=source.offset,
            length=source.length,
            arithmetic=source.arithmetic,
            max_error=source.max_error,
            blobs=[
                compute_pb2.Blob(name=each.name, offset=each.offset, length=each.length)
                for each in source.blobs
            ],
            take=source.take,
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
        Limits(
            message.max_inline_bytes,
            message.max_chunk_bytes,
            message.max_commands,
            message.max_queue_pairs,
            message.max_slab_bytes,
            message.usual_slab_bytes,
            message.max_descriptors,
            message.max_recordings,
        ),
    )


def to_device(device: Device) -> types_pb2.Device:
    """A device as it travels, with the bounds that a client must keep."""
    limits = device.limits
    return types_pb2.Device(
        id=device.id,
        kind=device.kind,
        card=device.card,
        profile=to_profile(device.profile),
        epoch=device.epoch,
        memory_free_bytes=device.memory_free_bytes,
        arithmetic=device.arithmetic,
        clock_hz=device.clock_hz,
        max_inline_bytes=limits.inline_bytes,
        max_chunk_bytes=limits.chunk_bytes,
        max_commands=limits.commands,
        max_queue_pairs=limits.queue_pairs,
        max_slab_bytes=limits.slabs_bytes,
        usual_slab_bytes=limits.slab_bytes,
        max_descriptors=limits.descriptors,
        max_recordings=limits.recordings,
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
