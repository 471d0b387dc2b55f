"""One context of a device: moves data of any size, numbers fences, and gathers completions.

Async.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from vaccel import bounds, errors
from vaccel.binding import array_of, object_of
from vaccel.commands import Launch, Result
from vaccel.compute import Compute, KernelSource, Program
from vaccel.model import BufferRange, Cost, Items, Tensor, Value
from vaccel.patience import patiently
from vaccel.programs import Programs
from vaccel.stream_state import StreamState
from vaccel.uploads import ModelSource, Upload

log = logging.getLogger(__name__)
# Chunks of all calls under way at once: enough to hide a round trip, few enough for a quota.
_PIPELINE: Final = 8


# (old context) to the one that takes its place. Raises DeviceLost while the VF is being reset.
Reopen = Callable[[str], Awaitable[str]]


class Session:
    """A context and what is done in it.

    After a reset of the VF the next call opens another context, by ``reopen``, with the programs
    that there were; buffers are gone. Without ``reopen`` it stays lost. ``device`` is the VF's id.
    """

    def __init__(
        self, compute: Compute, context: str, reopen: Reopen | None = None, device: str = ""
    ) -> None:
        self.compute, self.device = compute, device
        self.context = context
        self.programs = Programs()
        self._reopen = reopen
        self.is_closed = False
        self._lost: errors.DeviceLost | None = None
        self._reviving = asyncio.Lock()
        self._followed: list[weakref.ref[StreamState]] = []
        self._streams = self._before = 0
        self._idle: list[StreamState] = []
        self._in_flight = asyncio.Semaphore(bounds.CALLS_IN_FLIGHT)
        self._chunks = asyncio.Semaphore(_PIPELINE)

    # --- resets -----------------------------------------------------------------------------

    def lose(self, context: str, reason: errors.DeviceLost) -> None:
        """A context was found to be lost; one that was replaced already is no news."""
        if context != self.context or self._lost is not None:
            return
        self._lost = reason
        if self._streams >= bounds.STREAMS_PER_CONTEXT:
            self._streams = 0  # numbers stay small: fences are words of a page
        self._before = self._streams
        for reference in list(self._followed):
            if (state := reference()) is not None:
                state.lose(reason)

    async def renew(self, lost: errors.DeviceLost) -> None:
        """The context is known to be lost: have another one. Raises why there is none."""
        self.lose(self.context, lost)
        await self.ready()

    @property
    def is_lost(self) -> bool:
        """Whether the next call has to begin with another context."""
        return self._lost is not None

    @asynccontextmanager
    async def watching(self, context: str) -> AsyncIterator[None]:
        """Notice where a call finds its context lost."""
        try:
            yield
        except errors.DeviceLost as lost:
            self.lose(context, lost)
            raise
        except errors.NotFound as fault:
            if self._reopen is None or context not in fault.message:
                raise
            # It ended while nobody could say so: its daemon died too, or this program slept long.
            ended = errors.DeviceLost(f"context {context} has ended", hint="call again")
            self.lose(context, ended)
            raise ended from fault

    @asynccontextmanager
    async def living(self) -> AsyncIterator[str]:
        """The name of a context that is not known to be lost, and ``watching`` it."""
        await self.ready()
        context = self.context
        async with self.watching(context):
            yield context

    async def ready(self) -> None:
        """Where the context was lost, have another one. Raises why there is none."""
        if self.is_closed:
            raise errors.WrongState(
                "the device is closed, and what was made on it is gone",
                hint="open it again: vaccel.open()",
            )
        if self._lost is None:
            return
        async with self._reviving:
            if self._lost is None:
                return  # somebody else has done it meanwhile
            await self._revive(self._lost)

    async def _revive(self, lost: errors.DeviceLost) -> None:
        if self._reopen is None:
            raise lost
        reopen, old = self._reopen, self.context
        self.context = await patiently(lambda: reopen(old), errors.DeviceLost)
        try:
            gone = await self.programs.reload(self._load, self._unload)
        except errors.DeviceLost:
            return  # and once more with the next call: this loss is a new one
        self._lost = None
        log.warning("%s; %s", lost, _named(gone))

    async def _load(self, source: ModelSource | KernelSource) -> Program:
        context = self.context
        if isinstance(source, KernelSource):
            return await patiently(lambda: self.compute.load_program(context, source))
        with source.opened() as upload:
            # A load takes its upload over, so that a repeated one begins with the upload.
            return await patiently(lambda: self._upload(context, upload))

    async def _upload(self, context: str, upload: Upload) -> Program:
        buffer = await patiently(lambda: self.compute.allocate(context, upload.size))

        async def send(index: int, at: int, count: int) -> None:
            async with self._chunks:
                chunk, place = upload.read(index, at, count), upload.place(index, at)
                await patiently(lambda: self.compute.write(context, buffer, place, chunk))

        try:
            await _all(send(*chunk) for chunk in upload.chunks())
            return await self.compute.load_program(context, upload.source(buffer))
        except BaseException:
            with contextlib.suppress(errors.DeviceLost, errors.NotFound):
                await patiently(lambda: self.compute.free(context, buffer))
            raise

    # --- what is done in it -----------------------------------------------------------------

    def stream(self) -> StreamState:
        """A new in-order stream."""
        state = StreamState(self, self.new_stream_number())
        self._followed = [known for known in self._followed if known() is not None]
        self._followed.append(weakref.ref(state))
        return state

    def new_stream_number(self) -> int:
        """The next one of the context. Raises Exhausted."""
        if self._streams - self._before >= bounds.STREAMS_PER_CONTEXT:
            raise errors.Exhausted(
                f"a context has at most {bounds.STREAMS_PER_CONTEXT} streams",
                hint="reuse one, or open the device again",
            )
        self._streams += 1
        return self._streams

    async def allocate(self, size: int) -> int:
        """A buffer of zeros; ``size`` in bytes."""
        async with self.living() as context:
            return await patiently(lambda: self.compute.allocate(context, size))

    async def free(self, buffer: int) -> None:
        """Give a buffer back."""
        async with self.living() as context:
            await patiently(lambda: self.compute.free(context, buffer))

    async def write(self, place: BufferRange, data: memoryview) -> None:
        """Any number of bytes, chunked, several chunks under way."""
        async with self.living() as context:
            await self._write(context, place, data)

    async def _write(self, context: str, place: BufferRange, data: memoryview) -> None:

        async def send(start: int) -> None:
            async with self._chunks:
                chunk = bytes(data[start : start + bounds.CHUNK_BYTES])
                at = place.offset + start
                await patiently(lambda: self.compute.write(context, place.buffer, at, chunk))

        await _all(send(start) for start in range(0, len(data), bounds.CHUNK_BYTES))

    async def read(self, place: BufferRange, length: int) -> bytearray:
        """Any number of bytes, chunked, several chunks under way."""
        data = bytearray(length)

        async def fetch(context: str, start: int) -> None:
            async with self._chunks:
                count = min(bounds.CHUNK_BYTES, length - start)
                at = place.offset + start
                data[start : start + count] = await patiently(
                    lambda: self.compute.read(context, place.buffer, at, count)
                )

        async with self.living() as context:
            await _all(fetch(context, start) for start in range(0, length, bounds.CHUNK_BYTES))
        return data

    async def load_onnx(self, model: ModelSource) -> Program:
        """Upload a model and compile it."""
        async with self.living():
            return self.programs.add(await self._load(model), model)

    async def load_kernel(self, source: KernelSource) -> Program:
        """Compile a single kernel."""
        async with self.living():
            return self.programs.add(await self._load(source), source)

    async def unload(self, program: int) -> None:
        """Forget a program."""
        async with self.living() as context:
            number = self.programs.number(program)
            await self.compute.unload_program(context, number)
            self.programs.remove(number)

    async def _unload(self, program: Program) -> None:
        await self.compute.unload_program(self.context, program.id)

    async def estimate(self, program: int, values: Mapping[str, Value]) -> Cost:
        """What a launch with such arguments would cost."""
        async with self.living() as context:
            number = self.programs.number(program)
            return await self.compute.estimate(context, number, values)

    @asynccontextmanager
    async def staged(self, values: Mapping[str, Value]) -> AsyncIterator[dict[str, Value]]:
        """Values small enough to travel in a command; the rest is put in buffers meanwhile."""
        buffers: list[int] = []
        room = bounds.INLINE_BYTES

        async def stage(value: Value) -> Value:
            nonlocal room
            if isinstance(value, Items):
                return Items(tuple([await stage(each) for each in value.values]))
            data = value.data if isinstance(value, Tensor) else None
            if not isinstance(value, Tensor) or data is None or len(data) <= room:
                room -= 0 if data is None else len(data)
                return value
            buffer = await self.allocate(len(data))
            buffers.append(buffer)
            await self.write(BufferRange(buffer), memoryview(data))
            return Tensor(value.dtype, value.shape, place=BufferRange(buffer))

        try:
            yield {name: await stage(value) for name, value in values.items()}
        finally:
            if self._lost is None:  # else they went with their context
                for buffer in buffers:
                    await self.free(buffer)

    async def run(
        self,
        stream: StreamState,
        program: int,
        values: Mapping[str, Value],
        timeout: float,
        results: Sequence[Result] = (),
    ) -> tuple[dict[str, Any], Cost]:
        """One launch from arrays to arrays; see ``binding.object_of`` for what holds arrays.

        Of ``results``, all where there are none, those with a place come back as tensors there.
        """
        await self.ready()
        async with self.staged(values) as arguments:
            number = self.programs.number(program)
            fence = await stream.run([Launch(number, arguments, tuple(results))], timeout)
            completion = stream.claim(fence)
        if completion.error is not None:
            raise completion.error
        placed = {each.name for each in results if each.place is not None}
        arrays = {
            name: value if name in placed else await self.fetch(value)
            for name, value in completion.results.items()
        }
        return arrays, completion.cost or Cost()

    async def queue(
        self, program: int, values: Mapping[str, Value], results: Sequence[Result] = ()
    ) -> tuple[dict[str, Any], Cost]:
        """As ``run``, and several at once: each in a stream that no other call is in.

        So that one which fails, or is cut short, takes no other along.
        """
        async with self._in_flight:
            stream = self._idle.pop() if self._idle else self.stream()
            try:
                return await self.run(stream, program, values, bounds.WAIT_SECONDS, results)
            finally:
                self._idle.append(stream)

    async def fetch(self, value: Value) -> Any:
        """A result as an array, or what holds arrays; the worker's buffers are given back."""
        if isinstance(value, Items):
            return [await self.fetch(each) for each in value.values]
        if isinstance(value, Tensor) and value.place is not None:
            data = await self.read(value.place, value.nbytes)
            await self.free(value.place.buffer)
            return array_of(value, memoryview(data))
        return object_of(value)

    async def close(self) -> None:
        """Free all. A peer that is gone has freed it already."""
        self.is_closed = True
        self._reopen = None
        try:
            await self.compute.close_context(self.context)
        except (errors.Unavailable, errors.NotFound, errors.DeviceLost, errors.Detached):
            return


def _named(gone: Sequence[str]) -> str:
    text = "programs were loaded again, buffers are gone"
    return f"{text}, and so is {'; '.join(gone)}" if gone else text


async def _all(work: object) -> None:
    """Run coroutines together; the first error cancels the rest and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for coroutine in work:  # type: ignore[attr-defined]
                group.create_task(coroutine)
    except BaseExceptionGroup as many:
        raise many.exceptions[0] from None
