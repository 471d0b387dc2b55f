"""A file of reference results, and what a model says of its rows.

The kinds list their oracles; ``validate`` runs them all. ``predict`` sees the input columns only,
so that a result can never be an input.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from vaccel.errors import InvalidArgument

# From a row with its results, and the result itself: the absolute difference that is accepted.
Allowed = Callable[[Mapping[str, str], float], float]
_LEAST_ALLOWED: Final = 1e-6


def within(share: float) -> Allowed:
    """A relative error: 0.005 is half a percent."""
    return lambda row, expected: share * abs(expected)


_EQUAL: Final = within(0.0)


def standard_errors(deviation: str) -> Allowed:
    """Three standard errors of a mean over ``seeds``, whose deviation a column names, or 1e-6."""

    def allowed(row: Mapping[str, str], expected: float) -> float:
        try:
            error = float(row.get(deviation, "")) / math.sqrt(float(row.get("seeds", "")))
        except (ValueError, ZeroDivisionError):
            error = 0.0
        return max(_LEAST_ALLOWED, 3 * error)

    return allowed


def cell(text: str) -> float | None:
    """The number that a cell holds, if it holds one."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class Oracle:
    """``file`` is relative to the folder of oracles; ``result`` names the reference's column.

    ``seconds`` names the column of the reference's CPU time, or "" where it has none; or
    ``rates`` that of its multiply-accumulates per CPU second, and ``rate`` measures ours of a row.
    A prediction that takes milliseconds is timed over several ``passes``. Differences up to
    ``rounding`` are none: below it the reference itself is rounding. ``allowed`` says by how much a
    prediction may differ from a row's result and count as met, ``expected`` finds the reference's
    number in its cell.
    """

    file: str
    inputs: tuple[str, ...]
    result: str
    quantity: str
    predict: Callable[[Mapping[str, str]], float]
    seconds: str = ""
    rates: str = ""
    rate: Callable[[Mapping[str, str]], float] | None = None
    passes: int = 5
    rounding: float = 0.0
    allowed: Allowed = _EQUAL
    expected: Callable[[str], float | None] = cell


def integer(row: Mapping[str, str], column: str, most: int = 10**18) -> int:
    """A positive integer of a row, up to ``most``. Raises InvalidArgument naming column and
    value.
    """
    text = row.get(column, "")
    if not text.isascii() or not text.isdigit() or len(text) > 18 or int(text) == 0:
        raise InvalidArgument(f"column {column} = {text!r} is not a positive integer")
    if int(text) > most:
        raise InvalidArgument(f"column {column} = {text!r} is more than {most}")
    return int(text)


def bounded(row: Mapping[str, str], column: str, most: int) -> int:
    """The same, of which more than ``most`` would take too long or too much memory."""
    value = integer(row, column)
    if value > most:
        raise InvalidArgument(f"column {column} = {value} is more than {most}")
    return value


def number(text: str, what: str) -> float:
    """A number from 0 to 1e12. Raises InvalidArgument naming what it is and the text."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1e12:
        raise InvalidArgument(f"{what} = {text!r} is not a number from 0 to 1e12")
    return value
