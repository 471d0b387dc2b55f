from __future__ import annotations

import random

import pytest

from vaccel.aperture.slab import Slab
from vaccel.errors import Exhausted, InvalidArgument


def test_pieces_never_overlap_and_grow_together_again() -> None:
    slab, chance, held = Slab(4096, 1 << 20), random.Random(3), dict[int, int]()
    for _ in range(2000):
        if held and chance.random() < 0.5:
            at = chance.choice(list(held))
            del held[at]
            slab.free(at)
        else:
            size, alignment = chance.randrange(1, 30_000), 1 << chance.randrange(6, 13)
            try:
                at = slab.allocate(size, alignment)
            except Exhausted:
                continue
            assert at % alignment == 0
            assert at >= 4096
            assert at + size <= 4096 + (1 << 20)
            assert all(at + size <= other or other + n <= at for other, n in held.items())
            held[at] = size
    for at in list(held):
        slab.free(at)
    assert slab.largest_free == slab.free_bytes == 1 << 20


def test_the_error_says_the_largest_free_block() -> None:
    slab = Slab(0, 1 << 12)
    pieces = [slab.allocate(1024) for _ in range(4)]
    slab.free(pieces[0])
    slab.free(pieces[2])
    with pytest.raises(Exhausted, match=r"2048 of 4096 are free, the largest free block has 1024"):
        slab.allocate(1025)


def test_what_is_not_a_piece_is_refused() -> None:
    slab = Slab(0, 4096)
    at = slab.allocate(10)
    slab.free(at)
    for offset in (at, 64, -1):
        with pytest.raises(InvalidArgument, match=str(offset)):
            slab.free(offset)
    with pytest.raises(InvalidArgument, match="alignment 3"):
        slab.allocate(1, 3)
    with pytest.raises(InvalidArgument, match="-1"):
        slab.allocate(-1)
