"""Kernels that pick, order and move elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from host_daemon.compiler.kernels.draft import Draft
from host_daemon.compiler.kernels.elementwise import scalar
from vaccel.errors import InvalidArgument


def _gather(draft: Draft) -> None:
    draft.node("Gather", ["x", "indices"], axis=draft.integer("axis"))


def _gather_elements(draft: Draft) -> None:
    draft.node("GatherElements", ["x", "indices"], axis=draft.integer("axis"))


def _top_k(draft: Draft) -> None:
    draft.node(
        "TopK",
        ["x", draft.integers("k", [draft.integer("k")])],
        axis=draft.integer("axis"),
        largest=draft.integer("largest"),
        sorted=1,
    )


def _sort(draft: Draft) -> None:
    """The most elements there are, in order. Where their number is not known, of the shape's."""
    axis = draft.integer("axis")
    size = draft.size("x", axis)
    if size is not None:
        count = draft.integers("k", [size])
    else:
        count, start = "k", axis
        if (rank := draft.rank("x")) is not None:
            start = axis % rank
        elif axis < 0:
            raise InvalidArgument(
                "kernel sort: the rank of x is not known", hint="give x with a shape"
            )
        draft.node("Shape", ["x"], [count], start=start, end=start + 1)
    draft.node("TopK", ["x", count], axis=axis, largest=draft.integer("descending"), sorted=1)


def _transpose(draft: Draft) -> None:
    perm = list(draft.ints("perm"))
    rank = draft.rank("x")
    perm = [axis % rank for axis in perm] if rank else perm
    if perm and min(perm) < 0:
        raise InvalidArgument(
            "kernel transpose: a negative axis, and the rank of x is not known",
            hint="give x with a shape, or axes from 0 on",
        )
    settings: dict[str, Any] = {"perm": perm} if perm else {}
    draft.node("Transpose", ["x"], **settings)


def _slice(draft: Draft) -> None:
    starts = draft.ints("starts")
    axes = draft.ints("axes") or tuple(range(len(starts)))
    steps = draft.ints("steps") or (1,) * len(starts)
    names = [
        draft.integers(name, values)
        for name, values in (
            ("starts", starts),
            ("ends", draft.ints("ends")),
            ("axes", axes),
            ("steps", steps),
        )
    ]
    draft.node("Slice", ["x", *names])


def _pad(draft: Draft) -> None:
    inputs = ["x", draft.integers("pads", draft.ints("pads"))]
    mode = str(draft.settings["mode"])
    if mode == "constant" and draft.number("value"):
        inputs.append(draft.constant("value", scalar(draft, "value", draft.number("value"))))
    draft.node("Pad", inputs, mode=mode)


def _sized(op: str, name: str) -> Callable[[Draft], None]:
    settings: dict[str, Any] = {"allowzero": 1} if op == "Reshape" else {}
    return lambda draft: draft.node(op, ["x", draft.integers(name, draft.ints(name))], **settings)


ORDERING: Final[dict[str, Callable[[Draft], None]]] = {
    "gather": _gather,
    "embedding": lambda draft: draft.node("Gather", ["table", "ids"], axis=0),
    "gather_elements": _gather_elements,
    "top_k": _top_k,
    "sort": _sort,
    "transpose": _transpose,
    "concat": lambda draft: draft.node("Concat", list(draft.ports), axis=draft.integer("axis")),
    "slice": _slice,
    "pad": _pad,
    "reshape": _sized("Reshape", "shape"),
    "expand": _sized("Expand", "shape"),
    "tile": _sized("Tile", "repeats"),
}
