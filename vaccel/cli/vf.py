"""``vaccelctl vf``: virtual functions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from vaccel.cli import render
from vaccel.cli.condition import conditions
from vaccel.cli.figures import value_text
from vaccel.cli.options import Json, NoWait, Tenant, examples, noun
from vaccel.cli.session import session_of
from vaccel.cli.sizes import age_text, count_text, ranges_text, size_text
from vaccel.errors import InvalidArgument

if TYPE_CHECKING:
    from vaccel.inventory import VF

app = noun(
    "Virtual functions: the parts of a card that tenants get.\n\n"
    "A VF is created on a card in the size of a profile, attached to a VM or to this host's own "
    "processes, detached, and destroyed. It owns its cores and its memory; a neighbour touches "
    "neither."
)

Vf = Annotated[str, typer.Argument(metavar="VF", help="Name or id of the VF.")]


@app.command("create", epilog=examples("vf create npu.2c.12g", "vf create npu.1c.6g --name speech"))
def create(
    ctx: typer.Context,
    profile: Annotated[
        str, typer.Argument(metavar="PROFILE", help="Its size; see vaccelctl profile list.")
    ],
    pf: Annotated[
        str, typer.Option(metavar="NAME", help="The card. Default: the first on which it fits.")
    ] = "",
    name: Annotated[
        str, typer.Option(metavar="NAME", help="A name for it. Default: its id serves.")
    ] = "",
    tenant: Tenant = "",
    seed: Annotated[
        str,
        typer.Option(
            metavar="TEXT", help="What an analog card's noise comes from. Default: a secret."
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Split a VF off a card."""
    with session_of(ctx).host() as host:
        vf = host.create_vf(profile, pf, name, tenant, seed)
    if as_json:
        render.print_json(vf)
        return
    named = f"{vf.name} ({vf.id})" if vf.name not in ("", vf.id) else vf.id
    cores, memory = count_text(vf.profile.cores, "core"), size_text(vf.profile.memory_bytes)
    render.say(f"created VF {named} on {vf.pf}: {cores}, {memory}")


@app.command("list", epilog=examples("vf list", "vf list --json"))
def list_vfs(ctx: typer.Context, as_json: Json = False) -> None:
    """List the VFs of this host."""
    with session_of(ctx).host() as host:
        vfs = host.vfs()
    if as_json:
        render.print_json(vfs)
        return
    render.print_table(
        ("name", "profile", "pf", "state", "attached to", "enrolled", "tenant", "age"),
        [_row(vf) for vf in vfs],
        "No VFs. Make one: vaccelctl vf create PROFILE",
    )


@app.command("show", epilog=examples("vf show speech", "vf show speech --json"))
def show(ctx: typer.Context, vf: Vf, as_json: Json = False) -> None:
    """Show a VF: where it is, what it holds, what it has done."""
    with session_of(ctx).host() as host:
        found = host.vf(vf)
    if as_json:
        render.print_json(found)
        return
    usage = found.usage
    held, memory = size_text(usage.memory_bytes), size_text(found.profile.memory_bytes)
    render.print_fields(
        (
            ("name", found.name),
            ("id", found.id),
            ("state", found.state),
            ("why", found.reason),
            ("tenant", found.tenant),
            ("profile", found.profile.name),
            ("card", found.pf),
            ("cores", ranges_text(found.cores)),
            ("memory", f"{held} of {memory}"),
            ("window", size_text(found.profile.window_bytes)),
            ("attached to", _attached(found)),
            ("agent enrolled", "yes" if found.enrolled else "no"),
            ("epoch", found.epoch),
            ("worker", f"process {found.worker_pid}" if found.worker_pid else "none"),
            ("age", _age(found)),
            ("contexts", usage.contexts),
            ("buffers", usage.buffers),
            ("programs", usage.programs),
            ("launches", usage.launches),
            ("device time", value_text(usage.device_ns / 1e9, "s")),
            ("energy", value_text(usage.joules, "J")),
            ("errors", usage.errors),
            ("queues lent", usage.queues),
            ("descriptors", f"{usage.descriptors}, {usage.malformed} of them malformed"),
            ("broken queues", usage.broken_queues),
            ("idle doorbells", f"{usage.empty_doorbells}, throttled {usage.throttled} times"),
            *conditions(found.conditions),
        )
    )


