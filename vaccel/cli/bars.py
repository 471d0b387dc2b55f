"""A plot for a terminal: named bars, by a scale of decades where the values need one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from vaccel.cli.render import clean

_WIDTH: Final = 40
# Eighths of a cell, U+258F to U+2588.
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
# Values further apart than this would leave bars that cannot be seen.
_DECADES_FROM: Final = 50.0


def plot(bars: Sequence[tuple[str, float]], unit: str) -> list[str]:
    """Lines with one bar each; values are not negative. A last line names a logarithmic scale."""
    shown = [value for _, value in bars if value > 0]
    if not shown:
        return []
    least, most = min(shown), max(shown)
    decades = most / least > _DECADES_FROM
    floor = math.floor(math.log10(least)) if decades else 0
    top = math.log10(most) - floor

    def part(value: float) -> float:
        if value <= 0:
            return 0.0
        return (math.log10(value) - floor) / top if decades else value / most

    width = max(len(name) for name, _ in bars)
    lines = [
        f"{clean(name).ljust(width)}  {_bar(part(value))} {value:,.4g} {unit}"
        for name, value in bars
    ]
    return [*lines, f"(each bar begins at 1e{floor} {unit}: logarithmic)"] if decades else lines


def _bar(part: float) -> str:
    eighths = round(max(0.0, min(1.0, part)) * _WIDTH * 8)
    whole, rest = divmod(eighths, 8)
    return ("█" * whole + (_EIGHTHS[rest] if rest else "")).ljust(_WIDTH)
