"""Kernels that pick, order and move elements, and compute none."""

from __future__ import annotations

import math
from typing import Final

from vaccel.kernels.declaration import Attribute, Case, Kernel, Operand, Types
from vaccel.kernels.types import ALL, INDICES, NUMBERS, same

_X: Final = (Operand("x", "s…"),)
_RESULT: Final = (Operand("result", "r…"),)
_INDEXED: Final = (Types(("T", "I"), ("T",), {"T": ALL, "I": INDICES}),)
_PICKED: Final = (Types(("T",), ("T", "int64"), {"T": NUMBERS}),)
_MODES: Final = ("constant", "edge", "reflect")
_AXIS: Final = Attribute("axis", "int", "the axis that is worked on", -1, axis="one")


def _check_gather_elements(case: Case) -> str:
    x, indices = case.dims["x"], case.dims["indices"]
    if len(x) != len(indices):
        return f"x has rank {len(x)}, indices have {len(indices)}"
    axis = int(str(case.settings["axis"])) % len(x) if x else 0
    for at, (have, want) in enumerate(zip(x, indices, strict=True)):
        known = isinstance(have, int) and isinstance(want, int)
        if at != axis and known and int(str(want)) > int(str(have)):
            return f"indices reach {want} along axis {at}, x has {have}"
    return ""


def _check_top_k(case: Case) -> str:
    k, dims = int(str(case.settings["k"])), case.dims["x"]
    if not dims:
        return "x has no axis"
    size = dims[int(str(case.settings["axis"])) % len(dims)]
    if isinstance(size, int) and k > size:
        return f"k {k} is not within {size} elements"
    return ""


def _check_concat(case: Case) -> str:
    parts = list(case.dims.items())
    name, first = parts[0]
    axis = int(str(case.settings["axis"])) % len(first) if first else 0
    for other, dims in parts[1:]:
        if len(dims) != len(first):
            return f"{name} has rank {len(first)}, {other} has {len(dims)}"
        for at, (a, b) in enumerate(zip(first, dims, strict=True)):
            if at != axis and isinstance(a, int) and isinstance(b, int) and a != b:
                return f"along axis {at}, {name} has {a} and {other} has {b}"
    return "" if first else f"{name} has no axis"


def _check_slice(case: Case) -> str:
    counts = {name: len(_ints(case, name)) for name in ("starts", "ends", "axes", "steps")}
    if counts["starts"] != counts["ends"]:
        return f"{counts['starts']} starts and {counts['ends']} ends"
    if counts["axes"] not in (0, counts["starts"]) or counts["steps"] not in (0, counts["starts"]):
        return f"{counts['starts']} starts, {counts['axes']} axes and {counts['steps']} steps"
    if counts["starts"] > len(case.dims["x"]):
        return f"{counts['starts']} starts for {len(case.dims['x'])} axes"
    return "steps has a 0" if 0 in _ints(case, "steps") else ""


def _check_pad(case: Case) -> str:
    pads, rank = _ints(case, "pads"), len(case.dims["x"])
    if len(pads) != 2 * rank:
        return f"pads {list(pads)} has {len(pads)} numbers for {rank} axes, expected {2 * rank}"
    for axis, size in enumerate(case.dims["x"]):
        for side in (pads[axis], pads[axis + rank]):
            if case.settings["mode"] == "reflect" and isinstance(size, int) and side >= size:
                return f"{side} elements cannot be reflected along axis {axis} of {size}"
            if case.settings["mode"] != "constant" and side < 0:
                return f"mode {case.settings['mode']} cannot cut, but pads has {side}"
        if isinstance(size, int) and size + min(pads[axis], 0) + min(pads[axis + rank], 0) < 0:
            return f"pads cut more than the {size} elements of axis {axis}"
    return ""


def _check_reshape(case: Case) -> str:
    shape, dims = _ints(case, "shape"), case.dims["x"]
    if min(shape, default=0) < -1 or shape.count(-1) > 1:
        return f"shape {list(shape)} may have one -1, and nothing less"
    if not all(isinstance(dim, int) for dim in dims):
        return ""
    have, want = math.prod(int(str(dim)) for dim in dims), math.prod(d for d in shape if d != -1)
    fits = want and have % want == 0 if -1 in shape else have == want
    return "" if fits else f"{have} elements do not fill shape {list(shape)}"


def _check_expand(case: Case) -> str:
    shape = _ints(case, "shape")
    for have, want in zip(case.dims["x"][::-1], shape[::-1], strict=False):
        if isinstance(have, int) and 1 not in (have, want) and have != want:
            return f"x does not broadcast to shape {list(shape)}"
    return f"shape {list(shape)} has a negative size" if min(shape, default=0) < 0 else ""


