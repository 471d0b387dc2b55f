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

    ``after`` is the context that had it before, if any. ``reached`` and ``accepted`` are the fences
    of streams that had any.
    """

    context: str
    after: str
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
    context, after, lease = _lease(source, number)
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
        after,
        lease,
        sq_head,
        cq_tail,
        tuple(sorted(owed, key=lambda one: one.index)),
        _fences(words, journal.REACHED),
        _fences(words, journal.ACCEPTED),
    )


def _lease(source: Journal, number: int) -> tuple[str, str, Lease]:
    """The context, the one before it, and what was lent."""
    words = source.queue(number).words
    good = words[journal.LENT]
    if not 1 <= good <= len(journal.LEASES):
        raise InvalidArgument(f"journal of queue {number}: no lease {good}")
    start = journal.LEASES[good - 1]
    context = _name(source, number, start + journal.NAME)
    after = _name(source, number, start + journal.AFTER)
    if not _is_context(context):
        raise InvalidArgument(f"journal of queue {number}: {context!r} is no context")
    offset, size = words[start + journal.SLAB_OFFSET], words[start + journal.SLAB_BYTES]
    first = layout.slabs_offset(source.window_bytes)
    inside = first <= offset and offset + size <= source.window_bytes
    if not inside or offset % bounds.SLAB_BYTES_LEAST or size < bounds.SLAB_BYTES_LEAST:
        raise InvalidArgument(f"journal of queue {number}: no slab has {size} bytes at {offset}")
    known = after if _is_context(after) else ""
    return context, known, Lease(number, offset, size, source.window_bytes)


def _is_context(name: str) -> bool:
    return is_id(name) and name.startswith("ctx-")


def _name(source: Journal, number: int, word: int) -> str:
    length = min(source.queue(number).words[word], journal.NAME_BYTES)
    start = journal.RECORDS_OFFSET + number * journal.RECORD_BYTES + (word + 1) * 8
    return bytes(source.bytes[start : start + length]).decode("ascii", "replace")


def _fences(words: memoryview, start: int) -> dict[int, int]:
    found = enumerate(words[start : start + layout.FENCE_WORDS])
    return {stream: fence for stream, fence in found if fence}
