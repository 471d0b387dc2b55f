"""``vaccelctl explain``: what each node of a model costs on a card, and why."""

from __future__ import annotations

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
from vaccel.cli.whole_file import whole_file

app = typer.Typer(add_completion=False, context_settings=CONTEXT)


@app.command(
    epilog=examples(
        "explain model.onnx --profile npu.2c.12g",
        "explain model.onnx --profile npu.2c.12g --dim batch=8 --html model.html",
        "explain silero_vad.onnx --profile npu.1c.6g --value sr=16000 --json",
    )
)
def explain(
    model: ModelFile,
    profile: ProfileName,
    card: CardName = "",
    shape: Shapes = None,
    dim: Dims = None,
    value: Values = None,
    arithmetic: ArithmeticName = "",
    max_error: MaxError = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write one page with timeline and graph."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Explain what each node of a model costs on a card, and why.

    Utilisation is the share of a node's time in which a unit is busy. The roofline says how many
    of the multiply-accumulates a node does that bandwidth and arrays would allow.
    """
    from vaccel import toolchain
    from vaccel.cli import explained
    from vaccel.cli.model_options import request_of

    request = request_of(profile, card, shape, dim, value, arithmetic, max_error)
    done = toolchain.compile_model(model, request, file=False, explain=True)
    if html is not None:
        from vaccel.cli.explained_page import page

        with whole_file(html) as stream:
            stream.write(page(done.explanation, model.name).encode())
    if as_json:
        render.print_json(done.explanation)
    elif html is None:
        explained.show(done.explanation)
    else:
        render.say(f"{html}: {len(done.explanation['nodes'])} nodes")
