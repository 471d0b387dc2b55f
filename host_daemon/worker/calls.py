"""A program's call over a queue pair: one descriptor for arguments, launch and results.

The arguments are copied out of the slab before anything parses or computes with them; the results
are copied into it when no kernel works on them any more.
"""

from __future__ import annotations

import asyncio
import time

import numpy as np

from host_daemon.worker.contexts import Context
from host_daemon.worker.executor import Executor
from host_daemon.worker.slab import SlabAccess
from vaccel import bounds
from vaccel.commands import Completion
from vaccel.model import BufferRange, Tensor, Value
from vaccel.rpc import ring_launch
from vaccel.rpc.ring_launch import Call, Staged


async def serve_call(
    executor: Executor, context: Context, payload: bytes, slab: SlabAccess
) -> bytes:
    """Do a call; its reply. Raises what was wrong with the call; its launch's error is a reply."""
    began = time.monotonic_ns()
    call = ring_launch.call_of(payload, slab.fetch)
    # All of the room, before anything runs: a result that finds its place outside would be lost.
    slab.check(call.room_offset, call.room_bytes)
    done: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()

    def sink(completion: Completion) -> None:
        if not done.done():
            done.set_result(completion)

    first = context.stream(call.stream).accepted + 1
    executor.accept(context, call.stream, first, [call.launch], sink, most=bounds.CALL_BYTES)
    completion = await done
    staged, values = _place(completion, call, context, slab)
    kept = Completion(completion.fence, completion.error, completion.cost, values)
    return ring_launch.to_reply(kept, staged, time.monotonic_ns() - began)


def _place(
    completion: Completion, call: Call, context: Context, slab: SlabAccess
) -> tuple[dict[str, Staged], dict[str, Value]]:
    """Results into the room, as far as it reaches; what is left: small ones travel themselves."""
    staged: dict[str, Staged] = {}
    values: dict[str, Value] = {}
    at, end = call.room_offset, call.room_offset + call.room_bytes
    for name, value in completion.results.items():
        if not isinstance(value, Tensor) or value.data is None or not value.nbytes:
            values[name] = value  # of no bytes, or in a buffer already, behind a sequence
        elif at + value.nbytes <= end:
            slab.put(at, value.data)
            staged[name] = Staged(value.dtype, value.shape, at)
            at += -(-value.nbytes // bounds.SLAB_ALIGNMENT) * bounds.SLAB_ALIGNMENT
        elif value.nbytes <= bounds.CALL_INLINE_BYTES:
            values[name] = value
        else:
            values[name] = _in_buffer(value, value.data, context)
    return staged, values


def _in_buffer(value: Tensor, data: bytes | memoryview, context: Context) -> Tensor:
    """A large result as it may travel: copied to a buffer of its own, which the caller frees."""
    buffer = context.buffers.allocate(value.nbytes)
    buffer.array[:] = np.frombuffer(data, np.uint8)
    return Tensor(value.dtype, value.shape, place=BufferRange(buffer.number))
