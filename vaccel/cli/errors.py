"""How vaccelctl fails: a line on stderr that names the thing, one with what to do, an exit code.

The codes are those of ``vaccel.errors``; 130 after Ctrl-C. With ``--json`` the same is one JSON
object on stderr: ``{"error": {"code": ..., "message": ..., "hint": ..., "exit_code": ...}}``.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Final

from typer.exceptions import TyperException

from vaccel.cli.render import clean, paint
from vaccel.cli.session import START_HINT
from vaccel.errors import HostFault, Internal, InvalidArgument, Unavailable, VaccelError

TRACEBACK_VARIABLE: Final = "VACCELCTL_TRACEBACK"
INTERRUPTED: Final = 130
_OUTPUT_FAULTS: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


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


def ours(fault: Exception, arguments: Sequence[str]) -> VaccelError:
    """Whatever ended the command line ``arguments``, as an error of ours."""
    if isinstance(fault, VaccelError):
        return fault
    if isinstance(fault, TyperException):
        return _usage_error(fault)
    if isinstance(fault, OSError) and fault.filename is None and fault.errno in _OUTPUT_FAULTS:
        return _unwritable(fault)
    if isinstance(fault, UnicodeEncodeError):
        for each in arguments:
            if any("\udc80" <= character <= "\udcff" for character in each):
                return _unreadable(each)
    return _bug(fault)


def _usage_error(fault: TyperException) -> VaccelError:
    """A mistake on the command line, as an error of ours."""
    context = getattr(fault, "ctx", None)
    command = context.command_path if context is not None else "vaccelctl"
    value = _wrong_value(fault)
    message = value or fault.format_message().rstrip(".")
    hint = f"see {command} --help"
    if command.endswith("vm exec") and not value:
        hint = "options of the command itself go after --: vaccelctl vm exec NAME -- CMD ARGUMENT"
    return InvalidArgument(message, hint=hint)


def _wrong_value(fault: TyperException) -> str:
    """A value that an option or an argument does not take, named; "" for any other mistake."""
    parameter, cause = getattr(fault, "param", None), fault.__cause__
    found = getattr(cause, "errors", None)
    if parameter is None or found is None:
        return ""
    first = found()[0]
    limits = first.get("ctx", {})
    value_error = str(first["msg"]).removeprefix("Value error, ").rstrip(".")
    if value_error.startswith(repr(first["input"])):  # a choice: the text names the value itself
        value_error = value_error.removeprefix(repr(first["input"])).strip()
    why = {
        "int_parsing": "is not a whole number",
        "greater_than_equal": f"is less than {limits.get('ge')}",
        "less_than_equal": f"is more than {limits.get('le')}",
    }.get(str(first["type"]), value_error)
    option = parameter.param_type_name == "option"
    name = max(parameter.opts, key=len) if option else parameter.metavar
    return f"{name} = {str(first['input'])!r} {why}"


def _unwritable(fault: OSError) -> VaccelError:
    """What was to be printed and could not be; an error of any file would name it."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # nothing more, at exit
    return HostFault(
        f"the output cannot be written: {fault.strerror}",
        hint="make room where it goes; what was asked has been done",
    )


def _unreadable(argument: str) -> VaccelError:
    """An argument that is no UTF-8, which names on the wire are."""
    shown = os.fsencode(argument).decode("utf-8", "backslashreplace")
    hint = "names are a-z 0-9 and - _ . inside"
    return InvalidArgument(f"argument '{shown}' is not UTF-8", hint=hint)


def _bug(fault: Exception) -> VaccelError:
    """An exception that nobody expected. Its traceback is shown where the variable asks for it."""
    if os.environ.get(TRACEBACK_VARIABLE):
        traceback.print_exception(fault)
    return Internal(
        f"{type(fault).__name__}: {fault}",
        hint=f"this is a bug: run it again with {TRACEBACK_VARIABLE}=1 and report what it prints",
    )
