"""The fences of one stream, as whoever submits to it counts them. Async."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from vaccel import errors
from vaccel.commands import Command, Completion
from vaccel.compute import Progress
from vaccel.patience import patiently

if TYPE_CHECKING:
    from vaccel.session import Session

T = TypeVar("T")

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
        self._left: errors.VaccelError | None = None
        self._submitting = asyncio.Lock()
        self._waiting = asyncio.Lock()

    @property
    def session(self) -> Session:
        """Whose stream it is."""
        return self._session

    @property
    def context(self) -> str:
        """The context that its fences are of."""
        return self._session.context

    def lose(self, reason: errors.DeviceLost) -> None:
        """The context was lost: its fences are followed no more, and new ones begin."""
        self._renew()
        self._left = reason

    async def submit(self, commands: Sequence[Command]) -> int:
        """Queue commands; the fence of the last one."""
        compute = self._session.compute
        async with self._submitting, self._session.living() as context:  # fences go in order
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
        compute = self._session.compute
        async with self._submitting, self._session.living() as context:
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
            # One poll a stream; others find their answer when it ends.
            async with self._waiting, self._session.watching(context):
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
            if self._left is not None:
                raise self._left
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
