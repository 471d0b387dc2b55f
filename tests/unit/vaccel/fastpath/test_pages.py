from __future__ import annotations

import pytest

from vaccel import bounds
from vaccel.fastpath import pages

# Where ordinary large arrays begin in their pages: mapped, aligned to a cache line, of malloc.
USUAL = (0, 16, 64)
# A target that lies up to this far behind its source, in pages, is copied slowly.
SLOW = 512


@pytest.mark.parametrize("at", [0, 1, 16, 2047, 2048, 2064, 2065, 4095, 4096, 1_000_003])
def test_large_data_lies_far_from_where_ordinary_arrays_begin(at: int) -> None:
    place = pages.begin(at, pages.LARGE_BYTES)
    assert at <= place < at + pages.PAGE_BYTES
    for usual in USUAL:
        behind = (place - usual) % pages.PAGE_BYTES
        assert SLOW <= behind <= pages.PAGE_BYTES - SLOW
    assert pages.alignment(pages.LARGE_BYTES) == pages.PAGE_BYTES


def test_small_data_wastes_no_page() -> None:
    assert [pages.begin(at, 4096) for at in (0, 1, 64, 65)] == [0, 64, 64, 128]
    assert pages.alignment(4096) == bounds.SLAB_ALIGNMENT