def _check_tile(case: Case) -> str:
    repeats, rank = _ints(case, "repeats"), len(case.dims["x"])
    if len(repeats) != rank or min(repeats, default=0) < 0:
        return f"repeats {list(repeats)} must be {rank} numbers of at least 0"
    return ""


def _ints(case: Case, name: str) -> tuple[int, ...]:
    value = case.settings[name]
    return value if isinstance(value, tuple) else ()


def _moves(
    name: str, summary: str, formula: str, attributes: tuple[Attribute, ...], check: object = None
) -> Kernel:
    return Kernel(
        name,
        "movement",
        summary,
        formula,
        _X,
        _RESULT,
        same(ALL),
        attributes,
        check=check,  # type: ignore[arg-type]
    )


_PICKING: Final = (
    Kernel(
        "gather",
        "indexing",
        "Slices of x by their numbers along an axis; negative ones count from the end",
        "result[…, i…, …] = x[…, indices[i…], …]",
        (Operand("x", "s…"), Operand("indices", "i…")),
        _RESULT,
        _INDEXED,
        (Attribute("axis", "int", "the axis that is picked from", 0, axis="one"),),
    ),
    Kernel(
        "embedding",
        "indexing",
        "Rows of a table by their numbers",
        "result[i…, d] = table[ids[i…], d]",
        (Operand("table", "v, d"), Operand("ids", "i…")),
        (Operand("result", "i…, d"),),
        _INDEXED,
    ),
    Kernel(
        "gather_elements",
        "indexing",
        "Single elements along an axis, one for each index",
        "result[i, j] = x[i, indices[i, j]]",
        (Operand("x", "s…"), Operand("indices", "i…")),
        (Operand("result", "i…"),),
        _INDEXED,
        (_AXIS,),
        check=_check_gather_elements,
    ),
    Kernel(
        "top_k",
        "indexing",
        "The k greatest elements along an axis, greatest first, and where they stand",
        "values, indices = the first k of x in order; of equal ones the earlier first",
        _X,
        (Operand("values", "r…"), Operand("indices", "r…")),
        _PICKED,
        (
            Attribute("k", "int", "how many", least=0),
            _AXIS,
            Attribute("largest", "bool", "the greatest; else the least", True),
        ),
        check=_check_top_k,
    ),
    Kernel(
        "sort",
        "indexing",
        "All elements along an axis in order, and where they stood",
        "values, indices = x in order; of equal ones the earlier first",
        _X,
        (Operand("values", "s…"), Operand("indices", "s…")),
        _PICKED,
        (_AXIS, Attribute("descending", "bool", "the greatest first", False)),
        fixed=("*",),
        check=lambda case: "" if case.dims["x"] else "x has no axis",
    ),
)

_MOVING: Final = (
    _moves(
        "transpose",
        "Axes in another order",
        "result axis i = x axis perm[i]",
        (Attribute("perm", "ints", "the order; none given: reversed", (), axis="all"),),
    ),
    Kernel(
        "concat",
        "movement",
        "Tensors one after another along an axis",
        "result = parts0, parts1, …",
        (Operand("parts", "p…", repeated=True),),
        _RESULT,
        same(ALL),
        (Attribute("axis", "int", "the axis that grows", 0, axis="one"),),
        check=_check_concat,
    ),
    _moves(
        "slice",
        "A part of each axis; negative starts and ends count from the end",
        "result = x[starts[0]:ends[0]:steps[0], …]",
        (
            Attribute("starts", "ints", "first elements; not before the first if steps fall"),
            Attribute("ends", "ints", "ends, not included"),
            Attribute("axes", "ints", "axes that are cut; none: the first ones", (), axis="some"),
            Attribute("steps", "ints", "steps; none given: 1", ()),
        ),
        _check_slice,
    ),
    _moves(
        "pad",
        "Elements around a tensor",
        "result = x with pads[axis] before and pads[rank + axis] after",
        (
            Attribute("pads", "ints", "elements before each axis, then after each; negative: cut"),
            Attribute("mode", "choice", "what they are", "constant", _MODES),
            Attribute("value", "float", "the constant", 0.0),
        ),
        _check_pad,
    ),
    _moves(
        "reshape",
        "The same elements in another shape; a size of 0 is 0",
        "result[shape] = x",
        (Attribute("shape", "ints", "the new sizes; one may be -1: what is left"),),
        _check_reshape,
    ),
    _moves(
        "expand",
        "Broadcast to a shape, in both directions",
        "result = x + 0[shape]",
        (Attribute("shape", "ints", "the sizes to broadcast to"),),
        _check_expand,
    ),
    _moves(
        "tile",
        "A tensor repeated along each axis",
        "result[i] = x[i mod size]",
        (Attribute("repeats", "ints", "how often along each axis"),),
        _check_tile,
    ),
)

KERNELS: Final = (*_PICKING, *_MOVING)
