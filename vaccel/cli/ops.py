"""``vaccelctl ops``: the kernels of the compute API."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vaccel.cli import render
from vaccel.cli.options import CONTEXT, Json, examples

if TYPE_CHECKING:
    from vaccel.kernels.declaration import Kernel

app = typer.Typer(add_completion=False, context_settings=CONTEXT)


@app.command(epilog=examples("ops", "ops matmul", "ops --json"))
def ops(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="One kernel, in full.", show_default=False)
    ] = "",
    as_json: Json = False,
) -> None:
    """List the kernels that programs can run by name, or explain one.

    Every kind of card runs them. In Python each is a function of vaccel.ops. No daemon is asked.
    """
    from vaccel.kernels import KERNELS, find

    if name:
        kernel = find(name)
        if as_json:
            render.print_json(_object(kernel))
            return
        _explain(kernel)
        return
    if as_json:
        render.print_json([_object(kernel) for kernel in KERNELS.values()])
        return
    render.print_table(
        ("kernel", "family", "what it computes"),
        [(kernel.name, kernel.family, kernel.summary) for kernel in KERNELS.values()],
        "There are none.",
    )


def _object(kernel: Kernel) -> dict[str, Any]:
    plain = render.plain(kernel)
    plain["types"] = [str(types) for types in kernel.types]
    plain["signature"] = kernel.signature
    for attribute in plain["attributes"]:
        if attribute["default"] in (math.inf, -math.inf):  # JSON has no such number
            attribute["default"] = str(attribute["default"])
    return {key: value for key, value in plain.items() if key not in ("check", "fixed")}


def _explain(kernel: Kernel) -> None:
    import inspect

    from vaccel import ops as functions

    render.say(kernel.signature + "\n")
    render.say(inspect.getdoc(getattr(functions, kernel.name)) or "")
