"""What commands print: a table for people or JSON for programs; colours only on a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Final, TextIO

# Standard ANSI colours (ECMA-48, SGR), so that the terminal's own theme decides.
_COLOURS: Final = {"red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36}
_STATES: Final = {
    "ready": "green",
    "attached": "green",
    "running": "green",
    "yes": "green",
    "failed": "red",
    "dead": "red",
}


def plain(value: Any) -> Any:
    """A value as JSON has it: dataclasses and mappings become objects, tuples become lists."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(plain(value), indent=2, ensure_ascii=False))


def say(text: str) -> None:
    """A line, or lines, on stdout, free of control characters."""
    print(clean(text))


def print_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[object]],
    empty: str,
    *,
    numbers: bool = False,
) -> None:
    """Columns under headings, each as wide as it must be; ``empty`` where there are no rows.

    ``numbers`` puts every column but the first to the right.
    """
    lines = [[clean(str(cell), "") for cell in row] for row in rows]
    if not lines:
        say(empty)
        return
    table = [[heading.upper() for heading in headings], *lines]
    widths = [max(len(row[column]) for row in table) for column in range(len(headings))]
    for number, row in enumerate(table):
        cells = [
            cell.rjust(width) if numbers and column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        if number:
            cells = [paint(cell, _STATES.get(cell.strip(), "")) for cell in cells]
        print("  ".join(cells).rstrip())


def print_fields(rows: Iterable[tuple[str, object]]) -> None:
    """Names and values, one a line, the values aligned; those that are "" are left out."""
    shown = [(name, clean(str(value), "")) for name, value in rows if value != ""]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        print(f"{name.ljust(width)}  {paint(value, _STATES.get(value, ''))}")


def clean(text: str, kept: str = "\n\t") -> str:
    """Text without control characters, which a terminal would obey: some comes from guests."""
    return "".join(
        character if character.isprintable() or character in kept else "\N{REPLACEMENT CHARACTER}"
        for character in text
    )


def colourful(stream: TextIO) -> bool:
    """Whether colours go to a stream: a terminal, and nobody said no (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, colour: str, stream: TextIO | None = None) -> str:
    """Text in a colour where the stream (stdout) shows colours; "" is none."""
    if not colour or not colourful(stream or sys.stdout):
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"
