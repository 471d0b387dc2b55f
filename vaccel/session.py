"""One context of a device: moves data of any size, numbers fences, and gathers completions.

Async.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from vaccel import bounds, errors
from vaccel.binding import array_of, object_of
from vaccel.commands import Command, Completion, Launch
from vaccel.compute import Compute, KernelSource, OnnxSource, Program, Progress
from vaccel.model import BufferRange, Cost, Items, Tensor, Value

T = TypeVar("T")

# Chunks of all calls under way at once: enough to hide a round trip, few enough for a quota.
_PIPELINE: Final = 8
# How long a call is tried again while the peer is away: longer than a daemon's restart takes.
_RETRY_SECONDS: Final = 20.0
# What a peer says of a submission that it looked at and did not take.
_REFUSALS: Final = (
    errors.InvalidArgument,
    errors.NotFound,
    errors.WrongState,
    errors.Exhausted,
    errors.PermissionDenied,
    errors.Unauthenticated,
    errors.Unsupported,
)


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat an idempotent call while the peer is away. Raises Unavailable after a while."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _RETRY_SECONDS
    pause = bounds.BACKOFF_FIRST_SECONDS
    while True:
        try:
            return await call()
        except errors.Unavailable:
            if loop.time() + pause > deadline:
                raise
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - jitter
            pause = min(2 * pause, bounds.BACKOFF_LAST_SECONDS)


class StreamState:
    """Fences of one stream: the next to give, and completions that nobody has claimed yet."""

    def __init__(self, session: Session, number: int) -> None:
        self._session = session
        self.number = number
        self._next = 1
        self._reached = 0
        self._seen = 0
        self._unclaimed: dict[int, Completion] = {}
        self._spent: errors.Exhausted | None = None
        self._submitting = asyncio.Lock()
        self._waiting = asyncio.Lock()

    async def submit(self, commands: Sequence[Command]) -> int:
        """Queue commands; the fence of the last one."""
        compute, context = self._session.compute, self._session.context
        async with self._submitting:  # fences reach the device in order
            first = self._next
            await self._send(lambda: compute.submit(context, self.number, first, commands))
            self._next = first + len(commands)
        return self._next - 1

    async def _send(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call that takes fences. Whatever ends it, no two commands get the same fence.

        A first attempt that was refused took none. One that was cut short (Ctrl-C, a deadline, a
        dead peer) may have taken its fences or not: the stream is left behind, and a new one goes
        on in its place.
        """
        if self._spent is not None:
            raise self._spent
        attempts = 0

        def attempt() -> Awaitable[T]:
            nonlocal attempts
            attempts += 1
            return call()

        try:
            return await patiently(attempt)
        except BaseException as fault:
            if attempts > 1 or not isinstance(fault, _REFUSALS):
                self._renew()
            raise

    def _renew(self) -> None:
        try:
            self.number = self._session.new_stream_number()
        except errors.Exhausted as fault:
            self.number, self._spent = 0, fault  # for the next submission; this one has its error
        self._next, self._reached, self._seen = 1, 0, 0
        self._unclaimed.clear()

    async def run(self, commands: Sequence[Command], timeout: float) -> int:
        """Queue commands and wait for the last, in one trip; its fence. Raises TimedOut."""
        compute, context = self._session.compute, self._session.context
        async with self._submitting:
            number, first, seen = self.number, self._next, self._seen
            last = first + len(commands) - 1

            async def run() -> Progress | errors.TimedOut:
                try:
                    return await compute.run(context, number, first, commands, timeout, seen)
                except errors.TimedOut as late:
                    # Mostly the wait that took too long; only asking again tells it from a
                    # submission that never arrived. Those that were taken are passed over.
                    await compute.submit(context, number, first, commands)
                    return late

            progress = await self._send(run)
            self._next = last + 1
        if isinstance(progress, errors.TimedOut):
            raise progress
        self._take(progress)
        if self._seen < last:  # more completions than one reply holds
            await self.wait(last, timeout)
        return last

    def _take(self, progress: Progress) -> None:
        self._reached = max(self._reached, progress.reached)
        for completion in progress.completions:
            if completion.fence > self._seen:
                self._unclaimed[completion.fence] = completion
                self._seen = completion.fence

    async def wait(self, fence: int, timeout: float, number: int | None = None) -> None:
        """Until a fence is reached and its completion is here. Raises TimedOut.

        ``number`` is the stream's when the fence was given: Unavailable where that was left behind.
        """
        compute, context = self._session.compute, self._session.context
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        number = self.number if number is None else number
        self.check(number)
        while self._seen < fence:
            async with self._waiting:  # one poll a stream; others find their answer when it ends
                self.check(number)
                if self._seen >= fence:
                    return
                left = max(0.0, deadline - loop.time())
                progress = await patiently(
                    lambda left=left: compute.wait(  # type: ignore[misc]
                        context, number, fence, left, self._seen
                    )
                )
                self.check(number)
                self._take(progress)

    def check(self, number: int) -> None:
        """Raise Unavailable where the fences of a stream number are no longer followed."""
        if number != self.number:
            raise errors.Unavailable(
                f"stream {number} was left behind when a submission to it was cut short",
                hint="its commands may have run or not; submit again",
            )

    def claim(self, fence: int, number: int | None = None) -> Completion:
        """The completion of a command that was waited for. Each is given once."""
        self.check(self.number if number is None else number)
        completion = self._unclaimed.pop(fence, None)
        if completion is None:
            raise errors.WrongState(
                f"the completion of fence {fence} was taken already", hint="keep what wait() gave"
            )
        return completion

    @property
    def reached(self) -> int:
        """The highest fence known to be reached."""
        return self._reached


