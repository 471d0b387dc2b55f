"""Options that say what a model is compiled for, and on what inputs it is explained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from vaccel import given
from vaccel.errors import InvalidArgument
from vaccel.toolchain import Request

ModelFile = Annotated[
    Path, typer.Argument(metavar="MODEL", help="An ONNX file, or a .vxp file.", show_default=False)
]
ProfileName = Annotated[
    str, typer.Option("--profile", metavar="NAME", help="The size of VF, such as npu.2c.12g.")
]
CardName = Annotated[
    str,
    typer.Option(
        "--card",
        metavar="NAME",
        help="A card of the catalogue, or a card file. Default: the first with that profile.",
        show_default=False,
    ),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option("--shape", metavar="INPUT=1,3,224,224", help="The shape of an input."),
]
Dims = Annotated[
    list[str] | None,
    typer.Option("--dim", metavar="SYMBOL=8", help="The size of a symbol. Default: 1."),
]
Values = Annotated[
    list[str] | None,
    typer.Option(
        "--value",
        metavar="INPUT=JSON",
        help="The value of an input that decides what runs, such as sr=16000 or on=[true].",
    ),
]


ArithmeticName = Annotated[
    str,
    typer.Option(
        "--arithmetic",
        metavar="NAME",
        help="What products of float32 compute in, such as bf16 or int8. Default: float32.",
        show_default=False,
    ),
]

MaxError = Annotated[
    float | None,
    typer.Option(
        "--max-error",
        metavar="X",
        help="The relative error that nodes in analog may have, such as 0.1. Default: any.",
        show_default=False,
    ),
]


def request_of(
    profile: str,
    card: str,
    shapes: Sequence[str] | None,
    dims: Sequence[str] | None,
    values: Sequence[str] | None,
    arithmetic: str = "",
    max_error: float | None = None,
) -> Request:
    """The request that options make. Raises InvalidArgument naming the option."""
    return Request(
        profile,
        card,
        {name: _shape(name, text) for name, text in _pairs("--shape", shapes)},
        {name: _size("--dim", text) for name, text in _pairs("--dim", dims)},
        {name: _value(name, text) for name, text in _pairs("--value", values)},
        arithmetic,
        0.0 if max_error is None else given.share("--max-error", max_error),
    )


def _pairs(option: str, texts: Sequence[str] | None) -> list[tuple[str, str]]:
    found = []
    for each in texts or ():
        name, equals, text = each.partition("=")
        if not equals or not name:
            raise InvalidArgument(f"{option} {each!r} is no NAME=VALUE", hint=f"{option} name=1")
        found.append((name, text))
    return found


def _shape(name: str, text: str) -> list[int]:
    return [_size(f"--shape {name}", each) for each in text.split(",") if each]


def _size(option: str, text: str) -> int:
    if not text.isdecimal():
        raise InvalidArgument(f"{option}: {text!r} is no size", hint="sizes are 0, 1, 2 ...")
    return int(text)


def _value(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as fault:
        raise InvalidArgument(
            f"--value {name}: {text[:80]!r} is no JSON: {fault}", hint="such as 16000 or [1, 2]"
        ) from None
