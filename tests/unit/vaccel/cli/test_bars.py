"""Bars in a terminal."""

from __future__ import annotations

from vaccel.cli.bars import plot


def test_a_bar_is_as_long_as_its_share() -> None:
    lines = plot([("a", 10.0), ("long", 5.0), ("none", 0.0)], "us")
    assert lines[0] == "a     " + "█" * 40 + " 10 us"
    assert lines[1] == "long  " + "█" * 20 + " " * 20 + " 5 us"
    assert lines[2] == "none  " + " " * 40 + " 0 us"


def test_values_far_apart_get_decades_and_say_so() -> None:
    lines = plot([("a", 1000.0), ("b", 1.0), ("c", 10.0)], "us")
    assert lines[0].count("█") == 40
    assert lines[1].count("█") == 0
    assert 12 <= lines[2].count("█") <= 14
    assert "logarithmic" in lines[-1]


def test_nothing_is_no_plot() -> None:
    assert plot([], "us") == []
    assert plot([("a", 0.0)], "us") == []


def test_names_cannot_command_the_terminal() -> None:
    assert "\x1b" not in plot([("\x1b[2J", 1.0)], "us")[0]
