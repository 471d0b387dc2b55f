"""Attention and recurrent cells."""

from __future__ import annotations

from typing import Final

from vaccel.kernels.declaration import Attribute, Case, Kernel, Operand, Types
from vaccel.kernels.types import FLOATS, same

_DIRECTIONS: Final = ("forward", "reverse", "bidirectional")
_DIRECTION: Final = Attribute("direction", "choice", "of time", "forward", _DIRECTIONS)


def _check_direction(case: Case) -> str:
    wanted = 2 if case.settings["direction"] == "bidirectional" else 1
    given = case.sizes.get("d", wanted)
    return "" if given == wanted else f"direction {case.settings['direction']} takes d = {wanted}"


def _check_heads(case: Case) -> str:
    heads, shared = case.sizes.get("h"), case.sizes.get("g")
    if heads is not None and shared and heads % shared:
        return f"{heads} heads of q are no multiple of {shared} of k and v"
    return ""


def _recurrent(name: str, gates: int, summary: str, formula: str) -> Kernel:
    many = f"{gates}*h" if gates > 1 else "h"
    cells = ("h", "c") if name == "lstm" else ("h",)
    state = [Operand(f"initial_{cell}", "d, b, h", optional=True) for cell in cells]
    final = [Operand("y", "t, d, b, h"), *(Operand(f"y_{cell}", "d, b, h") for cell in cells)]
    extra = (
        (Attribute("linear_before_reset", "bool", "reset after the product, as torch does", False),)
        if name == "gru"
        else ()
    )
    return Kernel(
        name,
        "recurrent",
        summary,
        formula,
        (
            Operand("x", "t, b, i"),
            Operand("w", f"d, {many}, i"),
            Operand("r", f"d, {many}, h"),
            Operand("bias", f"d, {2 * gates}*h", optional=True),
            *state,
        ),
        tuple(final),
        same(FLOATS, 4 + len(state), len(final)),
        (_DIRECTION, *extra),
        fixed=("h",),
        check=_check_direction,
        empty=(),
    )


_CELLS: Final = (
    _recurrent("rnn", 1, "A plain recurrent layer", "h' = tanh(x·wᵀ + h·rᵀ + biases)"),
    _recurrent(
        "gru",
        3,
        "A gated recurrent layer; gates in the order update z, reset r, hidden n",
        "h' = (1-z)·n + z·h;  z, r = σ(x·wᵀ + h·rᵀ + biases),  n = tanh(x·wᵀ + (r·h)·rᵀ + biases)",
    ),
    _recurrent(
        "lstm",
        4,
        "A long short-term memory layer; gates in the order input i, output o, forget f, cell g",
        "c' = f·c + i·g,  h' = o·tanh c';  i, o, f = σ(x·wᵀ + h·rᵀ + biases),  g = tanh(…)",
    ),
)

_SCALE: Final = Attribute("scale", "float", "of the scores; 0: 1/√d", 0.0)
_CAUSAL: Final = Attribute("causal", "bool", "whether a query sees no later key", False)
_MASKED: Final = tuple(
    Types(("T", "T", "T", mask, "T", "T"), ("T", "T", "T"), {"T": FLOATS}) for mask in ("T", "bool")
)

_ATTENTION: Final = (
    Kernel(
        "attention",
        "attention",
        "Scaled dot-product attention; heads of k and v may be shared (h a multiple of g)",
        "softmax(q·kᵀ·scale + mask) · v",
        (
            Operand("q", "b, h, l, d"),
            Operand("k", "b, g, s, d"),
            Operand("v", "b, g, s, e"),
            Operand("mask", "…, l, s", optional=True),
        ),
        (Operand("result", "b, h, l, e"),),
        tuple(Types(each.operands[:4], ("T",), each.variables) for each in _MASKED),
        (_SCALE, _CAUSAL),
        products=True,
        check=_check_heads,
        empty=(),
    ),
    Kernel(
        "cached_attention",
        "attention",
        "Attention over keys and values of before and new ones, and all of them for the next step",
        "present = past, new;  softmax(q·present_kᵀ·scale + mask) · present_v",
        (
            Operand("q", "b, h, l, d"),
            Operand("k", "b, g, s, d"),
            Operand("v", "b, g, s, e"),
            Operand("past_key", "b, g, p, d"),
            Operand("past_value", "b, g, p, e"),
            Operand("mask", "…, l, a", optional=True),
        ),
        (
            Operand("result", "b, h, l, e"),
            Operand("present_key", "b, g, a, d"),
            Operand("present_value", "b, g, a, e"),
        ),
        tuple(
            Types(("T", "T", "T", "T", "T", each.operands[3]), each.results, each.variables)
            for each in _MASKED
        ),
        (_SCALE, _CAUSAL),
        products=True,
        check=lambda case: _check_heads(case) or _check_cache(case),
        empty=("p",),
    ),
)


def _check_positions(case: Case) -> str:
    """Each token has a position of its own, as ONNX Runtime insists."""
    tokens, rows = case.sizes.get("l"), case.sizes.get("p")
    if tokens is not None and rows is not None and tokens > rows:
        return f"{tokens} positions a sequence, but cos and sin have {rows} rows"
    return ""


_ROTARY: Final = Kernel(
    "rotary_embedding",
    "attention",
    "Pairs of elements turned by the angle of their position; interleaved: neighbours are a pair",
    "first·cos - second·sin, first·sin + second·cos, at positions[b, l]",
    (
        Operand("x", "b, h, l, 2*r"),
        Operand("cos", "p, r"),
        Operand("sin", "p, r"),
        Operand("positions", "b, l"),
    ),
    (Operand("result", "b, h, l, 2*r"),),
    (Types(("T", "T", "T", "int64"), ("T",), {"T": FLOATS}),),
    (Attribute("interleaved", "bool", "pairs of neighbours; else of halves", False),),
    check=_check_positions,
    empty=(),
)


def _check_cache(case: Case) -> str:
    new, past, every = (case.sizes.get(name) for name in "spa")
    if new is not None and past is not None and every is not None and every != new + past:
        return f"mask is for {every} keys, but there are {past} of before and {new} new ones"
    return ""


KERNELS: Final = (*_CELLS, *_ATTENTION, _ROTARY)
