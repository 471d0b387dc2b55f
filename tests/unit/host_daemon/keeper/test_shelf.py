"""What the keeper keeps."""

from __future__ import annotations

import os

import pytest

from host_daemon.keeper.protocol import Op, Request, Status
from host_daemon.keeper.shelf import Shelf


def descriptors(count: int = 3) -> list[int]:
    return [os.memfd_create(f"kept-{number}") for number in range(count)]


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_what_is_put_can_be_had_until_it_is_dropped() -> None:
    shelf, given = Shelf(), descriptors()
    assert shelf.answer(Request(Op.PUT, "vf-1"), given)[0].status is Status.DONE
    assert shelf.answer(Request(Op.LIST), ())[0].names == ("vf-1",)
    for _ in range(2):
        reply, held = shelf.answer(Request(Op.GET, "vf-1"), ())
        assert (reply.status, held) == (Status.DONE, tuple(given))
    assert shelf.answer(Request(Op.DROP, "vf-1"), ())[0].status is Status.DONE
    assert not any(map(is_open, given)) and not len(shelf)


def test_a_second_put_takes_the_place_of_the_first() -> None:
    shelf, first, second = Shelf(), descriptors(), descriptors()
    shelf.answer(Request(Op.PUT, "vf-1"), first)
    shelf.answer(Request(Op.PUT, "vf-1"), second)
    assert not any(map(is_open, first)) and all(map(is_open, second))
    shelf.clear()
    assert not any(map(is_open, second))


@pytest.mark.parametrize("op", [Op.GET, Op.DROP])
def test_an_unknown_name_is_refused_and_nothing_leaks(op: Op) -> None:
    shelf, given = Shelf(), descriptors(1)
    assert shelf.answer(Request(op, "vf-1"), given)[0].status is Status.UNKNOWN
    assert not is_open(given[0])


@pytest.mark.parametrize("count", [0, 2])
def test_a_put_without_three_descriptors_is_refused(count: int) -> None:
    shelf, given = Shelf(), descriptors(count)
    assert shelf.answer(Request(Op.PUT, "vf-1"), given)[0].status is Status.MALFORMED
    assert not any(map(is_open, given)) and not len(shelf)


def test_it_is_bounded() -> None:
    shelf = Shelf(most=1)
    shelf.answer(Request(Op.PUT, "vf-1"), descriptors())
    given = descriptors()
    assert shelf.answer(Request(Op.PUT, "vf-2"), given)[0].status is Status.FULL
    assert not any(map(is_open, given))
    assert shelf.answer(Request(Op.PUT, "vf-1"), descriptors())[0].status is Status.DONE
    shelf.clear()
