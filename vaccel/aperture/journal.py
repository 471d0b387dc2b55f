"""The journal: what a worker must not forget when it is killed, in memory that no guest maps.

::

    0 totals (two copies, and which is good) | 320 counters | 4 KiB record of queue pair 0
            | 16 KiB more: 1 ...
    record: 0 lent, sq head, cq tail | 64 two leases | 1 KiB fences reached | 2 KiB accepted
            | 4 KiB slots, one for each descriptor that is owed a completion
    lease:  0 slab | 16 context | 80 the context that had it before

A kill may come between any two stores, so each has its order. A slot is filled before the head
passes its descriptor, and before the guest sees that head. The index at which a completion will be
posted goes into the slot before the tail of the journal passes it, and that before the guest's. So
whoever reads the journal knows of each descriptor whether it was taken, and whether it was
answered. A queue pair that is lent on keeps its old lease until the new one is whole, and the new
one names the old one's context: whoever is killed meanwhile, its slab stays with its app. Totals
that belong together have two copies; each counter stands for itself. Words are written by aligned
8-byte stores, as in the window.
"""

from __future__ import annotations

import mmap
import struct
from typing import Final

from vaccel import bounds
from vaccel.aperture import layout
from vaccel.aperture.window import create_sealed, is_sealed
from vaccel.compute import Lease
from vaccel.errors import InvalidArgument

RECORDS_OFFSET: Final = 4 * bounds.KIB
RECORD_BYTES: Final = 16 * bounds.KIB
# Words of a record. LENT is 0, or which of the two leases is good: 1 or 2.
LENT: Final = 0
SQ_HEAD: Final = 1
CQ_TAIL: Final = 2
LEASES: Final = (8, 32)
# Words of a lease. A name is a word with its length and 7 words of text.
SLAB_OFFSET: Final = 0
SLAB_BYTES: Final = 1
NAME: Final = 2
AFTER: Final = 10
LEASE_WORDS: Final = 18
NAME_BYTES: Final = 56
REACHED: Final = 128
ACCEPTED: Final = 256
SLOTS: Final = 512
SLOT_WORDS: Final = 8
SLOT_COUNT: Final = layout.CQ_ENTRIES
# Words of a slot. TAKEN is 1 and the index of its descriptor, or 0 where the slot is free; POSTED
# is 1 and the index of its completion, or 0 before there is one.
TAKEN: Final = 0
POSTED: Final = 1
OP: Final = 2
TAG: Final = 3
STREAM: Final = 4
FENCE: Final = 5

# Two copies of the totals, from these words on; the first word says which is good.
_TOTALS: Final = (8, 24)
TOTALS_WORDS: Final = 16
_COUNTERS: Final = 40
COUNTERS_WORDS: Final = 16


def journal_bytes(window_bytes: int) -> int:
    """Length of the journal of a window."""
    return RECORDS_OFFSET + layout.queue_pairs(window_bytes) * RECORD_BYTES


def create_journal(window_bytes: int) -> int:
    """A sealed memfd for a window's journal; the descriptor is the caller's. Raises HostFault."""
    return create_sealed(journal_bytes(window_bytes), "vaccel-journal")


class Journal:
    """A mapped journal. Hold no ``words`` beyond ``close``."""

    def __init__(self, fd: int, window_bytes: int) -> None:
        size = journal_bytes(window_bytes)
        if not is_sealed(fd, size):
            raise InvalidArgument(f"journal descriptor {fd} is no sealed memfd of {size} bytes")
        self.window_bytes = window_bytes
        self._memory = mmap.mmap(fd, size)
        self.bytes = memoryview(self._memory)
        self.words = self.bytes.cast("Q")
        # Numbers that survive one by one, counted where they lie.
        self.counters = self.words[_COUNTERS : _COUNTERS + COUNTERS_WORDS]
        self._queues = [
            QueueJournal(self, number) for number in range(layout.queue_pairs(window_bytes))
        ]

    def queue(self, number: int) -> QueueJournal:
        """The record of a queue pair."""
        return self._queues[number]

    def write_totals(self, totals: tuple[int | float, ...]) -> None:
        """Numbers that survive; the copy that is good stays so until the new one is whole."""
        other = 1 - (self.words[0] & 1)
        for at, value in enumerate(totals, _TOTALS[other]):
            self.words[at] = value if isinstance(value, int) else _double(value)
        self.words[0] = other

    def read_totals(self, kinds: str) -> tuple[int | float, ...]:
        """What ``write_totals`` wrote; ``kinds`` has a Q for each whole number, a d for others."""
        start = _TOTALS[self.words[0] & 1]
        data = bytes(self.bytes[start * 8 : (start + len(kinds)) * 8])
        return struct.unpack(f"<{kinds}", data)

    def close(self) -> None:
        """Unmap."""
        for queue in self._queues:
            queue.release()
        self.counters.release()
        self.words.release()
        self.bytes.release()
        self._memory.close()


