"""Allocation within a slab, or of slabs within a window: first fit, in order of address.

The pieces that are free are kept sorted and never touch one another. Nothing of the bookkeeping is
in the memory itself, so what an app writes there cannot break it.
"""

from __future__ import annotations

from bisect import bisect_left

from vaccel import bounds
from vaccel.errors import Exhausted, InvalidArgument


class Slab:
    """Bytes from ``offset``, ``size`` of them, given out in aligned pieces."""

    def __init__(self, offset: int, size: int, name: str = "slab") -> None:
        if offset % bounds.SLAB_ALIGNMENT or offset < 0 or size < 0:
            raise InvalidArgument(
                f"{name} of {size} bytes at {offset} is not aligned to {bounds.SLAB_ALIGNMENT}"
            )
        self.offset, self.size, self._name = offset, size, name
        usable = size - size % bounds.SLAB_ALIGNMENT
        self._free: list[tuple[int, int]] = [(offset, usable)] if usable else []
        self._taken: dict[int, int] = {}

    @property
    def free_bytes(self) -> int:
        """Bytes that are free in all."""
        return sum(size for _, size in self._free)

    @property
    def largest_free(self) -> int:
        """Bytes of the largest free block."""
        return max((size for _, size in self._free), default=0)

    @property
    def pieces(self) -> tuple[tuple[int, int], ...]:
        """Offset and size of each piece that is given out."""
        return tuple(self._taken.items())

    def allocate(self, size: int, alignment: int = bounds.SLAB_ALIGNMENT) -> int:
        """Offset of a new piece. Raises Exhausted, naming the largest free block.

        ``alignment`` is a power of two from ``bounds.SLAB_ALIGNMENT`` on; sizes are rounded up.
        """
        if alignment & (alignment - 1) or alignment < bounds.SLAB_ALIGNMENT:
            raise InvalidArgument(f"alignment {alignment} is no power of two from 64 on")
        if size < 0:
            raise InvalidArgument(f"{self._name}: {size} bytes is no size")
        wanted = max(_rounded(size), bounds.SLAB_ALIGNMENT)
        for index, (start, length) in enumerate(self._free):
            at = -(-start // alignment) * alignment
            if at + wanted <= start + length:
                pieces = [(start, at - start), (at + wanted, start + length - at - wanted)]
                self._free[index : index + 1] = [piece for piece in pieces if piece[1]]
                self._taken[at] = wanted
                return at
        raise Exhausted(
            f"{self._name} has no {size} bytes: {self.free_bytes} of {self.size} are free, the"
            f" largest free block has {self.largest_free}",
            hint="free staging arrays, or open the device with a larger staging_bytes",
        )

    def claim(self, offset: int, size: int) -> None:
        """Take just these bytes. Raises Exhausted where they are not all free."""
        wanted = _rounded(size)
        for index, (start, length) in enumerate(self._free):
            if start <= offset and offset + wanted <= start + length:
                end = start + length
                pieces = [(start, offset - start), (offset + wanted, end - offset - wanted)]
                self._free[index : index + 1] = [piece for piece in pieces if piece[1]]
                self._taken[offset] = wanted
                return
        raise Exhausted(f"{self._name}: {size} bytes at {offset} are not free")

    def free(self, offset: int) -> None:
        """Give a piece back; neighbours grow together. Raises InvalidArgument for no such piece."""
        size = self._taken.pop(offset, None)
        if size is None:
            raise InvalidArgument(f"{self._name}: nothing was allocated at {offset}")
        index = bisect_left(self._free, (offset, 0))
        start, end = offset, offset + size
        if index < len(self._free) and self._free[index][0] == end:
            end += self._free.pop(index)[1]
        if index and sum(self._free[index - 1]) == start:
            index -= 1
            start = self._free.pop(index)[0]
        self._free.insert(index, (start, end - start))


def _rounded(size: int) -> int:
    return -(-size // bounds.SLAB_ALIGNMENT) * bounds.SLAB_ALIGNMENT
