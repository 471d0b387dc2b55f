"""What a worker does first when another one was killed before it: end what that one had under way.

All it believes is the journal, and of the window only descriptors that the journal says were not
taken yet: those are copied and refused as any other. Each descriptor is answered once.
"""

from __future__ import annotations

import logging

from vaccel.aperture import layout, lost, ring
from vaccel.aperture.descriptors import DESCRIPTOR, Completion, Op
from vaccel.aperture.journal import ACCEPTED, REACHED, SQ_HEAD, Journal, QueueJournal
from vaccel.aperture.lost import LostQueue
from vaccel.aperture.slab import Slab
from vaccel.aperture.window import Window
from vaccel.errors import DeviceLost, VaccelError

log = logging.getLogger(__name__)

def end_lost(window: Window, journal: Journal, slabs: Slab) -> dict[str, LostQueue]:
    """End every queue pair that was lent; what they were by context, claimed of ``slabs``.

    A record that makes no sense costs its queue pair's app the completions, and nobody else
    anything.
    """
    left: dict[str, LostQueue] = {}
    for number in range(layout.queue_pairs(window.size)):
        record, found = journal.queue(number), None
        try:
            found = lost.read(journal, number)
            if found is not None:
                slabs.claim(found.lease.slab_offset, found.lease.slab_bytes)
                left[found.context] = found
                _Ending(window, record, found).run()
        except VaccelError as fault:
            log.warning("queue %d: %s", number, fault)
        state = layout.queue_offset(number) // layout.WORD + layout.QUEUE_STATE.word
        if window.words[state] or found is not None:
            window.words[state] = layout.LOST
    return left


class _Ending:
    """The end of one queue pair."""

    def __init__(self, window: Window, record: QueueJournal, found: LostQueue) -> None:
        self._window, self._record, self._found = window, record, found
        number = found.lease.queue
        views = window.bytes, window.words
        self._base = layout.queue_offset(number) // layout.WORD
        # Published before, or about to be when the worker was killed.
        window.words[self._base + layout.CQ_TAIL.word] = found.cq_tail
        self._poster = ring.Producer(*views, ring.completion(number), found.cq_tail)
        # Slots are filled in order: what is before the last of them was taken, whatever it was.
        head = max([found.sq_head, *(owed.index + 1 for owed in found.owed)])
        record.words[SQ_HEAD] = head
        self._taker = ring.Consumer(*views, ring.submission(number), head)
        self._error = DeviceLost(
            f"the worker of context {found.context} was killed", hint="submit it again"
        )
        # What is reached was accepted, also where nobody wrote that down by itself.
        self._accepted = dict(found.reached)
        for stream, fence in found.accepted.items():
            self._accepted[stream] = max(fence, self._accepted.get(stream, 0))
        record.resume()

    def run(self) -> None:
        """Answer what was taken, then what was not, then raise the fences; as far as room goes."""
        try:
            for owed in self._found.owed:
                self._post(Completion(owed.op, owed.tag, owed.stream, owed.fence), owed.slot)
            self._refuse_waiting()
            for stream, fence in self._accepted.items():
                reached = self._found.reached.get(stream, 0)
                if fence > reached:
                    self._post(Completion(Op.NOP, 0, stream, reached + 1), -1)
        finally:
            fences = self._base + layout.FENCES.word
            for stream, fence in self._accepted.items():
                self._record.words[REACHED + stream] = fence
                self._window.words[fences + stream] = fence

    def _refuse_waiting(self) -> None:
        first = self._taker.head
        raw = self._taker.copy(layout.SQ_ENTRIES)
        for index, fields in enumerate(DESCRIPTOR.iter_unpack(raw), first):
            op, flags, tag, stream, fence, *_ = fields
            slot = -1
            if op == Op.NOP and not flags and self._is_next(stream, fence):
                self._accepted[stream] = self._record.words[ACCEPTED + stream] = fence
            else:
                slot = self._record.take(index, op, tag, stream, fence)
            self._record.words[SQ_HEAD] = index + 1
            if slot >= 0:
                self._post(Completion(op, tag, stream, fence), slot)
        self._taker.publish()

    def _is_next(self, stream: int, fence: int) -> bool:
        """Whether a null command was to be accepted, so that its stream's fence answers it."""
        return stream < layout.FENCE_WORDS and fence == self._accepted.get(stream, 0) + 1

    def _post(self, completion: Completion, slot: int) -> None:
        whole = Completion(
            completion.op, completion.tag, completion.stream, completion.fence, 0, self._error
        )
        index = self._poster.stage(whole.encode())
        self._record.post(slot, index)
        self._poster.publish()
        self._record.settle(slot)