class QueueJournal:
    """The record of one queue pair, as its worker writes it."""

    def __init__(self, journal: Journal, number: int) -> None:
        start = RECORDS_OFFSET + number * RECORD_BYTES
        self.number = number
        self.words = journal.words[start // 8 : (start + RECORD_BYTES) // 8]
        self._bytes = journal.bytes[start : start + RECORD_BYTES]
        self._free: list[int] = []

    def lend(self, context: str, lease: Lease, after: str = "") -> None:
        """The queue pair is a context's from here on, with empty rings.

        ``after`` is the context that had it before, where its app may not know of this one yet.
        """
        words, good = self.words, 2 if self.words[LENT] == 1 else 1
        start = LEASES[good - 1]
        words[start + SLAB_OFFSET], words[start + SLAB_BYTES] = lease.slab_offset, lease.slab_bytes
        self._put_name(start + NAME, context)
        self._put_name(start + AFTER, after)
        self._bytes[SQ_HEAD * 8 : LEASES[0] * 8] = bytes((LEASES[0] - SQ_HEAD) * 8)
        self._bytes[REACHED * 8 :] = bytes(RECORD_BYTES - REACHED * 8)
        words[LENT] = good
        self._free = list(range(SLOT_COUNT))

    def _put_name(self, word: int, name: str) -> None:
        text = name.encode()[:NAME_BYTES]
        self.words[word] = len(text)
        self._bytes[(word + 1) * 8 : (word + 1) * 8 + len(text)] = text

    def resume(self) -> None:
        """Go on with a record that another worker wrote: slots whose answer is posted are free.

        One that was about to be posted is owed it still, and another may get its place in the ring:
        who comes next must not take that for its answer.
        """
        words, tail = self.words, self.words[CQ_TAIL]
        self._free.clear()
        for slot in range(SLOT_COUNT):
            at = SLOTS + slot * SLOT_WORDS
            if 0 < words[at + POSTED] <= tail:
                words[at + TAKEN] = 0
            elif words[at + POSTED]:
                words[at + POSTED] = 0
            if not words[at + TAKEN]:
                self._free.append(slot)

    def free(self) -> None:
        """Nobody has it any more."""
        self.words[LENT] = 0

    def take(self, index: int, op: int, tag: int, stream: int, fence: int) -> int:
        """A descriptor is owed a completion; the slot's number. There is room for every one."""
        slot = self._free.pop()
        at = SLOTS + slot * SLOT_WORDS
        words = self.words
        words[at + POSTED] = 0
        words[at + OP], words[at + TAG] = op, tag
        words[at + STREAM], words[at + FENCE] = stream, fence
        words[at + TAKEN] = index + 1
        return slot

    def post(self, slot: int, index: int) -> None:
        """The completion of a slot is in the ring at an index, not yet visible to the guest.

        A slot of -1 is a completion that no descriptor was promised.
        """
        if slot >= 0:
            self.words[SLOTS + slot * SLOT_WORDS + POSTED] = index + 1
        self.words[CQ_TAIL] = index + 1

    def settle(self, slot: int) -> None:
        """A slot's descriptor is owed nothing any more."""
        if slot >= 0:
            self.words[SLOTS + slot * SLOT_WORDS + TAKEN] = 0
            self._free.append(slot)

    def release(self) -> None:
        """Let go of the memory."""
        self.words.release()
        self._bytes.release()


def _double(value: float) -> int:
    word: int = struct.unpack("<Q", struct.pack("<d", value))[0]
    return word
