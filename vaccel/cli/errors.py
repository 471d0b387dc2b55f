"""How vaccelctl fails: a line on stderr that names the thing, one with what to do, an exit code.

The codes are those of ``vaccel.errors``; 130 after Ctrl-C. With ``--json`` the same is one JSON
object on stderr: ``{"error": {"code": ..., "message": ..., "hint": ..., "exit_code": ...}}``.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Final

from typer.exceptions import TyperException

from vaccel.cli.render import clean, paint
from vaccel.cli.session import START_HINT
from vaccel.errors import Internal, InvalidArgument, Unavailable, VaccelError

TRACEBACK_VARIABLE: Final = "VACCELCTL_TRACEBACK"
INTERRUPTED: Final = 130


def report(fault: VaccelError, as_json: bool) -> int:
    """Print an error; returns the exit code of its class."""
    hint = fault.hint or (START_HINT if type(fault) is Unavailable else "")
    if as_json:
        error = {
            "code": fault.code,
            "message": fault.message,
            "hint": hint,
            "exit_code": fault.exit_code,
        }
        print(json.dumps({"error": error}, ensure_ascii=False), file=sys.stderr)
    else:
        print(f"{paint('vaccelctl:', 'red', sys.stderr)} {clean(fault.message)}", file=sys.stderr)
        if hint:
            print(f"  hint: {clean(hint)}", file=sys.stderr)
    return fault.exit_code


def usage_error(fault: TyperException) -> VaccelError:
    """A mistake on the command line, as an error of ours."""
    context = getattr(fault, "ctx", None)
    command = context.command_path if context is not None else "vaccelctl"
    message = fault.format_message().rstrip(".")
    hint = f"see {command} --help"
    if command.endswith("vm exec"):
        hint = "options of the command itself go after --: vaccelctl vm exec NAME -- CMD ARGUMENT"
    return InvalidArgument(message, hint=hint)


def bug(fault: Exception) -> VaccelError:
    """An exception that nobody expected. Its traceback is shown where the variable asks for it."""
    if os.environ.get(TRACEBACK_VARIABLE):
        traceback.print_exception(fault)
    return Internal(
        f"{type(fault).__name__}: {fault}",
        hint=f"this is a bug: run it again with {TRACEBACK_VARIABLE}=1 and report what it prints",
    )
