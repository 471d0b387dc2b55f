"""A file of reference results, and what a model says of its rows.

The kinds list their oracles; ``validate`` runs them all. ``predict`` sees the input columns only,
so that a result can never be an input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from vaccel.errors import InvalidArgument


def number(text: str) -> float | None:
    """The number that a cell holds, if it holds one."""
    try:
        return float(text)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Oracle:
    """``file`` is relative to the folder of oracles; ``result`` names the reference's column.

    ``seconds`` names the column of the reference's CPU time, or "" where it has none; or
    ``rates`` that of its multiply-accumulates per CPU second, and ``rate`` measures ours of a row.
    A prediction that takes milliseconds is timed over several ``passes``. Differences up to
    ``rounding`` are none: below it the reference itself is rounding. ``expected`` finds the
    reference's number in its cell.
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
    expected: Callable[[str], float | None] = number


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
