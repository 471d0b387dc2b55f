"""Memory of results: reused when nobody holds it, and never before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vaccel.fastpath.recycled import Recycled

SIZE = 1 << 20


def test_what_nobody_holds_is_given_again() -> None:
    kept = Recycled()
    first = kept.take(SIZE)
    first[:] = 7
    address = first.ctypes.data
    del first
    assert kept.take(SIZE).ctypes.data == address


@pytest.mark.parametrize(
    "hold",
    [
        lambda array: array,
        lambda array: array.view(np.float32).reshape(256, -1),
        lambda array: array.view(np.float32)[1:5].T,
        memoryview,
        lambda array: memoryview(array)[5:6],
        np.from_dlpack,
        lambda array: [array[:1]],
    ],
)
def test_who_holds_the_least_of_it_keeps_it(hold: Any) -> None:
    kept = Recycled()
    first = kept.take(SIZE)
    first[:] = 7
    held = hold(first)
    address = first.ctypes.data
    del first
    others = [kept.take(SIZE) for _ in range(3)]
    assert address not in [other.ctypes.data for other in others]
    assert len({other.ctypes.data for other in others}) == 3
    del held
    assert kept.take(SIZE).ctypes.data == address


def test_no_more_is_kept_than_allowed_and_small_arrays_are_not() -> None:
    kept = Recycled(4 * SIZE)
    held = [kept.take(SIZE) for _ in range(10)]
    assert sum(array.nbytes for array in kept._known) <= 4 * SIZE
    assert len({array.ctypes.data for array in held}) == 10
    kept.take(64)
    kept.take(5 * SIZE)
    assert {array.nbytes for array in kept._known} == {SIZE}
