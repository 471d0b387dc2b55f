"""A mapped range of a file of non-volatile cells: what a worker, or the daemon, sees of a card.

The descriptor may be closed once the range is mapped, and a worker does so before it looks at
anything of a guest: then no code in it reaches the cells of a neighbour.
"""

from __future__ import annotations

import mmap
import os

from vaccel.errors import InvalidArgument


class CellRange:
    """``length`` bytes of a file from ``offset`` on, shared with it. Offsets are of whole pages."""

    def __init__(self, fd: int, offset: int, length: int) -> None:
        if offset < 0 or length <= 0 or offset % mmap.PAGESIZE or length % mmap.PAGESIZE:
            raise InvalidArgument(
                f"cells at {offset}, {length} bytes: not whole pages of {mmap.PAGESIZE}"
            )
        size = os.fstat(fd).st_size
        if offset + length > size:
            raise InvalidArgument(
                f"cells at {offset}, {length} bytes: the file of cells has {size}"
            )
        self._memory = mmap.mmap(fd, length, mmap.MAP_SHARED, offset=offset)
        self.bytes = memoryview(self._memory)

    def flush(self) -> None:
        """Have the host write what changed to its disk. Returns when it is there."""
        self._memory.flush()

    def close(self) -> None:
        """Unmap, unless arrays still look at it: then its pages go with the last of them."""
        try:
            self.bytes.release()
            self._memory.close()
        except BufferError:
            return
