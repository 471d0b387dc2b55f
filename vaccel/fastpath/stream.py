"""A stream whose commands go straight from the caller's thread into the rings, and back.

Null commands and recordings are descriptors of their own and complete by a fence; other commands
travel as a submission in the slab, and their completions are fetched when they are waited for.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from vaccel import bounds, forks
from vaccel.aperture.descriptors import TOO_LARGE, Op
from vaccel.commands import Command, Completion, Nop
from vaccel.errors import DeviceLost, Exhausted, InvalidArgument, Unavailable, WrongState
from vaccel.fastpath.pace import pause
from vaccel.fastpath.piece import Piece
from vaccel.fastpath.poller import poller
from vaccel.fastpath.queue import AppQueue
from vaccel.rpc import ring_calls
from vaccel.session import Session
from vaccel.stream import Fence, Stream
from vaccel.stream_state import StreamState

if TYPE_CHECKING:
    from vaccel.client import Device

_ALL_NOPS = frozenset({Nop})


class FastState(StreamState):
    """Fences of one stream of a queue pair. Its calls block; any thread may make them."""

    def __init__(self, session: Session, number: int, queue: AppQueue) -> None:
        super().__init__(session, number)
        self.queue = queue
        self._context = session.context
        self._lock = threading.Lock()
        self._fetched: dict[int, Completion] = {}
        self._general: set[int] = set()
        self._acknowledged = 0
        forks.follow(self)

    def forked(self) -> None:
        """See ``forks.Follower``."""
        self._lock = threading.Lock()

    @property
    def context(self) -> str:
        """See ``StreamState``; that of the queue pair, also where another took its place."""
        return self._context

    def check(self, number: int) -> None:
        """See ``StreamState``. Raises why the queue pair is dead."""
        if self.queue.dead is not None:
            raise self.queue.dead
        super().check(number)

    @property
    def reached(self) -> int:
        """The fence that is reached now: one load of a shared word."""
        return self.queue.fence(self.number)

    def post(self, commands: Sequence[Command]) -> int:
        """Queue commands, in one doorbell; the fence of the last one."""
        with self._lock:
            first = self._next
            if {type(one) for one in commands} == _ALL_NOPS:
                self._post_nops(first, len(commands))
            else:
                payload = ring_calls.to_submission(self.number, first, commands)
                _request(self.queue, Op.SUBMIT, payload)
                self._general.update(range(first, first + len(commands)))
            self._next = first + len(commands)
            return self._next - 1

    def nop(self) -> int:
        """Queue a null command; its fence."""
        with self._lock:
            fence = self._next
            try:
                self.queue.nop(self.number, fence)
            except Exhausted:
                _patiently(self.queue, lambda: self.queue.nop(self.number, fence))
            self._next = fence + 1
        return fence

    def _post_nops(self, first: int, count: int) -> None:
        step = bounds.DESCRIPTORS_PER_TURN
        for start in range(first, first + count, step):
            some = min(step, first + count - start)
            _patiently(
                self.queue,
                lambda s=start, n=some: self.queue.nops(self.number, s, n),  # type: ignore[misc]
            )

    def replay(self, recording: int, count: int) -> int:
        """Run a recording of so many commands; the fence of the last one."""
        with self._lock:
            first = self._next
            _patiently(self.queue, lambda: self.queue.replay(recording, self.number, first))
            self._next = first + count
            return self._next - 1

    def result(self, fence: int, timeout: float) -> Completion:
        """Until a fence is reached; its completion, each given once. Raises its error."""
        queue, number = self.queue, self.number
        # Made while the worker is at it, not after.
        done = Completion(fence)
        queue.wait_fence(number, fence, timeout)
        if queue.faults and (error := queue.faults.pop((number, fence), None)) is not None:
            raise error
        if fence not in self._general:
            return done
        with self._lock:
            if fence not in self._fetched:
                self._fetch(fence, timeout)
            self._general.discard(fence)
            done = self._fetched.pop(fence)
        if done.error is not None:
            raise done.error
        return done

    def is_general(self, fence: int) -> bool:
        """Whether the completion of a fence holds more than that it is reached."""
        return fence in self._general

    def _fetch(self, fence: int, timeout: float) -> None:
        end = time.monotonic() + timeout
        while fence not in self._fetched:
            left = max(0.0, end - time.monotonic())
            wait = ring_calls.to_wait(self.number, fence, left, self._acknowledged)
            progress = ring_calls.progress_of_reply(_request(self.queue, Op.WAIT, wait))
            for completion in progress.completions:
                if completion.fence > self._acknowledged:
                    self._fetched[completion.fence] = completion
                    self._acknowledged = completion.fence


class FastStream(Stream):
    """See ``vaccel.stream.Stream``."""

    def __init__(self, device: Device, state: FastState) -> None:
        super().__init__(device, state)
        self._fast = state

    def submit(self, *commands: Command) -> Fence:
        """See ``Stream``."""
        if self._fast.queue.dead is not None and not self._renewed():
            return super().submit(*commands)
        if len(commands) == 1 and type(commands[0]) is Nop:
            return FastFence(self._fast, self._fast.nop())
        if not commands:
            raise InvalidArgument("submit: no commands", hint="give at least one")
        return FastFence(self._fast, self._fast.post(commands))

    def _renewed(self) -> bool:
        """After a reset the stream goes on in the context that took the old one's place, and in
        another queue pair where the lender of the old one had gone, or it was broken. Whether there
        is one: without, it goes on by gRPC.
        """
        dead, queue = self._fast.queue.dead, self._device._queue
        if not isinstance(dead, (DeviceLost, Unavailable, WrongState)):
            raise dead or Unavailable("the device has no queue pair any more")
        session = self._device._session
        if queue is not None:
            self._state = self._fast = FastState(session, session.new_stream_number(), queue)
        elif self._state is self._fast:
            self._state = session.stream()
        return queue is not None

    def fence(self, value: int) -> Fence:
        """See ``Stream``."""
        if self._state is not self._fast:
            return super().fence(value)
        return FastFence(self._fast, value)

    def record(self, *commands: Command) -> Recording:
        """Record commands once, to be replayed with one descriptor as often as is wanted.

        Launches name all their results and a place for each.
        """
        dead = self._fast.queue.dead
        if dead is not None and not self._renewed():
            raise dead
        queue, payload = self._fast.queue, ring_calls.to_recording(commands)
        place = queue.allocate(len(payload))
        queue.window.bytes[place : place + len(payload)] = payload
        try:
            done = queue.call(Op.RECORD, (place, len(payload), 0, 0))
        finally:
            queue.free(place)
        return Recording(self._fast, done.value, len(commands))


class FastFence(Fence):
    """See ``vaccel.stream.Fence``. A fence is a shared word: to look at it asks nobody."""

    def __init__(self, state: FastState, value: int) -> None:
        # Not by the base's own: this is the hottest path there is.
        self._state = self._fast = state
        self._number = state.number
        self.value = value

    def wait(self, timeout: float = bounds.WAIT_SECONDS) -> Completion:
        """See ``Fence``."""
        return self._fast.result(self.value, timeout)

    async def _wait(self) -> Completion:
        fast = self._fast
        await poller().settled(fast.queue, self._number, self.value)
        if fast.is_general(self.value):  # its completion is still to be asked for
            return await asyncio.to_thread(fast.result, self.value, bounds.WAIT_SECONDS)
        return fast.result(self.value, bounds.WAIT_SECONDS)


class Recording:
    """A recorded sequence of commands."""

    def __init__(self, state: FastState, number: int, count: int) -> None:
        self._state, self._number, self._count = state, number, count

    def __len__(self) -> int:
        return self._count

    def replay(self) -> FastFence:
        """Run it; the fence of its last command. Raises WrongState once it is forgotten."""
        if not self._number:
            raise WrongState("this recording was forgotten", hint="record it again")
        return FastFence(self._state, self._state.replay(self._number, self._count))

    def forget(self) -> None:
        """Free its place in the worker."""
        number, self._number = self._number, 0
        if number:
            self._state.queue.call(Op.FORGET, (number, 0, 0, 0))


def _patiently(queue: AppQueue, post: Callable[[], None]) -> None:
    """Post as soon as the ring has room."""
    start = time.monotonic()
    while True:
        try:
            return post()
        except Exhausted:
            queue.reap()
            time.sleep(pause(time.monotonic() - start))


def _request(queue: AppQueue, op: Op, payload: bytes) -> bytes:
    """A call in the slab, and its reply. Raises its error."""
    room = 2 * bounds.INLINE_BYTES
    with Piece(queue, room + len(payload)) as piece:
        piece.put(room, payload)
        done = piece.ask(op, (piece.offset + room, len(payload), piece.offset, room))
        if done.error is not None:
            raise done.error
        if done.value == TOO_LARGE:
            raise Exhausted(
                f"a reply of {Op(op).name} has no room in {room} bytes",
                hint="give results a place in device memory, and read them from there",
            )
        return piece.get(0, min(done.value, room))
