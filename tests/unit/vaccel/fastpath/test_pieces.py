"""The slab of an app: what results may hold of it."""

from __future__ import annotations

import pytest

from vaccel import bounds
from vaccel.errors import Exhausted
from vaccel.fastpath.pieces import Pieces

KIB = 1 << 10
ALIGNMENT = bounds.SLAB_ALIGNMENT


def test_results_hold_half_of_it_at_most() -> None:
    pieces = Pieces(64 * KIB, 64 * KIB)
    places = [pieces.allocate(16 * KIB, ALIGNMENT) for _ in range(3)]
    assert [pieces.lend(place, 16 * KIB) for place in places] == [True, True, False]
    pieces.free(places[0])
    assert pieces.lend(places[2], 16 * KIB)
    assert len(pieces.held) == 2


def test_what_is_given_back_is_there_for_the_next() -> None:
    pieces = Pieces(0, 64 * KIB)
    place = pieces.allocate(64 * KIB, ALIGNMENT)
    with pytest.raises(Exhausted, match="0 of 65536 are free"):
        pieces.allocate(1, ALIGNMENT)
    pieces.free(place)
    assert pieces.allocate(64 * KIB, ALIGNMENT) == place


def test_a_child_that_was_forked_under_the_lock_goes_on() -> None:
    pieces = Pieces(0, 64 * KIB)
    pieces._lock.acquire()
    pieces.forked()
    assert pieces.allocate(1, ALIGNMENT) == 0
