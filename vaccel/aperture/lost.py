"""What the journal of a killed worker says: which queue pairs were lent, and what they are owed.

The worker that wrote it was in a tenant's hands, so each number is checked as a guest's would be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vaccel import bounds
from vaccel.aperture import journal, layout
from vaccel.aperture.journal import Journal
from vaccel.compute import Lease
from vaccel.errors import InvalidArgument
from vaccel.ids import is_id

# No ring comes as far as this in the life of a machine.
_MOST: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Owed:
    """A descriptor that was taken and not answered. ``index`` is its place in the ring's count."""

    slot: int
    index: int
    op: int
    tag: int
    stream: int
    fence: int


@dataclass(frozen=True, slots=True)
class LostQueue:
    """A queue pair that was lent.

    ``reached`` and ``accepted`` are the fences of streams that had any.
    """

    context: str
    lease: Lease
    sq_head: int
    cq_tail: int
    owed: tuple[Owed, ...]
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
    sq_head, cq_tail = words[journal.SQ_HEAD], words[journal.CQ_TAIL]
    if max(sq_head, cq_tail) > _MOST:
        raise InvalidArgument(f"journal of queue {number}: indices {sq_head} and {cq_tail}")
    owed = []
    for slot in range(journal.SLOT_COUNT):
        at = journal.SLOTS + slot * journal.SLOT_WORDS
        taken, posted = words[at + journal.TAKEN], words[at + journal.POSTED]
        if not 0 < taken <= _MOST or 0 < posted <= cq_tail:
            continue
        places = (journal.OP, journal.TAG, journal.STREAM, journal.FENCE)
        op, tag, stream, fence = (words[at + place] for place in places)
        owed.append(Owed(slot, taken - 1, op & 0xFFFFFFFF, tag, stream, fence))
    return LostQueue(
        context,
        lease,
        sq_head,
        cq_tail,
        tuple(sorted(owed, key=lambda one: one.index)),
        _fences(words, journal.REACHED),
        _fences(words, journal.ACCEPTED),
    )


def _fences(words: memoryview, start: int) -> dict[int, int]:
    found = enumerate(words[start : start + layout.FENCE_WORDS])
    return {stream: fence for stream, fence in found if fence}
