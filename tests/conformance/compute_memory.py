"""The compute suite: devices, contexts and device memory."""

from __future__ import annotations

from tests.conformance.compute_session import (
    Model,
    check,
    opened,
    refused,
)
from vaccel import bounds
from vaccel.compute import Compute
from vaccel.errors import (
    Exhausted,
    InvalidArgument,
    NotFound,
)


@check
async def a_device_says_what_it_is(compute: Compute, model: Model) -> None:
    (device,) = await compute.devices()
    assert device.id and device.kind and device.card
    assert device.profile.kind == device.kind
    assert 0 < device.memory_free_bytes <= device.profile.memory_bytes
    assert "int8" in device.arithmetic
    assert device.clock_hz > 0


@check
async def a_context_opens_by_id_and_resumes(compute: Compute, model: Model) -> None:
    (device,) = await compute.devices()
    context = await compute.open_context(device.id)
    buffer = await compute.allocate(context, 8)
    await compute.write(context, buffer, 0, b"remember")
    assert await compute.open_context(resume=context) == context
    assert await compute.read(context, buffer, 0, 8) == b"remember"
    await compute.close_context(context)
    await compute.close_context(context)
    with refused(NotFound, context):
        await compute.allocate(context, 8)
    with refused(NotFound):
        await compute.open_context(resume=context)


@check
async def an_unknown_device_is_named(compute: Compute, model: Model) -> None:
    with refused(NotFound, "vf-nowhere"):
        await compute.open_context("vf-nowhere")


@check
async def contexts_do_not_see_each_other(compute: Compute, model: Model) -> None:
    async with opened(compute) as one, opened(compute) as other:
        buffer = await one.buffer(b"private!")
        with refused(NotFound, str(buffer)):
            await other.bytes(buffer, 8)


@check
async def a_buffer_starts_as_zeros(compute: Compute, model: Model) -> None:
    size = 300_000
    async with opened(compute) as session:
        secret = await session.buffer(b"\xa5" * size)
        await compute.free(session.context, secret)
        fresh = await compute.allocate(session.context, size)
        assert await session.bytes(fresh, size) == bytes(size)
    async with opened(compute) as session:
        fresh = await compute.allocate(session.context, size)
        assert await session.bytes(fresh, size) == bytes(size)


@check
async def bytes_are_kept_where_they_are_put(compute: Compute, model: Model) -> None:
    data = bytes(range(256)) * 8192  # 2 MiB: two chunks
    async with opened(compute) as session:
        buffer = await session.buffer(data)
        got = [await session.bytes(buffer, bounds.CHUNK_BYTES, at << 20) for at in range(2)]
        assert b"".join(got) == data
        await compute.write(session.context, buffer, 5, b"hello")
        assert await session.bytes(buffer, 7, 4) == data[4:5] + b"hello" + data[10:11]
        await compute.free(session.context, buffer)
        await compute.free(session.context, buffer)
        with refused(NotFound, f"buffer {buffer}"):
            await session.bytes(buffer, 1)


@check
async def bytes_outside_a_buffer_are_refused(compute: Compute, model: Model) -> None:
    async with opened(compute) as session:
        buffer = await compute.allocate(session.context, 100)
        for offset, length in ((0, 101), (100, 1), (96, 5), ((1 << 64) - 1, 2)):
            with refused(InvalidArgument, "100 bytes"):
                await session.bytes(buffer, length, offset)
        with refused(InvalidArgument, "100 bytes"):
            await compute.write(session.context, buffer, 99, b"xy")
        with refused(InvalidArgument, str(bounds.CHUNK_BYTES)):
            await compute.write(session.context, buffer, 0, bytes(bounds.CHUNK_BYTES + 1))
        with refused(InvalidArgument, str(bounds.CHUNK_BYTES)):
            await session.bytes(buffer, bounds.CHUNK_BYTES + 1)


@check
async def memory_ends_where_the_profile_says(compute: Compute, model: Model) -> None:
    async with opened(compute) as session:
        (device,) = await compute.devices()
        free = device.memory_free_bytes
        for size in (free + 1, 1 << 62, (1 << 64) - 1):
            with refused(Exhausted, str(size), str(free)):
                await compute.allocate(session.context, size)
        whole = await compute.allocate(session.context, free)
        with refused(Exhausted, " 0 of "):
            await compute.allocate(session.context, 1)
        await compute.free(session.context, whole)
        await compute.allocate(session.context, free)
    (device,) = await compute.devices()
    assert device.memory_free_bytes == free
