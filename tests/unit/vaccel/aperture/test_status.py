from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import fields

import pytest

from vaccel.aperture import layout, status
from vaccel.aperture.window import Window, create_window
from vaccel.errors import Unavailable

BASE = layout.STATUS_OFFSET // layout.WORD


@pytest.fixture
def window() -> Iterator[Window]:
    fd = create_window(1 << 20)
    made = Window.from_fd(fd, 1 << 20)
    os.close(fd)
    yield made
    made.close()


def test_each_field_of_the_page_is_one_of_a_status(window: Window) -> None:
    assert len(fields(status.Status)) == len(layout.STATUS_FIELDS)
    for number, field in enumerate(layout.STATUS_FIELDS):
        window.words[BASE + field.word] = 2 * number + 2
    found = status.read(window)
    assert [getattr(found, one.name) for one in fields(found)] == [
        2 * number + 2 for number in range(len(layout.STATUS_FIELDS))
    ]
    assert (found.state_name, found.serving) == ("4", False)


@pytest.mark.parametrize(("state", "name"), [(0, "none"), (1, "serving"), (2, "lost")])
def test_states_have_names(window: Window, state: int, name: str) -> None:
    window.words[BASE + layout.STATUS_STATE.word] = state
    found = status.read(window)
    assert (found.state_name, found.serving) == (name, name == "serving")


def test_a_page_that_is_being_written_is_not_read(window: Window) -> None:
    window.words[BASE] = 7
    with pytest.raises(Unavailable, match="generation 7"):
        status.read(window)


def test_a_copy_is_of_one_generation(window: Window) -> None:
    stop = threading.Event()

    def write() -> None:
        words, generation = window.words, 0
        while not stop.is_set():
            words[BASE] = generation | 1
            for field in layout.STATUS_FIELDS[1:]:
                words[BASE + field.word] = generation + 2
            generation += 2
            words[BASE] = generation

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    try:
        while len(seen) < 100:
            try:
                found = status.read(window)
            except Unavailable:
                continue
            seen.add(found.generation)
            assert {getattr(found, one.name) for one in fields(found)} == {found.generation}
    finally:
        stop.set()
        writer.join()
