"""Blocks of a load: mapped of their own, but where the heap serves at little cost."""

from __future__ import annotations

import gc

import pytest

from host_daemon.compiler import heap
from vaccel.bounds import MIB


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        # VGG16's: five blocks of 9 MiB are most of it.
        ([9 * MIB] * 5 + [6 * MIB, 4 * MIB, 2 * MIB, 2 * MIB], 8 * MIB),
        ([20 * MIB, MIB], 16 * MIB),
        # One kind of block, and the heap would get all of it.
        ([3 * MIB] * 30, 2 * MIB),
        ([MIB // 2] * 100, MIB),
        ([], 16 * MIB),
    ],
)
def test_the_heap_gets_a_small_part_of_the_weights(sizes: list[int], expected: int) -> None:
    assert heap.threshold(sizes) == expected
    assert sum(size for size in sizes if size < expected) <= 0.3 * sum(sizes) or expected == MIB


@pytest.mark.parametrize("size", [0, 64 * MIB])
def test_what_a_load_changes_is_undone(size: int) -> None:
    with pytest.raises(ZeroDivisionError), heap.tidied(size), heap.opening([MIB]):
        assert not gc.isenabled()
        1 / 0  # noqa: B018
    assert gc.isenabled()
    with heap.opening([MIB]):
        assert gc.isenabled()
