from __future__ import annotations

import io
from types import MappingProxyType

import pytest

from vaccel.cli import render, sizes
from vaccel.errors import InvalidArgument
from vaccel.model import Usage


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_values():
    value = MappingProxyType({"a": (1, Usage(launches=2)), "b": None})
    assert render.plain(value)["a"][1]["launches"] == 2
    assert render.plain(value)["b"] is None


def test_columns_align_and_control_characters_go(capsys):
    render.print_table(("name", "n"), [("a\x1b[1m", 1), ("longer name", 22)], "none")
    assert capsys.readouterr().out.splitlines() == [
        "NAME         N",
        "a\N{REPLACEMENT CHARACTER}[1m        1",
        "longer name  22",
    ]


def test_a_cell_cannot_start_a_line_of_its_own(capsys):
    render.print_fields((("why", "dead\nstate  running"),))
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colours_only_where_they_are_wanted(monkeypatch, variables, coloured):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ("\x1b[31m" in render.paint("failed", "red", Terminal())) is coloured
    assert render.paint("failed", "red", io.StringIO()) == "failed"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512M", 512 << 20),
        ("2GiB", 2 << 30),
        ("1.5 G", 3 << 29),
        ("1MB", 10**6),
        ("4k", 4096),
    ],
)
def test_sizes(text, size):
    assert sizes.parse_size(text, "--memory") == size


@pytest.mark.parametrize("text", ["", "512", "M", "-1M", "0M", "1e9", "1PB", "1 X", "1M M", "nanG"])
def test_what_is_no_size(text):
    with pytest.raises(InvalidArgument, match="--memory"):
        sizes.parse_size(text, "--memory")


def test_texts():
    assert [sizes.size_text(n) for n in (0, 1023, 1536, 12 << 30, 5 << 42)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "12 GiB",
        "20 TiB",
    ]
    assert sizes.rate_text(819_200_000_000, "B/s") == "819.2 GB/s"
    assert sizes.rate_text(12, "Hz") == "12 Hz"
    assert [sizes.age_text(s) for s in (-5, 0, 59, 3700, 90_000)] == [
        "0s",
        "0s",
        "59s",
        "1h 1m",
        "1d 1h",
    ]
