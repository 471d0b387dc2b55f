"""``vaccelctl vm``: virtual machines."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vaccel.cli import render
from vaccel.cli.find import by_name
from vaccel.cli.options import Json, NoWait, Tenant, examples, noun
from vaccel.cli.session import session_of
from vaccel.cli.sizes import age_text, count_text, parse_size, size_text

if TYPE_CHECKING:
    from vaccel.inventory import VM

app = noun(
    "Virtual machines that VFs are plugged into.\n\n"
    "A VM boots a guest image with vaccel's agent in it, and runs on where the daemon ends. VFs "
    "come and go while it runs."
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name or id of the VM.")]


@app.command(
    "start",
    epilog=examples("vm start web-1", "vm start web-1 --memory 2G --cpus 2 --data ./models"),
)
def start(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name for it.")],
    image: Annotated[str, typer.Option(metavar="NAME", help="See vaccelctl image list.")] = "",
    memory: Annotated[
        str, typer.Option(metavar="SIZE", help="Like 512M or 2G. Default: as the daemon is set.")
    ] = "",
    cpus: Annotated[
        int,
        typer.Option(min=0, metavar="N", show_default=False, help="Default: as the daemon is set."),
    ] = 0,
    data: Annotated[
        str, typer.Option(metavar="DIR", help="A folder that the guest sees at /srv/data, to read.")
    ] = "",
    tenant: Tenant = "",
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Start a VM and wait until it answers commands."""
    from vaccel.bench.reporter import Reporter

    size = parse_size(memory, "--memory") if memory else 0
    folder = str(Path(data).absolute()) if data else ""
    with session_of(ctx).host() as host, Reporter() as progress:
        vm = host.start_vm(
            name,
            image=image,
            memory_bytes=size,
            cpus=cpus,
            data_dir=folder,
            tenant=tenant,
            wait=not no_wait,
            progress=progress,
        )
    if as_json:
        render.print_json(vm)
        return
    processors, room = count_text(vm.cpus, "CPU"), size_text(vm.memory_bytes)
    render.say(f"VM {vm.name} is {vm.state}: {processors}, {room}, {vm.accelerator}")


@app.command("list", epilog=examples("vm list", "vm list --json"))
def list_vms(ctx: typer.Context, as_json: Json = False) -> None:
    """List the VMs of this host."""
    with session_of(ctx).host() as host:
        vms = host.vms()
    if as_json:
        render.print_json(vms)
        return
    render.print_table(
        ("name", "state", "image", "cpus", "memory", "accelerator", "vfs", "age"),
        [_row(vm) for vm in vms],
        "No VMs. Start one: vaccelctl vm start NAME",
    )


@app.command("show", epilog=examples("vm show web-1"))
def show(ctx: typer.Context, name: Name, as_json: Json = False) -> None:
    """Show a VM and the VFs in it."""
    with session_of(ctx).host() as host:
        vm = by_name("VM", host.vms(), name)
    if as_json:
        render.print_json(vm)
        return
    render.print_fields(
        (
            ("name", vm.name),
            ("id", vm.id),
            ("state", vm.state),
            ("why", vm.reason),
            ("tenant", vm.tenant),
            ("image", vm.image),
            ("cpus", vm.cpus),
            ("memory", size_text(vm.memory_bytes)),
            ("accelerator", vm.accelerator),
            ("process", vm.pid or "none"),
            ("VFs", ", ".join(vm.vfs) or "none"),
            ("age", _age(vm)),
        )
    )


@app.command("stop", epilog=examples("vm stop web-1", "vm stop web-1 --force"))
def stop(
    ctx: typer.Context,
    name: Name,
    force: Annotated[
        bool, typer.Option("--force", help="At once, without asking the guest.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Stop a VM and forget it. Its VFs stay, and are ready for another."""
    from vaccel.bench.reporter import Reporter

    with session_of(ctx).host() as host, Reporter() as progress:
        progress(f"stop VM {name}", -1.0)
        host.stop_vm(name, force=force)
    if as_json:
        render.print_json({"vm": name, "stopped": True})
        return
    render.say(f"stopped VM {name}")


@app.command("console", epilog=examples("vm console web-1", "vm console web-1 --follow"))
def console(
    ctx: typer.Context,
    name: Name,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the VM ends, or Ctrl-C.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print what the guest wrote to its serial console."""
    from vaccel.cli import streams

    with session_of(ctx).host() as host:
        pieces = host.console(name, follow=follow)
        if as_json:
            text = b"".join(pieces).decode(errors="replace")
            render.print_json({"vm": name, "console": text})
            return
        streams.write_console(pieces)


@app.command(
    "exec",
    epilog=examples(
        "vm exec web-1 -- uname -a",
        "vm exec web-1 --user app -- python3 -c 'import vaccel; print(vaccel.open())'",
        "vm exec web-1 -- tee /tmp/notes < notes",
    ),
)
def execute(
    ctx: typer.Context,
    name: Name,
    command: Annotated[
        list[str], typer.Argument(metavar="CMD", help="The command and its arguments.")
    ],
    user: Annotated[
        str, typer.Option(metavar="NAME", help="Run it as this user of the guest, not root.")
    ] = "",
    timeout: Annotated[
        int,
        typer.Option(
            min=0, metavar="SECONDS", show_default=False, help="End it after this. Default: 600."
        ),
    ] = 0,
    no_stdin: Annotated[
        bool, typer.Option("--no-stdin", "-n", help="Pass nothing on, even where stdin is a pipe.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run a command in a VM, and exit with its exit code.

    Its output comes as it is written. What is piped into vaccelctl becomes its standard input. A
    command that a signal ended counts as 128 and the signal's number, as in a shell.
    """
    from vaccel.cli import streams

    stdin = b"" if no_stdin else streams.read_stdin()
    with session_of(ctx).host() as host:
        items = host.exec_vm(name, command, user=user, stdin=stdin, timeout_seconds=timeout)
        if as_json:
            result = streams.collect(items)
            render.print_json({"vm": name, "command": command, **result})
            raise typer.Exit(result["exit_code"])
        raise typer.Exit(streams.copy_output(items))


def _age(vm: VM) -> str:
    return age_text((time.time_ns() - vm.started_unix_ns) / 1e9) if vm.started_unix_ns else "-"


def _row(vm: VM) -> tuple[object, ...]:
    memory, vfs = size_text(vm.memory_bytes), ", ".join(vm.vfs) or "-"
    return (vm.name, vm.state, vm.image, vm.cpus, memory, vm.accelerator, vfs, _age(vm))
