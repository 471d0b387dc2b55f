"""``vaccelctl compile``: a model becomes a program file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from vaccel.cli import render
from vaccel.cli.model_options import (
    ArithmeticName,
    CardName,
    Dims,
    MaxError,
    ModelFile,
    ProfileName,
    Shapes,
    Values,
)
from vaccel.cli.options import CONTEXT, Json, examples
from vaccel.cli.sizes import size_text
from vaccel.cli.whole_file import whole_file

app = typer.Typer(add_completion=False, context_settings=CONTEXT)


@app.command(
    name="compile",
    epilog=examples(
        "compile model.onnx --profile npu.2c.12g -o model.vxp",
        "compile model.onnx --profile npu.2c.12g --explain --dim batch=8",
    ),
)
def compile_file(
    model: ModelFile,
    profile: ProfileName,
    card: CardName = "",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Default: MODEL with .vxp."),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say what each node costs.")] = False,
    shape: Shapes = None,
    dim: Dims = None,
    value: Values = None,
    arithmetic: ArithmeticName = "",
    max_error: MaxError = None,
    as_json: Json = False,
) -> None:
    """Compile a model into a program file for one card and profile.

    The model is parsed in a confined process; neither a daemon nor a VF is needed. A program file
    loads faster than its model: vaccel.open().load("model.vxp").
    """
    from vaccel import toolchain
    from vaccel.cli import explained
    from vaccel.cli.model_options import request_of

    request = request_of(profile, card, shape, dim, value, arithmetic, max_error)
    begun = time.monotonic()
    path = output or model.with_suffix(".vxp")
    with whole_file(path) as stream:
        done = toolchain.compile_model(model, request, file=True, explain=explain, to=stream)
    seconds = time.monotonic() - begun
    if as_json:
        found = {
            "file": str(path),
            "bytes": done.file_bytes,
            "card": done.card,
            "profile": profile,
            "model": done.model,
            "compile_ms": round(1e3 * seconds, 3),
        }
        render.print_json(found | ({"explain": done.explanation} if explain else {}))
        return
    if explain:
        explained.show(done.explanation)
    nodes, size = done.model["nodes"], size_text(done.file_bytes)
    render.say(f"{path}: {nodes} nodes, {size}, for {profile} of {done.card}, in {seconds:.1f} s")
