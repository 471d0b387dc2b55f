"""``vaccelctl``: noun, then verb. Each noun has its own file, loaded only when it is asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, Final

import typer
import typer.core
import typer.main

from vaccel import __version__
from vaccel.cli import errors
from vaccel.cli.options import CONTEXT, examples, plain_arguments
from vaccel.cli.session import ADDRESS_VARIABLE, DEFAULT_ADDRESS, Session

# The first line of each noun's own help, here so that --help loads none of them; a test compares.
COMMANDS: Final = {
    "pf": "Accelerator cards of this host.",
    "profile": "Sizes of VF that the cards offer.",
    "vf": "Virtual functions: the parts of a card that tenants get.",
    "vm": "Virtual machines that VFs are plugged into.",
    "image": "Guest images that VMs boot.",
    "ops": "List the kernels that programs can run by name, or explain one.",
    "compile": "Compile a model into a program file for one card and profile.",
    "explain": "Explain what each node of a model costs on a card, and why.",
    "status": "Show the host at a glance.",
    "version": "Show the version of vaccelctl, and of the daemon where one answers.",
    "demo": "Run two real models on a VF of an emulated NPU; exit 0 only if every output agrees.",
    "bench": "Measure this host, with a private daemon and, where asked, a VM.",
}


# Those of vaccel.errors, by what there is to do; docs/vaccelctl.md has them at length.
_EXIT_CODES: Final = """\b
Exit codes:
   0  done                         6  you may not
   1  the check that it made fails 7  not supported
   2  wrong argument or model      8  no answer: try again, start the daemon
   3  no such name                 9  the device was lost or taken away
   4  its state does not allow it 10  the host lacks something
   5  too little room             70  a bug          130  Ctrl-C

"""


class LazyGroup(typer.core.TyperGroup):
    """A group whose commands are modules of this package, each with an ``app``."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Names, in the order in which a newcomer needs them."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Load one command; None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        app: typer.Typer = import_module(f"vaccel.cli.{cmd_name}").app
        # Plain help everywhere: rich alone takes longer to load than all of --help may take.
        app.rich_markup_mode = None
        command = typer.main.get_command(app)
        command.name = cmd_name
        plain_arguments(command)
        command.context_settings = {**CONTEXT, **command.context_settings}
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list in --help, from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


app = typer.Typer(
    cls=LazyGroup,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=CONTEXT,
    epilog=_EXIT_CODES
    + examples(
        "vf create npu.2c.12g --name speech",
        "vm start web-1",
        "vf attach speech --vm web-1",
        "vm exec web-1 --user app -- python3 -m vaccel.bench.guest --help",
        "--address unix:/tmp/other.sock status --json",
    ),
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"vaccelctl {__version__}")
        raise typer.Exit(0)


@app.callback()
def vaccelctl(
    ctx: typer.Context,
    address: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            envvar=ADDRESS_VARIABLE,
            help=f"Where vacceld listens: unix:/PATH or HOST:PORT. Default: {DEFAULT_ADDRESS}.",
            show_default=False,
        ),
    ] = "",
    _version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """See, split and give out the accelerators of a host.

    vaccelctl asks the daemon, vacceld, over its control socket. Every command prints a table, or
    JSON with --json. One that fails says on stderr what failed and what to do next, with --json as
    an object.
    """
    session = ctx.ensure_object(Session)
    session.address = session.address or address


def run(arguments: Sequence[str], session: Session | None = None) -> int:
    """Run one command line; returns its exit code. ``session`` may bring another client."""
    ours = list(arguments)
    as_json = "--json" in (ours[: ours.index("--")] if "--" in ours else ours)
    command = typer.main.get_command(app)
    try:
        code = command.main(
            args=ours, prog_name="vaccelctl", standalone_mode=False, obj=session or Session()
        )
        sys.stdout.flush()  # here, where a full disk can still be told
    except (KeyboardInterrupt, typer.Abort):
        print("vaccelctl: interrupted", file=sys.stderr)
        return errors.INTERRUPTED
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # nobody reads it
        return 1
    except Exception as fault:
        if type(fault).__name__ == "NoArgsIsHelpError":
            print(fault, file=sys.stderr)
            return 2
        return errors.report(errors.ours(fault, arguments), as_json)
    return code if isinstance(code, int) else 0


def main() -> None:
    """The program."""
    # Whoever closed a stream does not want it; Python then has None in its place.
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets a question mark, not a traceback.
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    sys.exit(run(sys.argv[1:]))
