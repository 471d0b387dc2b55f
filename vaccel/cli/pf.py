"""``vaccelctl pf``: the cards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vaccel.cli import render
from vaccel.cli.condition import conditions
from vaccel.cli.find import by_name
from vaccel.cli.options import Json, examples, noun
from vaccel.cli.session import session_of
from vaccel.cli.sizes import age_text, parse_duration, rate_text, size_text

if TYPE_CHECKING:
    from vaccel.inventory import PF

app = noun(
    "Accelerator cards of this host.\n\n"
    "A card (PF, physical function) is declared in the daemon's configuration. It has cores and "
    "memory, and offers profiles: sizes of VF that it can be split into."
)


@app.command("list", epilog=examples("pf list", "pf list --json"))
def list_pfs(ctx: typer.Context, as_json: Json = False) -> None:
    """List the cards, and what is free on each."""
    with session_of(ctx).host() as host:
        pfs = host.pfs()
    if as_json:
        render.print_json(pfs)
        return
    render.print_table(
        ("name", "kind", "card", "cores free", "memory free", "clock"),
        [_row(pf) for pf in pfs],
        "This host has no cards: declare one as [[pf]] in the daemon's configuration.",
    )


@app.command("show", epilog=examples("pf show npu0"))
def show_pf(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name or id of the card.")],
    as_json: Json = False,
) -> None:
    """Draw a card, and who has which part of it.

    Its cores with their owners, memory, power, arithmetic, and what still fits. A figure whose
    source calls itself unverified is marked so; --json has the source of each.
    """
    with session_of(ctx).host() as host:
        pf = by_name("PF", host.pfs(), name)
        vfs = [] if as_json else [vf for vf in host.vfs() if vf.pf in (pf.name, pf.id)]
    if as_json:
        render.print_json(pf)
        return
    from vaccel.cli import figures
    from vaccel.cli.card import draw

    cores = f"{pf.cores}, {pf.cores_free} free"
    memory = f"{size_text(pf.memory_bytes)}, {size_text(pf.memory_free_bytes)} free"
    render.print_fields(
        (
            ("name", pf.name),
            ("id", pf.id),
            ("card", pf.card),
            ("kind", pf.kind),
            ("clock", figures.marked(rate_text(pf.clock_hz, "Hz"), pf.figures, "clock")),
            ("cores", figures.marked(cores, pf.figures, "cores")),
            ("memory", figures.marked(memory, pf.figures, "memory")),
            ("bandwidth", _bandwidth(pf)),
            ("power", figures.power(pf.figures)),
            ("about", pf.source),
            *conditions(pf.conditions),
        )
    )
    print()
    for line in draw(pf, vfs):
        print(line)
    print()
    render.print_table(
        ("profile", "cores", "memory", "more fit"),
        [(p.name, p.cores, size_text(p.memory_bytes), pf.fits.get(p.name, 0)) for p in pf.profiles],
        "This card offers no profiles.",
    )
    rows = list(figures.arithmetic(pf.figures))
    if rows:
        print()
        headings = ("arithmetic", "peak", "published", "energy of a MAC", "")
        render.print_table(headings, rows, "")


@app.command("advance-clock", epilog=examples("pf advance-clock nvm0 30d"))
def advance_clock(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name or id of the card.")],
    time: Annotated[str, typer.Argument(metavar="TIME", help="How much: 90s, 15min, 1h, 30d, 1y.")],
    as_json: Json = False,
) -> None:
    """Let the cells of a card age. Their clock moves by this command only, and never back."""
    seconds = parse_duration(time, "TIME")
    with session_of(ctx).host() as host:
        pf = host.advance_clock(name, seconds)
    if as_json:
        render.print_json(pf)
        return
    clock = next((each.value for each in pf.conditions if each.name == "cell clock"), 0.0)
    render.say(f"clock of {pf.name} is at {age_text(clock)}")


def _bandwidth(pf: PF) -> str:
    from vaccel.cli import figures

    for figure in pf.figures:
        if figure.name == "bandwidth":
            return figures.marked(rate_text(figure.value, figure.unit), pf.figures, figure.name)
    return ""


def _row(pf: PF) -> tuple[object, ...]:
    return (
        pf.name,
        pf.kind,
        pf.card,
        f"{pf.cores_free} of {pf.cores}",
        f"{size_text(pf.memory_free_bytes)} of {size_text(pf.memory_bytes)}",
        rate_text(pf.clock_hz, "Hz"),
    )
