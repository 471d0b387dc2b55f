"""A piece of the slab, and the one descriptor that uses it; blocking."""

from __future__ import annotations

from types import TracebackType
from typing import Final

from vaccel import bounds
from vaccel.aperture.descriptors import Completion, Op
from vaccel.errors import VaccelError
from vaccel.fastpath.queue import AppQueue


class Piece:
    """A context manager, whose piece goes back when both sides are done with it.

    A caller that is interrupted leaves it to the worker's completion. Raises Exhausted where the
    slab has no such piece.
    """

    def __init__(
        self, queue: AppQueue, size: int, alignment: int = bounds.SLAB_ALIGNMENT
    ) -> None:
        self._queue = queue
        self._bytes = queue.window.bytes
        self.offset: Final = queue.allocate(size, alignment)
        self._offsets = [self.offset]
        # Both sides, each of which pops one; ``pop`` is atomic. Whoever is last gives all back.
        self._holders = [True]

    def __enter__(self) -> Piece:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._let_go()

    def _let_go(self) -> None:
        if self._holders.pop():
            for offset in self._offsets:
                self._queue.free(offset)

    def add(self, size: int, alignment: int = bounds.SLAB_ALIGNMENT) -> int:
        """Offset of another piece that goes back with this one. Raises Exhausted."""
        offset = self._queue.allocate(size, alignment)
        self._offsets.append(offset)
        return offset

    def lend(self, offset: int, size: int) -> bool:
        """Keep what was added from going back with this one, as far as results may stay in a slab;
        whether it stays. Only when the worker is done with it.
        """
        if not self._queue.lend(offset, size):
            return False
        self._offsets.remove(offset)
        return True

    def put(self, at: int, data: bytes | memoryview) -> None:
        """Put bytes ``at`` so many bytes within the piece."""
        start = self.offset + at
        self._bytes[start : start + len(data)] = data

    def get(self, at: int, length: int) -> bytes:
        """A copy of bytes of the piece."""
        start = self.offset + at
        return bytes(self._bytes[start : start + length])

    def ask(
        self,
        op: Op,
        operands: tuple[int, int, int, int],
        timeout: float = bounds.WAIT_SECONDS,
        quiet: float = 0.0,
    ) -> Completion:
        """Post the descriptor, once, and wait for its completion, whose error is not raised.

        ``quiet`` as in ``AppQueue.await_done``.

        Raises Exhausted where the ring is full, TimedOut, or why the queue is dead.
        """
        found: list[Completion] = []

        def done(completion: Completion) -> None:
            found.append(completion)
            self._let_go()

        self._holders.append(False)
        try:
            self._queue.post(op, operands, done)
        except VaccelError:
            self._holders.pop()
            raise
        # Anything else, as Ctrl-C, may come when the worker has it already: that has to answer.
        self._queue.await_done(lambda: bool(found), timeout, op.name, quiet)
        return found[0]
