"""``vaccelctl version``: this program's, and the daemon's where one answers."""

from __future__ import annotations

import typer

from vaccel import __version__
from vaccel.cli import render
from vaccel.cli.options import CONTEXT, Json, examples
from vaccel.cli.session import session_of
from vaccel.errors import VaccelError

app = typer.Typer(add_completion=False, context_settings=CONTEXT)


@app.command(epilog=examples("version", "version --json"))
def version(ctx: typer.Context, as_json: Json = False) -> None:
    """Show the version of vaccelctl, and of the daemon where one answers.

    It is no error where none does.
    """
    daemon, why = "", ""
    try:
        with session_of(ctx).host() as host:
            daemon = host.status().version
    except VaccelError as fault:
        why = fault.message
    if as_json:
        render.print_json({"vaccelctl": __version__, "vacceld": daemon or None})
        return
    render.print_fields((("vaccelctl", __version__), ("vacceld", daemon or f"not known: {why}")))