@app.command("attach", epilog=examples("vf attach speech --vm web-1", "vf attach speech --local"))
def attach(
    ctx: typer.Context,
    vf: Vf,
    vm: Annotated[str, typer.Option(metavar="NAME", help="The VM that gets it.")] = "",
    local: Annotated[bool, typer.Option("--local", help="Give it to processes here.")] = False,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Give a VF to a VM, or to processes of this host.

    Waits until it can be used there: in a VM, until the guest's agent has enrolled.
    """
    if bool(vm) == local:
        raise InvalidArgument(
            f"attach of VF {vf!r} needs either --vm NAME or --local",
            hint="VMs there are: vaccelctl vm list",
        )
    from vaccel.bench.reporter import Reporter

    with session_of(ctx).host() as host, Reporter() as progress:
        found = host.attach_vf(vf, vm=vm, local=local, wait=not no_wait, progress=progress)
    if as_json:
        render.print_json(found)
        return
    render.say(f"VF {found.name or found.id} is {found.state}: {_attached(found)}")


@app.command("detach", epilog=examples("vf detach speech", "vf detach speech --force"))
def detach(
    ctx: typer.Context,
    vf: Vf,
    force: Annotated[
        bool, typer.Option("--force", help="Do not wait for the guest to let go.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Take a VF back from where it is attached. Programs that use it get the error Detached."""
    from vaccel.bench.reporter import Reporter

    with session_of(ctx).host() as host, Reporter() as progress:
        found = host.detach_vf(vf, force=force, progress=progress)
    if as_json:
        render.print_json(found)
        return
    render.say(f"VF {found.name or found.id} is {found.state}")


@app.command("recalibrate", epilog=examples("vf recalibrate speech"))
def recalibrate(ctx: typer.Context, vf: Vf, as_json: Json = False) -> None:
    """Compensate what drift has done to a VF's cells.

    The VF measures its tiles, which costs device time and energy; prints both.
    """
    with session_of(ctx).host() as host:
        found, cost = host.recalibrate_vf(vf)
    if as_json:
        render.print_json({"vf": found, "cost": cost})
        return
    spent = f"{value_text(cost.device_ns / 1e9, 's')}, {value_text(cost.total_joules, 'J')}"
    render.say(f"recalibrated VF {found.name or found.id}: {spent}")


@app.command("destroy", epilog=examples("vf destroy speech", "vf destroy speech --force"))
def destroy(
    ctx: typer.Context,
    vf: Vf,
    force: Annotated[bool, typer.Option("--force", help="Detach it first.")] = False,
    as_json: Json = False,
) -> None:
    """End a VF: its memory is scrubbed, its cores are free again."""
    with session_of(ctx).host() as host:
        host.destroy_vf(vf, force=force)
    if as_json:
        render.print_json({"vf": vf, "destroyed": True})
        return
    render.say(f"destroyed VF {vf}")


def _attached(vf: VF) -> str:
    if vf.vm:
        return f"VM {vf.vm}"
    return f"local, {vf.socket}" if vf.socket else "nothing"


def _age(vf: VF) -> str:
    return age_text((time.time_ns() - vf.created_unix_ns) / 1e9)


def _row(vf: VF) -> tuple[object, ...]:
    where = f"VM {vf.vm}" if vf.vm else "local" if vf.socket else "-"
    enrolled = "yes" if vf.enrolled else "no"
    name, age = vf.name or vf.id, _age(vf)
    return (name, vf.profile.name, vf.pf, vf.state, where, enrolled, vf.tenant, age)
