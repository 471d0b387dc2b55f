"""How a queue pair ends for an app, and what takes its place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from vaccel.aperture import layout, ring
from vaccel.aperture.descriptors import Completion, Op
from vaccel.aperture.doorbell import EventDoorbell
from vaccel.aperture.window import Window, create_window
from vaccel.compute import Lease
from vaccel.errors import Detached, DeviceLost, Unavailable, WrongState
from vaccel.fastpath import staging
from vaccel.fastpath.piece import Piece
from vaccel.fastpath.queue import AppQueue

SIZE = 1 << 20
LEASE = Lease(0, layout.slabs_offset(SIZE), 1 << 16, SIZE)
STATE = (layout.queue_offset(0) + layout.QUEUE_STATE.offset) // 8


@dataclass
class Pair:
    """An app's queue pair, and the worker's view of its window."""

    queue: AppQueue
    worker: Window
    memfd: int

    def post(self, *completions: Completion) -> None:
        views = self.worker.bytes, self.worker.words
        poster = ring.Producer(*views, ring.completion(0))
        poster.put(b"".join(one.encode() for one in completions))


@pytest.fixture
def pair() -> Iterator[Pair]:
    memfd = create_window(SIZE)
    worker = Window.from_fd(memfd, SIZE)
    bell = EventDoorbell(os.eventfd(0, os.EFD_NONBLOCK))
    made = Pair(AppQueue(Window.from_fd(memfd, SIZE), bell, LEASE), worker, memfd)
    yield made
    os.close(memfd)
    made.queue.close()
    worker.close()


@pytest.mark.parametrize(
    ("state", "kind"), [(layout.LOST, DeviceLost), (layout.BROKEN, WrongState)]
)
def test_a_state_ends_whoever_waits_and_whoever_asks_after(
    pair: Pair, state: int, kind: type
) -> None:
    told: list[Completion] = []
    pair.queue.post(Op.WAIT, (0, 0, 0, 0), told.append)
    pair.worker.words[STATE] = state
    with pytest.raises(kind):
        pair.queue.wait_fence(1, 1, 10.0)
    assert [type(one.error) for one in told] == [kind]
    with pytest.raises(kind):
        pair.queue.nop(1, 1)
    assert pair.queue.fence_settled(1, 1)


def test_what_was_answered_before_the_end_is_handed_out_before_it(pair: Pair) -> None:
    told: list[Completion] = []
    for _ in range(3):
        pair.queue.post(Op.READ, (0, 0, 0, 0), told.append)
    lost = DeviceLost("the worker was killed")
    pair.post(Completion(Op.READ, 1, value=7), Completion(Op.READ, 2, error=lost))
    pair.worker.words[STATE] = layout.LOST
    assert pair.queue.reap()
    assert [one.tag for one in told] == [1, 2, 3]
    assert (told[0].value, told[0].error) == (7, None)
    assert all(isinstance(one.error, DeviceLost) for one in told[1:])


def test_a_lost_fence_is_no_success(pair: Pair) -> None:
    for fence in (1, 2):
        pair.queue.nop(1, fence)
    lost = DeviceLost("the worker was killed")
    pair.post(Completion(Op.NOP, 0, 1, 1, error=lost))
    pair.worker.words[(layout.queue_offset(0) + layout.FENCES.offset) // 8 + 1] = 2
    with pytest.raises(DeviceLost):
        pair.queue.wait_fence(1, 2, 10.0)


def test_a_successor_with_the_same_slab_keeps_what_is_in_it(pair: Pair) -> None:
    array = staging.make(pair.queue, (64,), "uint8")
    array[:] = 5
    pair.queue.die(DeviceLost("reset"))
    fresh = pair.queue.successor(LEASE)
    place = staging.place_of(fresh, array)
    assert place is not None and bytes(pair.worker.bytes[place : place + 64]) == b"\5" * 64
    other = staging.make(fresh, (64,), "uint8")
    assert staging.place_of(fresh, other) != place
    del array
    assert staging.place_of(fresh, staging.make(fresh, (64,), "uint8")) == place
    pair.queue = fresh


def test_whoever_hears_of_a_recall_finds_memory_of_its_own(pair: Pair) -> None:
    array = staging.make(pair.queue, (64,), "uint8")
    array[:] = 5

    def heard(_: Completion) -> None:
        assert (array == 5).all()  # what was in it is kept
        array[:] = 9

    pair.queue.post(Op.WAIT, (0, 0, 0, 0), heard)
    pair.queue.die(Detached("taken away"), revoke=True)
    assert (array == 9).all()
    array[:] = np.arange(64)
    # What the device sees is as it was.
    assert bytes(pair.worker.bytes[LEASE.slab_offset : LEASE.slab_offset + 64]) == b"\5" * 64


def test_a_recall_after_a_reset_takes_the_window_too(pair: Pair) -> None:
    array = staging.make(pair.queue, (64,), "uint8")
    pair.queue.die(DeviceLost("reset"))
    pair.queue.die(WrongState("closed"))
    assert isinstance(pair.queue.dead, DeviceLost)
    pair.queue.die(Detached("taken away"), revoke=True)
    assert isinstance(pair.queue.dead, Detached)
    array[:] = 5
    assert not any(pair.worker.bytes[LEASE.slab_offset : LEASE.slab_offset + 64])


@pytest.mark.parametrize("replaced", [False, True])
def test_an_index_that_jumps_is_told_from_another_window(pair: Pair, replaced: bool) -> None:
    array = staging.make(pair.queue, (64,), "uint8")
    pair.post(Completion(Op.READ, 1))
    assert pair.queue.reap()
    # What a function that was plugged at the same address looks like: zeros, and its own header.
    pair.worker.words[layout.EPOCH_FIELD.word] += replaced
    pair.worker.words[(layout.queue_offset(0) + layout.CQ_TAIL.offset) // 8] = 0
    assert pair.queue.reap()
    assert isinstance(pair.queue.dead, Detached if replaced else WrongState)
    array[:] = 5
    seen = bytes(pair.worker.bytes[LEASE.slab_offset : LEASE.slab_offset + 64])
    assert seen == (bytes(64) if replaced else b"\5" * 64)


def test_a_window_that_is_lent_again_comes_back_under_its_arrays(pair: Pair) -> None:
    array, gone = (staging.make(pair.queue, (4096,), "uint8") for _ in range(2))
    array[:] = 5
    pair.queue.die(Unavailable("the lender has gone"), revoke=True)
    array[:] = 6
    del gone  # freed meanwhile
    bell = os.eventfd(0, os.EFD_NONBLOCK)
    pair.queue = pair.queue.restore(pair.memfd, LEASE, EventDoorbell(bell))
    place = staging.place_of(pair.queue, array)
    assert place is not None
    assert bytes(pair.worker.bytes[place : place + 4096]) == b"\6" * 4096
    other = staging.make(pair.queue, (4096,), "uint8")
    other[:] = 7
    place = staging.place_of(pair.queue, other)
    assert place is not None and pair.worker.bytes[place] == 7
    pair.queue.nop(1, 1)
    assert os.eventfd_read(bell) == 1


def test_arrays_of_a_device_that_was_closed_reach_no_device(pair: Pair) -> None:
    array = staging.make(pair.queue, (4096,), "uint8")
    array[:] = 5
    place = staging.place_of(pair.queue, array)
    assert place is not None
    pair.queue.close()
    assert (array == 5).all()
    array[:] = 9
    assert bytes(pair.worker.bytes[place : place + 4096]) == b"\5" * 4096
    pair.queue.close()


def test_a_second_recall_leaves_arrays_as_they_are(pair: Pair) -> None:
    array = staging.make(pair.queue, (64,), "uint8")
    array[:] = 5
    pair.queue.die(Unavailable("the lender has gone"), revoke=True)
    array[:] = 6
    pair.queue.die(Detached("taken away"), revoke=True)
    assert (array == 6).all()
    pair.queue.close()
    assert (array == 6).all()


def test_who_is_interrupted_at_the_doorbell_leaves_its_piece_to_the_worker(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pair.queue, "_ring_bell", interrupted)
    with pytest.raises(KeyboardInterrupt), Piece(pair.queue, 64) as piece:
        piece.ask(Op.CALL, (0, 0, 0, 0))
    monkeypatch.undo()
    assert [place for place, _ in pair.queue._pieces.held] == [piece.offset]
    pair.post(Completion(Op.CALL, 1))
    assert pair.queue.reap()
    assert not pair.queue._pieces.held
