"""``vaccelctl status``: the host at a glance."""

from __future__ import annotations

import typer

from vaccel.cli import render
from vaccel.cli.options import CONTEXT, Json, examples
from vaccel.cli.session import session_of
from vaccel.cli.sizes import age_text, size_text

app = typer.Typer(add_completion=False, context_settings=CONTEXT)


@app.command(epilog=examples("status", "status --json"))
def status(ctx: typer.Context, as_json: Json = False) -> None:
    """Show the host at a glance.

    What it has, what of it is given out, which accelerator its VMs run with and why, and what an
    operator should look at.
    """
    with session_of(ctx).host() as host:
        found = host.status()
    if as_json:
        render.print_json(found)
        return
    given, limit = size_text(found.memory_admitted_bytes), size_text(found.memory_limit_bytes)
    render.print_fields(
        (
            ("host", found.host),
            ("vacceld", f"{found.version}, process {found.pid}"),
            ("up for", age_text(found.uptime_seconds)),
            ("VMs run with", f"{found.accelerator}: {found.accelerator_reason}"),
            ("guests reach it at", found.guest_endpoint),
            ("cards", found.pfs),
            ("VFs", found.vfs),
            ("VMs", found.vms),
            ("memory given out", f"{given} of {limit}"),
        )
    )
    for warning in found.warnings:
        print(render.paint(f"warning: {render.clean(warning, '')}", "yellow"))
