"""One queue pair as the worker sees it: descriptors in, commands and calls to the executor, and
completions out.

Everything in it is hostile. A descriptor is copied once and the copy is checked; what it points to
in the slab is copied before anything parses it; data goes between slab and device memory by copies
that no kernel runs beside. A ring whose index jumps breaks this queue and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from host_daemon.worker.calls import serve_call
from host_daemon.worker.contexts import Context, QueueTotals
from host_daemon.worker.executor import Executor
from host_daemon.worker.memory import Bytes, check_range
from host_daemon.worker.numbers import Numbers
from vaccel import bounds, commands
from vaccel.aperture import layout, ring
from vaccel.aperture.descriptors import DESCRIPTOR, TOO_LARGE, Completion, Op
from vaccel.aperture.journal import ACCEPTED, REACHED, SQ_HEAD, QueueJournal
from vaccel.aperture.window import Window
from vaccel.compute import Lease
from vaccel.errors import (
    Exhausted,
    Internal,
    InvalidArgument,
    NotFound,
    TimedOut,
    VaccelError,
    WrongState,
)
from vaccel.rpc import ring_calls

log = logging.getLogger(__name__)

Fields = tuple[int, int, int, int, int, int, int, int, int]
_NOP: Final = commands.Nop()
# Ops whose errors travel whole, as their reply.
_CALLS: Final = frozenset({*ring_calls.CALLS, Op.CALL})
# What a request that makes no sense ends with, found when it is read and not before.
_REFUSALS: Final = (InvalidArgument, NotFound)


@dataclass(frozen=True, slots=True)
class Recording:
    """Commands that were copied and checked once. ``idle``: none of them does anything."""

    commands: tuple[commands.Command, ...]
    idle: bool


class Queue:
    """A queue pair that is lent to a context, ``after`` another one. Belongs to the event loop."""

    def __init__(
        self,
        executor: Executor,
        context: Context,
        window: Window,
        lease: Lease,
        totals: QueueTotals,
        journal: QueueJournal,
        after: str = "",
    ) -> None:
        self._executor, self._context = executor, context
        self._journal = journal
        self._window, self.lease, self._totals = window, lease, totals
        self.after = after
        self._base = layout.queue_offset(lease.queue) // layout.WORD
        self._fences = self._base + layout.FENCES.word
        self._recordings: dict[int, Recording] = {}
        self._recorded = Numbers("recording", context.epoch)
        self._tasks: set[asyncio.Task[None]] = set()
        # Completions that may yet be posted: room is kept for each, so that none is ever lost.
        self._owed = 0
        self.broken = False
        ring.clear(window.bytes, lease.queue)
        journal.lend(context.name, lease, after)
        self._taker = ring.Consumer(window.bytes, window.words, ring.submission(lease.queue))
        self._poster = ring.Producer(window.bytes, window.words, ring.completion(lease.queue))
        for number, stream in context.streams.items():
            self.accepted(number, stream.accepted)
            self.reached(number, stream.reached)

    def reached(self, stream: int, fence: int) -> None:
        """A stream has reached a fence: publish it."""
        if stream < layout.FENCE_WORDS:
            self._journal.words[REACHED + stream] = fence
            self._window.words[self._fences + stream] = fence

    def accepted(self, stream: int, fence: int) -> None:
        """Commands up to a fence were taken. Null commands are written down before their turn."""
        words, at = self._journal.words, ACCEPTED + stream
        if stream < layout.FENCE_WORDS and words[at] < fence:
            words[at] = fence

    @property
    def busy(self) -> bool:
        """Whether anything that was asked for is under way."""
        return bool(self._tasks or self._owed)

    async def close(self) -> None:
        """Stop everything, and return when nothing of it touches the slab any more."""
        self.broken = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def lose(self) -> None:
        """The context is about to end by a reset: its app sees that all of it is lost."""
        self.broken = True
        self._tell(layout.LOST)

    def _tell(self, state: int) -> None:
        self._window.words[self._base + layout.QUEUE_STATE.word] = state

    def serve(self) -> int:
        """Take descriptors and start what they ask for; how many were taken."""
        if self.broken:
            return 0
        try:
            room = self._poster.room - self._owed
            first = self._taker.head
            raw = self._taker.copy(min(room, bounds.DESCRIPTORS_PER_TURN)) if room > 0 else b""
        except WrongState as fault:
            self._break(fault)
            return 0
        if not raw:
            return 0
        taken: list[Fields] = list(DESCRIPTOR.iter_unpack(raw))
        slots = self._write_down(first, taken)
        self._taker.publish()
        self._totals.descriptors += len(taken)
        self._dispatch(taken, slots)
        return len(taken)

    def _write_down(self, first: int, taken: list[Fields]) -> list[int]:
        """Into the journal, before the app may take them for accepted; the slot of each."""
        journal, slots = self._journal, []
        for index, (op, flags, tag, stream, fence, *_) in enumerate(taken, first):
            if op != Op.NOP or flags:
                slots.append(journal.take(index, op, tag, stream, fence))
                continue
            slots.append(-1)  # its stream's fence says what became of it
            self.accepted(stream, fence)
        journal.words[SQ_HEAD] = first + len(taken)
        return slots

    def _dispatch(self, taken: list[Fields], slots: list[int]) -> None:
        index = 0
        while index < len(taken):
            fields = taken[index]
            if slots[index] >= 0:
                self._one(fields, slots[index])
                index += 1
                continue
            # Null commands of one stream in order are one submission.
            end = index + 1
            stream, fence = fields[3], fields[4]
            while (
                end < len(taken)
                and slots[end] < 0
                and taken[end][3:5] == (stream, fence + end - index)
            ):
                end += 1
            self._nops(fields, end - index, -1)
            index = end

    def _one(self, fields: Fields, slot: int) -> None:
        op, flags, tag, stream, fence, *_ = fields
        try:
            if flags:
                raise InvalidArgument(f"descriptor: flags {flags:#x}, 0 expected")
            match op:
                case Op.REPLAY:
                    self._replay(fields, slot)
                case Op.RECORD:
                    self._post(Completion(op, tag, stream, fence, self._record(fields)), slot)
                case Op.FORGET:
                    if self._recordings.pop(fields[5], None) is None:
                        raise self._recorded.unknown(fields[5])
                    self._post(Completion(op, tag, stream, fence), slot)
                case Op.WRITE | Op.READ:
                    self._transfer(fields, slot)
                case _ if op in _CALLS:
                    self._call(fields, slot)
                case _:
                    raise InvalidArgument(f"descriptor: op {op} is none of this layout")
        except VaccelError as error:
            self._totals.malformed += 1
            self._post(Completion(op, tag, stream, fence, error=error), slot)

    # --- commands of streams ----------------------------------------------------------------

    def _nops(self, fields: Fields, count: int, slot: int) -> None:
        if self._executor.pass_nops(self._context, fields[3], fields[4], count):
            self._journal.settle(slot)
        else:
            self._submit(fields, [_NOP] * count, slot)

    def _submit(self, fields: Fields, queued: list[commands.Command], slot: int) -> None:
        """Commands that complete by their fence; only the first error of them is told."""
        op, _, tag, stream, fence, *_ = fields
        told = False
        left = 0

        def promised(count: int) -> None:
            nonlocal left
            left = count
            self._owed += bool(count)
            if not count:
                self._journal.settle(slot)

        def sink(completion: commands.Completion) -> None:
            nonlocal told, left
            left -= 1
            if not left:
                self._owed -= 1
            if completion.error is not None and not told:
                told = True
                found = Completion(op, tag, stream, completion.fence, error=completion.error)
                self._post(found, slot)
            elif not left and not told:
                self._journal.settle(slot)

        try:
            self._executor.accept(self._context, stream, fence, queued, sink, promised)
        except VaccelError as error:
            self._totals.malformed += 1
            self._post(Completion(op, tag, stream, fence, error=error), slot)

    def _replay(self, fields: Fields, slot: int) -> None:
        found = self._recordings.get(fields[5])
        if found is None:
            raise self._recorded.unknown(fields[5])
        if found.idle:
            self._nops(fields, len(found.commands), slot)
        else:
            self._submit(fields, list(found.commands), slot)

    def _record(self, fields: Fields) -> int:
        if len(self._recordings) >= bounds.RECORDINGS_PER_QUEUE:
            raise Exhausted(
                f"queue holds {bounds.RECORDINGS_PER_QUEUE} recordings, the most there can be",
                hint="forget some",
            )
        payload = self._copy(fields[5], fields[6])
        made = ring_calls.recording_of(payload)
        idle = all(isinstance(command, commands.Nop) for command in made)
        number = self._recorded.next()
        self._recordings[number] = Recording(made, idle)
        return number

    # --- data -------------------------------------------------------------------------------

    def _transfer(self, fields: Fields, slot: int) -> None:
        op, _, tag, stream, fence, slab, buffer, offset, length = fields
        self.check(slab, length)
        found = self._context.buffers.find(buffer)
        check_range(found, offset, length, "write" if op == Op.WRITE else "read")

        def copy(array: Bytes) -> None:
            # A view of the moment: the window can be unmapped once none is left.
            staged = np.frombuffer(self._window.bytes, np.uint8, length, slab)
            inside = array[offset : offset + length]
            if op == Op.WRITE:
                np.copyto(inside, staged)
            else:
                np.copyto(staged, inside)

        if length <= bounds.CHUNK_BYTES and not found.pinned:
            copy(found.array)
            self._post(Completion(op, tag, stream, fence, length), slot)
            return

        async def work() -> int:
            # Cancelled or not, the slab is this queue's until the copy has ended.
            task = asyncio.ensure_future(self._executor.transfer(self._context, buffer, copy))
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                await asyncio.wait({task})
                raise
            return length

        self._start(fields, slot, work())

    # --- calls ------------------------------------------------------------------------------

    def _call(self, fields: Fields, slot: int) -> None:
        op, _, _, _, _, place, length, reply, capacity = fields
        payload = self._copy(place, length)
        self.check(reply, capacity)

        async def work() -> int:
            if op == Op.CALL:
                call = serve_call(self._executor, self._context, payload, self)
            else:
                call = ring_calls.answer(self._executor, Op(op), self._context.name, payload)
            return self._reply(await call, reply, capacity)

        self._start(fields, slot, work())

    def fetch(self, place: int, length: int) -> bytes:
        """A copy of a piece of the slab. Raises InvalidArgument where it is not in it."""
        self.check(place, length)
        return bytes(self._window.bytes[place : place + length])

    def put(self, place: int, data: bytes | memoryview) -> None:
        """Put bytes into the slab. Raises InvalidArgument where they do not fit into it."""
        self.check(place, len(data))
        if not self.broken:
            self._window.bytes[place : place + len(data)] = data

    def _start(self, fields: Fields, slot: int, work: Coroutine[Any, Any, int]) -> None:
        self._owed += 1
        task = asyncio.create_task(self._finish(fields, slot, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(
        self, fields: Fields, slot: int, work: Coroutine[Any, Any, int]
    ) -> None:
        op, _, tag, stream, fence, _, _, reply, capacity = fields
        value = 0
        fault: VaccelError | None = None
        try:
            async with asyncio.timeout(bounds.WAIT_SECONDS):
                value = await work
        except VaccelError as error:
            fault = error
        except TimeoutError:
            fault = TimedOut(f"{Op(op).name} took more than {bounds.WAIT_SECONDS:g} s")
        except Exception as bug:  # the border: what is not ours is a bug, and says so
            log.exception("bug in %s", Op(op).name)
            fault = Internal(f"{Op(op).name}: {bug!r}")
        finally:
            self._owed -= 1
        self._totals.malformed += isinstance(fault, _REFUSALS)
        if fault is not None and op in _CALLS:
            value = self._reply(ring_calls.encode_error(fault), reply, capacity)
        self._post(Completion(op, tag, stream, fence, value, fault), slot)

    def _reply(self, data: bytes, place: int, capacity: int) -> int:
        if len(data) > capacity:
            return TOO_LARGE
        if not self.broken:
            self._window.bytes[place : place + len(data)] = data
        return len(data)

    # --- the slab and the rings -------------------------------------------------------------

    def _copy(self, place: int, length: int) -> bytes:
        if length > bounds.MESSAGE_BYTES:
            raise InvalidArgument(
                f"a request of {length} bytes is more than {bounds.MESSAGE_BYTES}",
                hint="write large tensors to buffers first",
            )
        return self.fetch(place, length)

    def check(self, place: int, length: int) -> None:
        """Raise InvalidArgument where a piece of the window is not in the slab."""
        start = self.lease.slab_offset
        if place < start or place + length > start + self.lease.slab_bytes:
            raise InvalidArgument(
                f"descriptor: bytes {place} to {place + length} of the window are outside the slab"
                f" from {start} to {start + self.lease.slab_bytes}"
            )

    def _post(self, completion: Completion, slot: int) -> None:
        if self.broken:
            return
        try:
            index = self._poster.stage(completion.encode())
            self._journal.post(slot, index)
            self._poster.publish()
            self._journal.settle(slot)
        except (WrongState, Exhausted) as fault:
            self._break(fault)

    def _break(self, fault: VaccelError) -> None:
        log.warning("queue %d is broken: %s", self.lease.queue, fault)
        self.broken = True
        self._totals.broken += 1
        self._tell(layout.BROKEN)
        for task in self._tasks:
            task.cancel()
