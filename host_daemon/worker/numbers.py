"""Numbers of a context's objects: no number is given twice over all epochs of a VF.

So what a program still holds from before a reset is refused by name, and never taken for another
object that came to the same number.
"""

from __future__ import annotations

from typing import Final

from vaccel.errors import NotFound

# A person sees both parts: buffer 1 of epoch 3 is 3000000001.
_EPOCH: Final = 10**9
_EPOCHS: Final = 1 << 32


class Numbers:
    """The numbers of one kind of object: the epoch above, a count below."""

    def __init__(self, what: str, epoch: int) -> None:
        self._what, self._epoch = what, epoch % _EPOCHS
        self._last = self._epoch * _EPOCH

    def next(self) -> int:
        """The next one."""
        self._last += 1
        return self._last

    def unknown(self, number: int) -> NotFound:
        """What is said of a number that names nothing."""
        epoch = number // _EPOCH
        if 0 < epoch < self._epoch:
            return NotFound(
                f"{self._what} {number} is of epoch {epoch} of its VF, and this is {self._epoch}",
                hint="a reset ended it; make it again",
            )
        return NotFound(f"{self._what} {number} does not exist in this context")
