"""A benchmark as a command: progress while it runs, then one result, drawn or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from vaccel.bench.where import Where

if TYPE_CHECKING:
    from vaccel.bench.reporter import Reporter

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object, an error as one on stderr.")
]
Place = Annotated[
    Where, typer.Option(metavar="vm|local", help="Where the program that uses the VF runs.")
]
Only = Annotated[str, typer.Option(metavar="TEXT", help="Only those with this in their name.")]

R = TypeVar("R")


def present(
    measure: Callable[[Reporter], R], show: Callable[[R], None], as_json: bool
) -> R:
    """Run ``measure``, which is given its progress; print its result, and return it.

    A result is a dataclass or a mapping; ``show`` draws it for people.
    """
    from vaccel.bench.reporter import Reporter
    from vaccel.cli import render

    with Reporter() as progress:
        result = measure(progress)
    if as_json:
        print(json.dumps(render.plain(result)))
    else:
        show(result)
    return result


def verdict(good: bool) -> None:
    """End the command with 1 where its result is not what it must be."""
    if not good:
        raise typer.Exit(1)


def draw(
    title: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[object]],
    bars: Sequence[tuple[str, float]] = (),
    unit: str = "",
) -> None:
    """A title, a table of numbers, and where there are bars a plot of them in ``unit``."""
    from vaccel.cli import render
    from vaccel.cli.bars import plot

    render.say(title)
    render.print_table(headings, rows, "nothing was measured", numbers=True)
    if bars:
        print()
        render.say("\n".join(plot(bars, unit)))
