"""One direction of a queue pair: a bounded ring with one producer and one consumer.

Indices rise for ever and are shared words; an entry's place is its index modulo the ring. The side
that writes an index keeps its own copy and never reads the shared one back. The other side's index
is read once and checked: one that runs backwards, or past what the ring holds, is a ``WrongState``,
after which the ring is not to be used until both sides have reset it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vaccel.aperture import layout
from vaccel.errors import Exhausted, WrongState


@dataclass(frozen=True, slots=True)
class Place:
    """Where a ring is in a window. ``tail`` and ``head`` are indices of words."""

    name: str
    tail: int
    head: int
    offset: int
    entry: int
    entries: int


def submission(queue: int) -> Place:
    """The submission ring of a queue pair."""
    return _place("submission", queue, layout.SQ_TAIL, layout.SQ_HEAD, layout.SQ_RING)


def completion(queue: int) -> Place:
    """The completion ring of a queue pair."""
    return _place("completion", queue, layout.CQ_TAIL, layout.CQ_HEAD, layout.CQ_RING)


def _place(
    name: str, queue: int, tail: layout.Field, head: layout.Field, ring: layout.Field
) -> Place:
    base = layout.queue_offset(queue)
    entry = layout.SQ_ENTRY if ring is layout.SQ_RING else layout.CQ_ENTRY
    return Place(
        f"{name} ring {queue}",
        base // layout.WORD + tail.word,
        base // layout.WORD + head.word,
        base + ring.offset,
        entry,
        ring.size // entry,
    )


class Producer:
    """The side that puts entries in. ``memory`` and ``words`` are views of the whole window."""

    def __init__(
        self, memory: memoryview, words: memoryview, place: Place, tail: int = 0
    ) -> None:
        self._memory, self._words, self._place = memory, words, place
        self._start, self._size, self._entries = place.offset, place.entry, place.entries
        self._tail_word = place.tail
        self._tail = tail
        # One that goes on at a tail knows of the head only that it is not further behind.
        self._head = max(0, tail - place.entries)

    @property
    def room(self) -> int:
        """Entries that fit now. Raises WrongState where the consumer's index jumped."""
        head = self._words[self._place.head]
        if not self._head <= head <= self._tail:
            raise WrongState(
                f"{self._place.name}: head {head} is not from {self._head} to {self._tail}",
                hint="reset the queue",
            )
        self._head = head
        return self._place.entries - (self._tail - head)

    def put_one(self, pack_into: Callable[..., None], *fields: int) -> None:
        """``put`` for a single entry, packed in place, where every microsecond counts."""
        tail = self._tail
        if tail - self._head >= self._entries and not self.room:
            raise Exhausted(f"{self._place.name} is full", hint="wait for some of its entries")
        pack_into(self._memory, self._start + tail % self._entries * self._size, *fields)
        self._tail = self._words[self._tail_word] = tail + 1

    @property
    def idle(self) -> bool:
        """Whether the consumer has taken everything."""
        return bool(self._words[self._place.head] == self._tail)

    def put(self, entries: bytes) -> None:
        """Put whole entries in and publish them at once. All fit, or Exhausted is raised."""
        place = self._place
        count, rest = divmod(len(entries), place.entry)
        assert not rest
        if count > self.room:
            raise Exhausted(
                f"{place.name} holds {self._tail - self._head} of {place.entries} entries,"
                f" {count} more do not fit",
                hint="wait for some of them",
            )
        at = self._tail % place.entries
        first = min(count, place.entries - at)
        start = place.offset + at * place.entry
        self._memory[start : start + first * place.entry] = entries[: first * place.entry]
        if first < count:
            rest = (count - first) * place.entry
            self._memory[place.offset : place.offset + rest] = entries[first * place.entry :]
        self._tail += count
        self._words[place.tail] = self._tail

    def stage(self, entry: bytes) -> int:
        """Put one entry in and do not publish it; its index. Raises Exhausted, WrongState."""
        if not self.room:
            raise Exhausted(f"{self._place.name} is full", hint="wait for some of its entries")
        start = self._start + self._tail % self._entries * self._size
        self._memory[start : start + self._size] = entry
        return self._tail

    def publish(self) -> None:
        """Publish the entry that was staged."""
        self._tail += 1
        self._words[self._tail_word] = self._tail


class Consumer:
    """The side that takes entries out."""

    def __init__(
        self, memory: memoryview, words: memoryview, place: Place, head: int = 0
    ) -> None:
        self._memory, self._words, self._place = memory, words, place
        self._start, self._size, self._entries = place.offset, place.entry, place.entries
        self._head = head
        self._tail = head

    @property
    def head(self) -> int:
        """Index of the next entry to copy."""
        return self._head

    @property
    def waiting(self) -> int:
        """Entries that can be taken now. Raises WrongState where the producer's index jumped."""
        tail = self._words[self._place.tail]
        if not self._tail <= tail <= self._head + self._place.entries:
            raise WrongState(
                f"{self._place.name}: tail {tail} is not from {self._tail} to"
                f" {self._head + self._place.entries}",
                hint="reset the queue",
            )
        self._tail = tail
        return tail - self._head

    def take(self, most: int) -> bytes:
        """Copy out at most so many entries, once, and free their places."""
        taken = self.copy(most)
        self.publish()
        return taken

    def publish(self) -> None:
        """Free the places of what was copied."""
        self._words[self._place.head] = self._head

    def copy(self, most: int) -> bytes:
        """Copy out at most so many entries, once; their places stay taken until ``publish``."""
        size, head, start = self._size, self._head, self._start
        count = min(self.waiting, most)
        at = head % self._entries
        first = min(count, self._entries - at)
        begin = start + at * size
        taken = bytes(self._memory[begin : begin + first * size])
        if first < count:
            taken += bytes(self._memory[start : start + (count - first) * size])
        self._head = head + count
        return taken


def clear(memory: memoryview, queue: int) -> None:
    """Zero a queue pair: both rings are empty, no fence is reached, its state is good."""
    start = layout.queue_offset(queue)
    memory[start : start + layout.QUEUE_BYTES] = bytes(layout.QUEUE_BYTES)