class Session:
    """A context and what is done in it."""

    def __init__(self, compute: Compute, context: str) -> None:
        self.compute = compute
        self.context = context
        self._streams = 0
        self._idle: list[StreamState] = []
        self._in_flight = asyncio.Semaphore(bounds.CALLS_IN_FLIGHT)
        self._chunks = asyncio.Semaphore(_PIPELINE)

    def stream(self) -> StreamState:
        """A new in-order stream."""
        return StreamState(self, self.new_stream_number())

    def new_stream_number(self) -> int:
        """The next one of the context. Raises Exhausted."""
        if self._streams >= bounds.STREAMS_PER_CONTEXT:
            raise errors.Exhausted(
                f"a context has at most {bounds.STREAMS_PER_CONTEXT} streams",
                hint="reuse one, or open the device again",
            )
        self._streams += 1
        return self._streams

    async def allocate(self, size: int) -> int:
        """A buffer of zeros; ``size`` in bytes."""
        return await patiently(lambda: self.compute.allocate(self.context, size))

    async def free(self, buffer: int) -> None:
        """Give a buffer back."""
        await patiently(lambda: self.compute.free(self.context, buffer))

    async def write(self, place: BufferRange, data: memoryview) -> None:
        """Any number of bytes, chunked, several chunks under way."""

        async def send(start: int) -> None:
            async with self._chunks:
                chunk = bytes(data[start : start + bounds.CHUNK_BYTES])
                at = place.offset + start
                await patiently(lambda: self.compute.write(self.context, place.buffer, at, chunk))

        await _all(send(start) for start in range(0, len(data), bounds.CHUNK_BYTES))

    async def read(self, place: BufferRange, length: int) -> bytearray:
        """Any number of bytes, chunked, several chunks under way."""
        data = bytearray(length)

        async def fetch(start: int) -> None:
            async with self._chunks:
                count = min(bounds.CHUNK_BYTES, length - start)
                at = place.offset + start
                data[start : start + count] = await patiently(
                    lambda: self.compute.read(self.context, place.buffer, at, count)
                )

        await _all(fetch(start) for start in range(0, length, bounds.CHUNK_BYTES))
        return data

    async def load_onnx(self, model: memoryview) -> Program:
        """Upload a model and compile it."""
        buffer = await self.allocate(len(model))
        try:
            await self.write(BufferRange(buffer), model)
            source = OnnxSource(buffer, 0, len(model))
            return await patiently(lambda: self.compute.load_program(self.context, source))
        finally:
            await self.free(buffer)

    async def load_kernel(self, source: KernelSource) -> Program:
        """Compile a single kernel."""
        return await patiently(lambda: self.compute.load_program(self.context, source))

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
            for buffer in buffers:
                await self.free(buffer)

    async def run(
        self, stream: StreamState, program: int, values: Mapping[str, Value], timeout: float
    ) -> tuple[dict[str, Any], Cost]:
        """One launch from arrays to arrays; see ``binding.object_of`` for what holds arrays."""
        async with self.staged(values) as arguments:
            fence = await stream.run([Launch(program, arguments)], timeout)
            completion = stream.claim(fence)
        if completion.error is not None:
            raise completion.error
        arrays = {n: await self.fetch(v) for n, v in completion.results.items()}
        return arrays, completion.cost or Cost()

    async def queue(
        self, program: int, values: Mapping[str, Value]
    ) -> tuple[dict[str, Any], Cost]:
        """As ``run``, and several at once: each in a stream that no other call is in.

        So that one which fails, or is cut short, takes no other along.
        """
        async with self._in_flight:
            stream = self._idle.pop() if self._idle else self.stream()
            try:
                return await self.run(stream, program, values, bounds.WAIT_SECONDS)
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
        try:
            await self.compute.close_context(self.context)
        except (errors.Unavailable, errors.NotFound, errors.DeviceLost, errors.Detached):
            return


async def _all(work: object) -> None:
    """Run coroutines together; the first error cancels the rest and is raised as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            for coroutine in work:  # type: ignore[attr-defined]
                group.create_task(coroutine)
    except BaseExceptionGroup as many:
        raise many.exceptions[0] from None
