"""What the journal of a killed worker says: which queue pairs were lent, and what they are owed.

The worker that wrote it was in a tenant's hands, so each number is checked as a guest's would be.
"""

from __future__ import annotations

from dataclasses import dataclass

from vaccel import bounds
from vaccel.aperture import journal, layout
from vaccel.aperture.journal import Journal
from vaccel.compute import Lease
from vaccel.errors import InvalidArgument
from vaccel.ids import is_id


@dataclass(frozen=True, slots=True)
class Owed:
    """A descriptor that was taken and not answered. ``index`` is its place in the ring's count."""

    index: int
    op: int
    tag: int
    stream: int
    fence: int


@dataclass(frozen=True, slots=True)
class LostQueue:
    """A queue pair that was lent. ``answered`` are indices of descriptors whose answer is posted.

    ``reached`` and ``accepted`` are the fences of streams that had any.
    """

    context: str
    lease: Lease
    sq_head: int
    cq_tail: int
    owed: tuple[Owed, ...]
    answered: frozenset[int]
    reached: dict[int, int]
    accepted: dict[int, int]


def read(source: Journal, number: int) -> LostQueue | None:
    """The record of a queue pair; None where it was not lent. Raises InvalidArgument."""
    words = source.queue(number).words
    if not words[journal.LENT]:
        return None
    length = min(words[journal.NAME_LENGTH], journal.NAME_BYTES)
    start = journal.RECORDS_OFFSET + number * journal.RECORD_BYTES + journal.NAME * 8
    context = bytes(source.bytes[start : start + length]).decode("ascii", "replace")
    offset, size = words[journal.SLAB_OFFSET], words[journal.SLAB_BYTES]
    first = layout.slabs_offset(source.window_bytes)
    inside = first <= offset and offset + size <= source.window_bytes
    if not (is_id(context) and context.startswith("ctx-")):
        raise InvalidArgument(f"journal of queue {number}: {context!r} is no context")
    if not inside or offset % bounds.SLAB_BYTES_LEAST or size < bounds.SLAB_BYTES_LEAST:
        raise InvalidArgument(f"journal of queue {number}: no slab has {size} bytes at {offset}")
    lease = Lease(number, offset, size, source.window_bytes)
    cq_tail = words[journal.CQ_TAIL]
    owed, answered = [], set()
    for slot in range(journal.SLOT_COUNT):
        at = journal.SLOTS + slot * journal.SLOT_WORDS
        taken, posted = words[at + journal.TAKEN], words[at + journal.POSTED]
        if not taken:
            continue
        if posted and posted <= cq_tail:
            answered.add(taken - 1)
            continue
        places = (journal.OP, journal.TAG, journal.STREAM, journal.FENCE)
        op, tag, stream, fence = (words[at + place] for place in places)
        owed.append(Owed(taken - 1, op & 0xFFFFFFFF, tag, stream, fence))
    return LostQueue(
        context,
        lease,
        words[journal.SQ_HEAD],
        cq_tail,
        tuple(sorted(owed, key=lambda one: one.index)),
        frozenset(answered),
        _fences(words, journal.REACHED),
        _fences(words, journal.ACCEPTED),
    )


def _fences(words: memoryview, start: int) -> dict[int, int]:
    found = enumerate(words[start : start + layout.FENCE_WORDS])
    return {stream: fence for stream, fence in found if fence}
