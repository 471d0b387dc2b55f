"""Streams: in-order queues of commands, their fences, and the completions that wait to be fetched.

A stream decides nothing about *when*: the engine asks for its head, does it, and tells the stream
what became of it. What is kept is bounded: commands by number, data on its way by device memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from host_daemon.worker.memory import DeviceMemory
from host_daemon.worker.waits import Mark
from vaccel import bounds
from vaccel.commands import Command, Completion, Launch, Signal, Store, WaitFence
from vaccel.compute import Progress
from vaccel.errors import Cancelled, Exhausted, InvalidArgument, TimedOut, VaccelError
from vaccel.model import Strings, Tensor, Value, leaves

# Commands whose data is not worth counting: a queue of them is bounded by number already.
_UNCOUNTED_BYTES = 256


@dataclass(slots=True)
class Submission:
    """Commands that came together: the first that fails cancels the rest."""

    failed: int = 0
    error: VaccelError | None = None
    # Who is told of each completion, which is then not kept to be waited for.
    sink: Callable[[Completion], None] | None = None


@dataclass(frozen=True, slots=True)
class Queued:
    """A command in its stream. ``held`` bytes of device memory are reserved for its data; a
    ``WaitFence`` waits for ``mark``.
    """

    fence: int
    command: Command
    submission: Submission
    held: int
    mark: Mark | None = None


class Stream:
    """One stream of a context. Belongs to the event loop."""

    def __init__(
        self,
        number: int,
        memory: DeviceMemory,
        on_reached: Callable[[int, int], None] = lambda _stream, _fence: None,
    ) -> None:
        self.number = number
        self._on_reached = on_reached
        self.accepted = 0
        self.mark = Mark()
        self._parked_at: Mark | None = None
        self._memory = memory
        self._queue: deque[Queued] = deque()
        self._completions: deque[tuple[Completion, int]] = deque()
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def reached(self) -> int:
        """The last fence that is reached."""
        return self.mark.reached

    @property
    def closed(self) -> VaccelError | None:
        """Why it takes no more commands; None while it does."""
        return self.mark.closed

    @property
    def head(self) -> Queued | None:
        """The next command to do."""
        return self._queue[0] if self._queue else None

    @property
    def room(self) -> int:
        """Null commands that it would accept now."""
        queued = len(self._queue)
        kept = queued + len(self._completions)
        return min(bounds.COMMANDS_QUEUED - queued, bounds.COMPLETIONS_KEPT - kept)

    def submit(
        self,
        first_fence: int,
        commands: Sequence[Command],
        sink: Callable[[Completion], None] | None = None,
        marks: Mapping[int, Mark] | None = None,
    ) -> int:
        """Accept commands; those accepted before are passed over. All are accepted, or none.

        Returns how many are new. ``marks`` are those of ``waits.marks_of``.

        Raises InvalidArgument for a gap before ``first_fence``, Exhausted where a queue is full.
        """
        if not 1 <= first_fence <= self.accepted + 1:
            raise InvalidArgument(
                f"stream {self.number}: first fence {first_fence}, expected {self.accepted + 1}",
                hint="number commands without gaps, starting at 1",
            )
        new = commands[self.accepted + 1 - first_fence :]
        if len(self._queue) + len(new) > bounds.COMMANDS_QUEUED:
            raise Exhausted(
                f"stream {self.number}: {len(self._queue)} commands are queued, and"
                f" {bounds.COMMANDS_QUEUED} is the most",
                hint="wait for some of them",
            )
        if len(self._queue) + len(self._completions) + len(new) > bounds.COMPLETIONS_KEPT:
            raise Exhausted(
                f"stream {self.number}: {len(self._completions)} completions are unacknowledged,"
                f" and {bounds.COMPLETIONS_KEPT} is the most",
                hint="wait, and acknowledge what has arrived",
            )
        sizes = [_data_bytes(command) for command in new]
        self._memory.reserve(sum(sizes), "data of the submission")
        submission = Submission(sink=sink)
        for command, held in zip(new, sizes, strict=True):
            self.accepted += 1
            mark = marks.get(self.accepted) if marks else None
            self._queue.append(Queued(self.accepted, command, submission, held, mark))
        return len(new)

    def pass_over(self, first_fence: int, count: int) -> bool:
        """Reach the next fences without commands, where none is queued; whether it was done."""
        if self._queue or first_fence != self.accepted + 1 or self.closed is not None:
            return False
        self.accepted += count
        self._reach(self.accepted)
        return True

    def _reach(self, fence: int) -> None:
        self.mark.reached = fence
        self._on_reached(self.number, fence)
        if self._waiters or self.mark.parked:
            self._tell()

    def holds(self, wake: Callable[[], None]) -> bool:
        """Whether the head waits for what is not reached; ``wake`` is called when to look again."""
        head = self._queue[0]
        if not isinstance(head.command, WaitFence) or head.mark is None:
            return False
        if head.mark.settled(head.command.fence):
            return False
        head.mark.parked[self] = (head.command.fence, wake)
        self._parked_at = head.mark
        return True

    def check_fences(self, first_fence: int, commands: Sequence[Command]) -> None:
        """Raise InvalidArgument for a Signal that names another point than its own."""
        for fence, command in enumerate(commands, first_fence):
            if isinstance(command, Signal) and (command.stream, command.fence) != (
                self.number,
                fence,
            ):
                raise InvalidArgument(
                    f"signal at stream {self.number} fence {fence} names stream {command.stream}"
                    f" fence {command.fence}",
                    hint="a signal names its own stream and fence",
                )

    def skip_poisoned(self) -> bool:
        """Cancel the head if an earlier command of its submission failed."""
        head = self.head
        if head is None or head.submission.error is None:
            return False
        failed = head.submission
        self.complete(
            Completion(
                head.fence,
                Cancelled(
                    f"command {head.fence} of stream {self.number} was not run: command"
                    f" {failed.failed} failed: {failed.error}"
                ),
            )
        )
        return True

    def complete(self, completion: Completion, held: int = 0) -> None:
        """The head is done; ``held`` bytes of device memory are reserved for its results."""
        done = self._queue.popleft()
        self._memory.release(done.held)
        submission = done.submission
        if completion.error is not None and submission.error is None:
            submission.failed = done.fence
            submission.error = completion.error
        if submission.sink is None:
            self._completions.append((completion, held))
        else:
            # Before the fence is seen to be reached, so that its error is there by then.
            self._memory.release(held)
            submission.sink(completion)
        self._reach(done.fence)

    async def wait(self, fence: int, timeout: float, acknowledged: int) -> Progress:
        """As ``Compute.wait`` says."""
        if not 0 <= fence <= self.accepted:
            raise InvalidArgument(
                f"stream {self.number}: fence {fence} is from the future, {self.accepted} is the"
                " last that was submitted",
                hint="submit before waiting",
            )
        self._acknowledge(min(acknowledged, self.reached))
        if self.reached < fence:
            await self._until(fence, timeout)
        return Progress(self.reached, tuple(self._deliverable()))

    def close(self, reason: VaccelError) -> None:
        """Drop what is queued and kept; whoever waits gets the reason."""
        self.mark.closed = reason
        if self._parked_at is not None:
            self._parked_at.parked.pop(self, None)
        self._memory.release(sum(queued.held for queued in self._queue))
        self._memory.release(sum(held for _, held in self._completions))
        self._queue.clear()
        self._completions.clear()
        for _, future in self._waiters:
            if not future.done():
                future.set_exception(reason)
        self._waiters.clear()
        self.mark.wake()

    def _acknowledge(self, fence: int) -> None:
        while self._completions and self._completions[0][0].fence <= fence:
            _, held = self._completions.popleft()
            self._memory.release(held)

    async def _until(self, fence: int, timeout: float) -> None:
        future = asyncio.get_running_loop().create_future()
        entry = (fence, future)
        self._waiters.append(entry)
        try:
            async with asyncio.timeout(min(max(timeout, 0.0), bounds.WAIT_SECONDS)):
                await future
        except TimeoutError:
            raise TimedOut(
                f"stream {self.number} has reached fence {self.reached}, not {fence}, after"
                f" {timeout:g} s",
                hint="wait again; the work goes on",
            ) from None
        finally:
            if entry in self._waiters:
                self._waiters.remove(entry)

    def _deliverable(self) -> list[Completion]:
        """Completions from the oldest on, as many as one reply may carry."""
        found: list[Completion] = []
        data = 0
        for completion, _ in self._completions:
            data += values_bytes(completion.results)
            if len(found) >= bounds.COMMANDS_PER_SUBMIT or (found and data > bounds.INLINE_BYTES):
                break
            found.append(completion)
        return found

    def _tell(self) -> None:
        for fence, future in self._waiters:
            if fence <= self.reached and not future.done():
                future.set_result(None)
        self.mark.wake()


def values_bytes(values: Mapping[str, Value]) -> int:
    """Bytes of data that values carry themselves."""
    return sum(value_bytes(value) for value in values.values())


def value_bytes(value: Value) -> int:
    """Bytes of data that a value carries itself."""
    return sum(map(_leaf_bytes, leaves(value)))


def _leaf_bytes(leaf: Tensor | Strings) -> int:
    if isinstance(leaf, Strings):
        return sum(len(item.encode()) + 8 for item in leaf.items)
    return 0 if leaf.data is None else len(leaf.data)


def _data_bytes(command: Command) -> int:
    match command:
        case Store(data=data):
            size = len(data)
        case Launch(arguments=arguments):
            size = values_bytes(arguments)
        case _:
            size = 0
    return size if size > _UNCOUNTED_BYTES else 0
