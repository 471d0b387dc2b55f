"""Where in their pages large data of the slab begins, so that copies between it and ordinary arrays
run at the speed of any copy.

A processor tells by the last twelve bits of their addresses which loads may depend on a store. A
copy whose target lies 1 to 300 bytes further into its page than its source is 10 to 25 % slower
(``np.copyto`` of 16 and 64 MiB, also in an emulated guest, also between ordinary arrays). Large
arrays of NumPy begin 16 bytes into a page: glibc's malloc maps blocks from 128 KiB on
(M_MMAP_THRESHOLD of mallopt(3)) and puts its two words before them; others begin at 0 or 64. Half a
page from there is far from all of these, in both directions.
"""

from __future__ import annotations

from typing import Final

from vaccel import bounds

PAGE_BYTES: Final = 4 << 10
LARGE_BYTES: Final = 128 << 10
# In a cache line, where NumPy's arrays begin.
BEGIN: Final = PAGE_BYTES // 2 + 16


def begin(at: int, size: int) -> int:
    """Where so many bytes begin, ``at`` or behind it, counted from the start of a page."""
    if size < LARGE_BYTES:
        return rounded(at)
    return at + (BEGIN - at) % PAGE_BYTES


def alignment(size: int) -> int:
    """What the piece of the slab must be aligned to for that."""
    return bounds.SLAB_ALIGNMENT if size < LARGE_BYTES else PAGE_BYTES


def rounded(size: int) -> int:
    """Up to the next multiple of the slab's alignment."""
    return -(-size // bounds.SLAB_ALIGNMENT) * bounds.SLAB_ALIGNMENT
