"""Reductions, softmax and normalisations."""

from __future__ import annotations

from typing import Final

from vaccel.kernels.declaration import Attribute, Case, Kernel, Operand, Types
from vaccel.kernels.types import FLOATS, NUMBERS, WIDE, same
from vaccel.model import DType

_X: Final = (Operand("x", "s…"),)
_SAME: Final = (Operand("result", "s…"),)
_REDUCED: Final = (Operand("result", "r…"),)
_AXES: Final = Attribute("axes", "ints", "axes to reduce; none given: all", (), axis="some")
_KEEP: Final = Attribute("keepdims", "bool", "whether reduced axes stay, of size 1", False)
_AXIS: Final = Attribute("axis", "int", "the axis that it is taken along", -1, axis="one")
_EPSILON: Final = Attribute("epsilon", "float", "added to the variance", 1e-5)
_GROUPS: Final = Attribute("groups", "int", "how many groups the channels are in", least=1)


def _reduction(
    name: str, summary: str, formula: str, types: tuple[DType, ...] = FLOATS
) -> Kernel:
    return Kernel(
        f"reduce_{name}",
        "reduction",
        f"{summary} over axes",
        formula,
        _X,
        _REDUCED,
        same(types),
        (_AXES, _KEEP),
    )


def _position(name: str, summary: str) -> Kernel:
    return Kernel(
        name,
        "reduction",
        f"Where the {summary} element stands along an axis, the first of equal ones",
        f"result = {name} x",
        _X,
        _REDUCED,
        (Types(("T",), ("int64",), {"T": NUMBERS}),),
        (_AXIS, _KEEP),
        empty=(),
    )


def _along(name: str, summary: str, formula: str, types: tuple[DType, ...]) -> Kernel:
    return Kernel(name, "reduction", summary, formula, _X, _SAME, same(types), (_AXIS,))


_REDUCTIONS: Final = (
    _reduction("sum", "The sum; integers wrap around", "Σ x", (*FLOATS, *WIDE)),
    _reduction("mean", "The mean", "Σ x / n"),
    _reduction("max", "The greatest element", "max x", NUMBERS),
    _reduction("min", "The least element", "min x", NUMBERS),
    _reduction("prod", "The product of elements", "Π x"),
    _reduction("l2", "The Euclidean norm", "√Σ x²"),
    _reduction("log_sum_exp", "The logarithm of a sum of exponentials", "ln Σ eˣ"),
    _position("argmax", "greatest"),
    _position("argmin", "least"),
    _along("cumsum", "Running sums along an axis", "resultᵢ = Σⱼ≤ᵢ xⱼ", (*FLOATS, *WIDE)),
    _along("softmax", "Exponentials by their sum along an axis", "eˣ / Σ eˣ", FLOATS),
    _along("log_softmax", "The logarithm of softmax", "x - ln Σ eˣ", FLOATS),
)


def _check_groups(case: Case) -> str:
    groups, channels = case.settings["groups"], case.sizes.get("c")
    if channels and isinstance(groups, int) and channels % groups:
        return f"{channels} channels are no multiple of {groups} groups"
    return ""


_NORMALISATIONS: Final = (
    Kernel(
        "layer_norm",
        "normalisation",
        "Each last axis to mean 0 and variance 1, then scaled and moved",
        "(x - mean) / √(variance + epsilon) · scale + bias",
        (Operand("x", "s…, c"), Operand("scale", "c"), Operand("bias", "c", optional=True)),
        (Operand("result", "s…, c"),),
        same(FLOATS, 3),
        (_EPSILON,),
        empty=(),
    ),
    Kernel(
        "rms_norm",
        "normalisation",
        "Each last axis by its root mean square, then scaled",
        "x / √(mean x² + epsilon) · scale",
        (Operand("x", "s…, c"), Operand("scale", "c")),
        (Operand("result", "s…, c"),),
        same(FLOATS, 2),
        (_EPSILON,),
        empty=(),
    ),
    Kernel(
        "batch_norm",
        "normalisation",
        "Each channel by given statistics, as at inference",
        "(x - mean) / √(variance + epsilon) · scale + bias",
        (
            Operand("x", "n, c, s…"),
            Operand("scale", "c"),
            Operand("bias", "c"),
            Operand("mean", "c"),
            Operand("variance", "c"),
        ),
        (Operand("result", "n, c, s…"),),
        same(FLOATS, 5),
        (_EPSILON,),
    ),
    Kernel(
        "group_norm",
        "normalisation",
        "Each group of channels to mean 0 and variance 1, then scaled and moved by channel",
        "(x - mean) / √(variance + epsilon) · scale + bias",
        (Operand("x", "n, c, s…"), Operand("scale", "c"), Operand("bias", "c")),
        (Operand("result", "n, c, s…"),),
        same(FLOATS, 3),
        (_GROUPS, _EPSILON),
        check=_check_groups,
        empty=(),
    ),
)

KERNELS: Final = (*_REDUCTIONS, *_NORMALISATIONS)
