"""What is remembered of calls, with several threads that add to it."""

from __future__ import annotations

from collections.abc import Iterator

from vaccel.fastpath.oldest import make_room


class Busy(dict[int, str]):
    """Another thread comes just after each look at it, for as long as it has something to do."""

    def __init__(self, *keys: int, adds: list[int], takes: list[int]) -> None:
        super().__init__(dict.fromkeys(keys, ""))
        self._adds, self._takes = adds, takes

    def __iter__(self) -> Iterator[int]:
        found = super().__iter__()
        if self._takes:
            first = next(found)
            del self[self._takes.pop()]
            return iter((first,))
        if self._adds:
            self[self._adds.pop()] = ""
        return found


def test_the_oldest_goes_first() -> None:
    known = dict.fromkeys(range(9), "")
    make_room(known, 4)
    assert list(known) == [6, 7, 8]
    make_room(known, 4)
    assert list(known) == [6, 7, 8]


def test_it_goes_on_where_another_thread_adds_or_takes() -> None:
    for known in (Busy(1, 2, 3, adds=[4, 5], takes=[]), Busy(1, 2, 3, adds=[], takes=[2, 1])):
        make_room(known, 2)
        assert len(known) == 1
    known = Busy(1, adds=[], takes=[1])
    make_room(known, 1)
    assert not known
