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
from typing import Any, Final

import numpy as np

from host_daemon.worker.calls import serve_call
from host_daemon.worker.contexts import Context
from host_daemon.worker.executor import Executor
from host_daemon.worker.faults import fault_of
from host_daemon.worker.memory import Bytes, check_range
from host_daemon.worker.queue_totals import QueueTotals
from host_daemon.worker.recordings import Recordings
from host_daemon.worker.slab import LentSlab
from vaccel import bounds, commands
from vaccel.aperture import layout, ring
from vaccel.aperture.descriptors import DESCRIPTOR, Completion, Op
from vaccel.aperture.journal import ACCEPTED, REACHED, SQ_HEAD, QueueJournal
from vaccel.aperture.window import Window
from vaccel.compute import Lease
from vaccel.errors import InvalidArgument, NotFound, TimedOut, VaccelError
from vaccel.rpc import ring_calls

log = logging.getLogger(__name__)

Fields = tuple[int, int, int, int, int, int, int, int, int]
_NOP: Final = commands.Nop()
_NOP_OP: Final = int(Op.NOP)
# Ops whose errors travel whole, as their reply.
_CALLS: Final = frozenset({*ring_calls.CALLS, Op.CALL})
# Ops that complete by nothing but the fence word of their stream.
_FENCED: Final = frozenset({Op.NOP, Op.REPLAY})
# What a request that makes no sense ends with, found when it is read and not before.
_REFUSALS: Final = (InvalidArgument, NotFound)
_NAMES: Final = {op.value: op.name for op in Op}


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
        self._window, self.lease, self._totals, self.after = window, lease, totals, after
        self._slab = LentSlab(window, lease)
        self._base = layout.queue_offset(lease.queue) // layout.WORD
        self._fences = self._base + layout.FENCES.word
        self._words = window.words
        self._sq_tail = self._base + layout.SQ_TAIL.word
        self._polls = self._base + layout.POLLS.word
        self._recordings = Recordings(context.memory, context.epoch)
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

    @property
    def has_more(self) -> bool:
        """Whether its app has submitted what was not taken yet."""
        return not self.broken and bool(self._words[self._sq_tail] != self._taker.head)

    def polls(self, looking: bool) -> None:
        """Tell the app whether somebody looks at its ring, doorbell or not."""
        self._words[self._polls] = looking

    def accepted(self, stream: int, fence: int) -> None:
        """Commands up to a fence were taken. Null commands are written down before their turn."""
        words, at = self._journal.words, ACCEPTED + stream
        if stream < layout.FENCE_WORDS and words[at] < fence:
            words[at] = fence

    def stop(self) -> None:
        """Take no more descriptors, and let go of what was recorded."""
        self.broken = self._slab.closed = True
        self._recordings.clear()

    @property
    def busy(self) -> bool:
        """Whether anything that was asked for is under way."""
        return bool(self._tasks or self._owed)

    async def close(self) -> None:
        """Stop everything, and return when nothing of it touches the slab any more."""
        self.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def lose(self) -> None:
        """The context is about to end by a reset: its app sees that all of it is lost."""
        self.stop()
        self._tell(layout.LOST)

    def _tell(self, state: int) -> None:
        self._words[self._base + layout.QUEUE_STATE.word] = state

    def serve(self) -> int:
        """Take descriptors and start what they ask for; how many were taken. Raises nothing."""
        try:
            return 0 if self.broken else self._serve()
        except Exception as fault:  # an index that jumped, or what must not stop other queues
            self._break(fault)
            return 0

    def _serve(self) -> int:
        room = self._poster.room - self._owed
        first = self._taker.head
        raw = self._taker.copy(min(room, bounds.DESCRIPTORS_PER_TURN)) if room > 0 else b""
        if not raw:
            return 0
        taken: list[Fields] = list(DESCRIPTOR.iter_unpack(raw))
        slots = self._write_down(first, taken)
        self._taker.publish()
        self._totals.descriptors += len(taken)
        self._dispatch(taken, slots)
        return len(taken)

    def _write_down(self, first: int, taken: list[Fields]) -> list[int]:
        """Into the journal, before the app may take them for accepted; the slot of each.

        A null command needs none where it is certain to be accepted: its stream's fence then says
        what became of it. So no fence is written down that a guest only claims.
        """
        journal, slots = self._journal, []
        ends: dict[int, int] = {}  # by stream: the last fence accepted, and the last that can be
        limits: dict[int, int] = {}
        for index, (op, flags, tag, stream, fence, _, _, _, _) in enumerate(taken, first):
            if op == _NOP_OP and not flags:
                if stream not in ends:
                    ends[stream], limits[stream] = self._span(stream, len(ends))
                if fence == ends[stream] + 1 and fence <= limits[stream]:
                    ends[stream] = fence
                    slots.append(-1)
                    continue
            self._accepted_all(ends)  # a slot says that what is before it was taken
            slots.append(journal.take(index, op, tag, stream, fence))
        self._accepted_all(ends)
        journal.words[SQ_HEAD] = first + len(taken)
        return slots

    def _accepted_all(self, ends: dict[int, int]) -> None:
        for stream, fence in ends.items():
            self.accepted(stream, fence)

    def _span(self, stream: int, others: int) -> tuple[int, int]:
        """What a stream has accepted, and how far it surely takes null commands now; ``others`` of
        this turn may be new as well.
        """
        if stream >= layout.FENCE_WORDS:
            return 0, 0
        streams = self._context.streams
        if (known := streams.get(stream)) is not None:
            return known.accepted, known.accepted + known.room
        fits = len(streams) + others < bounds.STREAMS_PER_CONTEXT
        return 0, bounds.COMMANDS_QUEUED if fits else 0

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
            try:
                self._nops(fields, end - index, -1)
            except Exception as fault:
                self._refuse(fields, -1, fault)
            index = end

    def _one(self, fields: Fields, slot: int) -> None:
        op, flags, tag, stream, fence, *_ = fields
        try:
            if flags:
                raise InvalidArgument(f"descriptor: flags {flags:#x}, 0 expected")
            if op in _FENCED and stream >= layout.FENCE_WORDS:
                raise InvalidArgument(
                    f"descriptor: stream {stream} has no fence word, which streams 0 to"
                    f" {layout.FENCE_WORDS - 1} have",
                    hint="submit to it by a message",
                )
            match op:
                case Op.NOP:
                    self._nops(fields, 1, slot)
                case Op.REPLAY:
                    self._replay(fields, slot)
                case Op.RECORD:
                    number = self._recordings.add(self._slab.request(fields[5], fields[6]))
                    self._post(Completion(op, tag, stream, fence, number), slot)
                case Op.FORGET:
                    self._recordings.forget(fields[5])
                    self._post(Completion(op, tag, stream, fence), slot)
                case Op.WRITE | Op.READ:
                    self._transfer(fields, slot)
                case _ if op in _CALLS:
                    self._call(fields, slot)
                case _:
                    raise InvalidArgument(f"descriptor: op {op} is none of this layout")
        except Exception as fault:
            self._refuse(fields, slot, fault)

    def _refuse(self, fields: Fields, slot: int, fault: Exception) -> None:
        """A descriptor ends with an error, and those behind it go on, whatever it was."""
        op, _, tag, stream, fence, *_ = fields
        self._totals.malformed += isinstance(fault, VaccelError)
        if slot < 0:  # written down as accepted, which it was to be
            self._journal.words[ACCEPTED + stream] = self._context.fence_accepted(stream)
        error = fault_of(fault, f"descriptor of {_NAMES.get(op, f'op {op}')}")
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
        except Exception as fault:
            if not told:
                told = True
                self._refuse(fields, slot, fault)

    def _replay(self, fields: Fields, slot: int) -> None:
        found = self._recordings.find(fields[5])
        if found.idle:
            self._nops(fields, len(found.commands), slot)
        else:
            self._submit(fields, list(found.commands), slot)

    # --- data -------------------------------------------------------------------------------

    def _transfer(self, fields: Fields, slot: int) -> None:
        op, _, tag, stream, fence, slab, buffer, offset, length = fields
        self._slab.check(slab, length)
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
        payload = self._slab.request(place, length)
        self._slab.check(reply, capacity)

        async def work() -> int:
            if op == Op.CALL:
                call = serve_call(self._executor, self._context, payload, self._slab)
            else:
                call = ring_calls.answer(self._executor, Op(op), self._context.name, payload)
            return self._slab.reply(await call, reply, capacity)

        self._start(fields, slot, work())

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
        except TimeoutError:
            fault = TimedOut(f"{Op(op).name} took more than {bounds.WAIT_SECONDS:g} s")
        except Exception as bug:  # the border: whoever asked hears of it
            fault = fault_of(bug, Op(op).name)
        finally:
            self._owed -= 1
        self._totals.malformed += isinstance(fault, _REFUSALS)
        try:
            if fault is not None and op in _CALLS:
                value = self._slab.reply(ring_calls.encode_error(fault), reply, capacity)
        except Exception as bug:
            return self._break(bug)
        self._post(Completion(op, tag, stream, fence, value, fault), slot)

    # --- completions ------------------------------------------------------------------------

    def _post(self, completion: Completion, slot: int) -> None:
        """Post it, or else break the queue, so that nobody waits for it in vain."""
        if self.broken:
            return
        try:
            index = self._poster.stage(completion.encode())
            self._journal.post(slot, index)
            self._poster.publish()
            self._journal.settle(slot)
        except Exception as fault:
            self._break(fault)

    def _break(self, fault: Exception) -> None:
        what = f"queue {self.lease.queue}"
        log.warning("%s is broken: %s", what, fault_of(fault, what))
        self.stop()
        self._totals.broken += 1
        self._tell(layout.BROKEN)
        for task in self._tasks:
            task.cancel()
