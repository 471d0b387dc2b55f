"""What several commands share: options, and the form of their help."""

from __future__ import annotations

from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs, errors included.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Return as soon as it is under way.")]
Tenant = Annotated[str, typer.Option(metavar="NAME", help="Who owns it. Default: default.")]

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


def noun(text: str) -> typer.Typer:
    """The application of one noun. ``text`` is its help."""
    return typer.Typer(
        help=text,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=CONTEXT,
    )


def plain_arguments(command: Any) -> None:
    """Name arguments as manual pages do: ``NAME``, not ``{NAME}`` and ``NAME <str>``."""
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            shown = parameter.metavar or parameter.name.upper()
            usage = shown + ("..." if parameter.nargs != 1 else "")
            pieces = [usage if parameter.required else f"[{usage}]"]
            parameter.get_usage_pieces = lambda _ctx, pieces=pieces: pieces
            parameter.display_type_rich = lambda ctx: ""
    for each in getattr(command, "commands", {}).values():
        plain_arguments(each)


def examples(*lines: str) -> str:
    """An epilog that shows commands as they are typed."""
    return "\b\nExamples:\n" + "\n".join(f"  vaccelctl {line}" for line in lines)
