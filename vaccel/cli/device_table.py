"""The table of ``bench device``: measured and expected side by side, with where each comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vaccel.cli import render
from vaccel.cli.figures import MARK, value_text

if TYPE_CHECKING:
    from vaccel.bench.device import Result, Row


def show(result: Result) -> None:
    """Print it; every source has a number, and its words stand below."""
    sources: dict[str, int] = {}
    rows = [_line(row, sources) for row in result.rows]
    render.say(f"{result.card}, a VF of profile {result.profile}")
    render.print_table(
        ("quantity", "measured", "expected", "by", "error", "met", "source", ""), rows, ""
    )
    print()
    for text, number in sources.items():
        render.say(f"[{number}] {text}")


def _line(row: Row, sources: dict[str, int]) -> tuple[str, ...]:
    measured = value_text(row.measured, row.unit)
    if row.met is None or row.error_pct is None:
        return (row.quantity, measured, "-", "", "", "", "", "")
    number = sources.setdefault(row.source, len(sources) + 1)
    return (
        row.quantity,
        measured,
        value_text(row.expected, row.unit),
        "published" if row.published else "card file",
        f"{row.error_pct:+.2f} %",
        "yes" if row.met else "no",
        f"[{number}]",
        MARK if row.unverified else "",
    )
