"""What several commands share: options, and the form of their help."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs, errors included.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Return as soon as it is under way.")]

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


def examples(*lines: str) -> str:
    """An epilog that shows commands as they are typed."""
    return "\b\nExamples:\n" + "\n".join(f"  vaccelctl {line}" for line in lines)
