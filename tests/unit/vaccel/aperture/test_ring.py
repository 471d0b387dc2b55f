from __future__ import annotations

import pytest

from vaccel.aperture import layout, ring
from vaccel.errors import Exhausted, WrongState


def pair() -> tuple[ring.Producer, ring.Consumer, memoryview, ring.Place]:
    memory = memoryview(bytearray(1 << 20))
    words = memory.cast("Q")
    place = ring.submission(1)
    return ring.Producer(memory, words, place), ring.Consumer(memory, words, place), words, place


def entry(number: int) -> bytes:
    return number.to_bytes(8, "little") * 8


def test_entries_come_out_in_order_around_the_end() -> None:
    producer, consumer, _, place = pair()
    taken = b""
    for start in range(0, 5 * place.entries, 100):
        producer.put(b"".join(entry(n) for n in range(start, start + 100)))
        taken += consumer.take(1000)
    assert taken == b"".join(entry(n) for n in range(len(taken) // 64))
    assert consumer.waiting == 0


def test_a_full_ring_refuses_all_and_says_how_full() -> None:
    producer, consumer, _, place = pair()
    producer.put(bytes(64) * (place.entries - 1))
    with pytest.raises(Exhausted, match="255 of 256"):
        producer.put(bytes(128))
    consumer.take(1)
    producer.put(bytes(128))
    assert producer.room == 0


@pytest.mark.parametrize("tail", [257, 1 << 63, (1 << 64) - 1, 4])
def test_a_tail_that_jumps_breaks_the_ring(tail: int) -> None:
    producer, consumer, words, place = pair()
    producer.put(bytes(64) * 5)
    assert consumer.waiting == 5
    words[place.tail] = tail
    with pytest.raises(WrongState, match=str(tail)):
        consumer.take(1)


@pytest.mark.parametrize("head", [6, (1 << 64) - 1, 1])
def test_a_head_that_jumps_breaks_the_ring(head: int) -> None:
    producer, consumer, words, place = pair()
    producer.put(bytes(64) * 5)
    consumer.take(2)
    assert producer.room == place.entries - 3
    words[place.head] = head
    with pytest.raises(WrongState, match=str(head)):
        producer.put(bytes(64))


def test_an_entry_is_copied_once() -> None:
    memory = memoryview(bytearray(1 << 20))
    producer = ring.Producer(memory, memory.cast("Q"), ring.completion(0))
    consumer = ring.Consumer(memory, memory.cast("Q"), ring.completion(0))
    producer.put(b"a" * 256)
    taken = consumer.take(1)
    memory[:] = b"b" * len(memory)
    assert taken == b"a" * 256


def test_clearing_a_pair_leaves_its_neighbours() -> None:
    memory = memoryview(bytearray(b"x" * (1 << 20)))
    ring.clear(memory, 1)
    start, end = layout.queue_offset(1), layout.queue_offset(2)
    assert bytes(memory[start:end]) == bytes(end - start)
    assert memory[start - 1] == memory[end] == ord("x")
