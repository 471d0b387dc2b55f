"""How long a worker looks at its rings unasked."""

from __future__ import annotations

from typing import Any

from host_daemon.worker.vigil import Vigil
from vaccel import bounds


class Ring:
    """A queue pair into which something comes at some looks."""

    def __init__(self, *looks: int) -> None:
        self.looks, self.told = 0, [False]
        self._at = looks

    @property
    def has_more(self) -> bool:
        self.looks += 1
        assert self.told[-1]
        return self.looks in self._at

    def polls(self, looking: bool) -> None:
        self.told.append(looking)


def vigil(calm: bool = True) -> tuple[Vigil, list[int]]:
    served: list[int] = []

    def serve() -> bool:
        served.append(1)
        return True

    return Vigil(lambda: calm, serve), served


def kept(one: Vigil, *rings: Any) -> bool:
    before = sum(len(ring.told) for ring in rings)
    one.keep(rings)
    assert not any(ring.told[-1] for ring in rings)
    return sum(len(ring.told) for ring in rings) > before


def test_what_comes_is_served_and_the_end_is_looked_at_once_more() -> None:
    ring = Ring(3, 5)
    one, served = vigil()
    assert kept(one, ring)
    assert ring.looks > 5
    assert len(served) == 3
    assert ring.told == [False, True, False]


def test_vigils_in_vain_are_left_out_twice_as_often_each_time() -> None:
    one, ring = vigil()[0], Ring()
    turns = [kept(one, ring) for _ in range(1 + 1 + 1 + 3 + 1 + 7 + 1)]
    vain = [True, False, True, False, False, False, True, *[False] * 7, True]
    assert turns == vain


def test_one_that_was_of_use_is_followed_by_another() -> None:
    one = vigil()[0]
    assert kept(one, Ring())
    assert not kept(one, Ring(1))
    assert all(kept(one, Ring(1)) for _ in range(5))


def test_there_is_none_beside_work_or_for_many() -> None:
    assert not kept(vigil(calm=False)[0], Ring(1))
    assert not kept(vigil()[0], *(Ring(1) for _ in range(bounds.VIGIL_QUEUES + 1)))


def test_work_that_was_begun_ends_it() -> None:
    ring = Ring(2, 3, 4)
    calm = iter([True, False])
    one = Vigil(lambda: next(calm), lambda: True)
    assert kept(one, ring)
    assert ring.looks == 2


def test_what_cannot_be_served_keeps_nobody_looking() -> None:
    ring = Ring(*range(1 << 20))
    one = Vigil(lambda: True, lambda: False)
    assert kept(one, ring)
    assert not kept(one, ring)
