"""Attention in an arithmetic of the arrays: its two products, and softmax between them.

The products are nodes of the device, which rounds where its arithmetic says; scale, mask and
softmax are the vector core's, in the type of the tensors.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from host_daemon.compiler.kernels.draft import Draft
from vaccel.errors import InvalidArgument

# A causal mask is a constant of the graph: as many scores as a product of 4096 by 4096.
_MASK_ELEMENTS: Final = 1 << 24


def attend(draft: Draft) -> None:
    """Draw it. Raises InvalidArgument where a size is not known."""
    batch, heads, queries, width = _sizes(draft, "q")
    shared, keys, out = _sizes(draft, "k")[1], _sizes(draft, "k")[2], _sizes(draft, "v")[3]
    key, value = "k", "v"
    past = 0
    if "past_key" in draft.ports:
        past = _sizes(draft, "past_key")[2]
        key, value = "present_key", "present_value"
        draft.node("Concat", ["past_key", "k"], [key], axis=2)
        draft.node("Concat", ["past_value", "v"], [value], axis=2)
    group, total = heads // shared, keys + past
    scale = draft.number("scale") or 1 / math.sqrt(width)
    kind = draft.dtype("q").numpy
    factor = draft.constant("factor", np.array(scale, kind))
    draft.node("Mul", ["q", factor], ["scaled"])
    draft.node("Transpose", [key], ["turned"], perm=[0, 1, 3, 2])
    # Heads that share keys and values are rows of one product.
    rows = [batch, shared, group * queries, width]
    draft.node("Reshape", ["scaled", draft.integers("rows", rows)], ["left"])
    draft.node("MatMul", ["left", "turned"], ["sums"])
    draft.state()
    scores = [batch, heads, queries, total]
    draft.node("Reshape", ["sums", draft.integers("scores", scores)], ["raw"])
    draft.node("Softmax", [_masked(draft, "raw", queries, total, past)], ["shares"], axis=-1)
    wide = [batch, shared, group * queries, total]
    draft.node("Reshape", ["shares", draft.integers("wide", wide)], ["weights"])
    draft.node("MatMul", ["weights", value], ["found"])
    draft.state()
    shape = draft.integers("shape", [batch, heads, queries, out])
    draft.node("Reshape", ["found", shape], ["result"])


def _masked(draft: Draft, scores: str, queries: int, total: int, past: int) -> str:
    """Scores with what a query may not see put out of reach."""
    kind = draft.dtype("q").numpy
    mask = "mask" in draft.ports
    boolean = mask and draft.dtype("mask").value == "bool"
    if boolean or draft.integer("causal"):
        never = draft.constant("never", np.array(-np.inf, kind))
    if mask and not boolean:
        draft.node("Add", [scores, "mask"], ["biased"])
        scores = "biased"
    elif mask:
        draft.node("Where", ["mask", scores, never], ["allowed"])
        scores = "allowed"
    if draft.integer("causal"):
        if queries * total > _MASK_ELEMENTS:
            raise InvalidArgument(
                f"kernel {draft.kernel.name}: a causal mask of {queries} by {total} elements",
                hint=f"at most {_MASK_ELEMENTS}, or leave the arithmetic to the tensors' type",
            )
        seen = draft.constant("seen", np.tri(queries, total, past, dtype=bool))
        draft.node("Where", [seen, scores, never], ["earlier"])
        scores = "earlier"
    return scores


def _sizes(draft: Draft, name: str) -> list[int]:
    found = [draft.size(name, axis) for axis in range(4)]
    known = [size for size in found if size is not None]
    if len(known) != len(found):
        raise InvalidArgument(
            f"kernel {draft.kernel.name}: in an arithmetic of its own, sizes must be numbers;"
            f" given {draft.ports[name]}",
            hint="give the sizes, or leave the arithmetic to the tensors' type",
        )
    return known
