"""``vaccelctl profile``: sizes of VF."""

from __future__ import annotations

import typer

from vaccel.cli import render
from vaccel.cli.options import Json, examples, noun
from vaccel.cli.session import session_of
from vaccel.cli.sizes import rate_text, size_text

app = noun(
    "Sizes of VF that the cards offer.\n\n"
    "A profile is named after what a VF of it has: npu.2c.12g has 2 cores and 12 GiB of device "
    "memory, and the share of the card's bandwidth that goes with them."
)


@app.callback()
def profile() -> None:
    """Keep ``list`` a verb of its own, though it is the only one."""


@app.command("list", epilog=examples("profile list", "vf create npu.2c.12g"))
def list_profiles(ctx: typer.Context, as_json: Json = False) -> None:
    """List the profiles of every card, and how many VFs of each still fit."""
    with session_of(ctx).host() as host:
        pfs = host.pfs()
    pairs = [(pf, profile) for pf in pfs for profile in pf.profiles]
    if as_json:
        render.print_json(
            [{"pf": pf.name, "fits": pf.fits.get(p.name, 0), **render.plain(p)} for pf, p in pairs]
        )
        return
    render.print_table(
        ("profile", "pf", "cores", "memory", "bandwidth", "window", "more fit"),
        [
            (
                p.name,
                pf.name,
                p.cores,
                size_text(p.memory_bytes),
                rate_text(p.bandwidth_bytes_per_second, "B/s"),
                size_text(p.window_bytes),
                pf.fits.get(p.name, 0),
            )
            for pf, p in pairs
        ],
        "No card offers a profile: declare one as [[pf]] in the daemon's configuration.",
    )
