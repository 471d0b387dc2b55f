"""Kernels that take each element by itself. Formulas: the operators of ONNX of the same name."""

from __future__ import annotations

from typing import Final

from vaccel.kernels.declaration import Attribute, Kernel, Operand, Types
from vaccel.kernels.types import ALL, FLOATS, NUMBERS, SIGNED, same
from vaccel.model import DType

_X: Final = (Operand("x", "s…"),)
_RESULT: Final = (Operand("result", "s…"),)
_PAIR: Final = (Operand("a", "…"), Operand("b", "…"))
_BROADCAST: Final = (Operand("result", "…"),)
_BOOL: Final = (DType.BOOL,)


def _unary(
    name: str,
    summary: str,
    formula: str,
    types: tuple[DType, ...] = FLOATS,
    attributes: tuple[Attribute, ...] = (),
    result: str = "T",
) -> Kernel:
    return Kernel(
        name,
        "elementwise",
        summary,
        formula,
        _X,
        _RESULT,
        same(types, result=result),
        attributes,
    )


def _binary(
    name: str,
    summary: str,
    formula: str,
    types: tuple[DType, ...] = NUMBERS,
    result: str = "T",
) -> Kernel:
    return Kernel(
        name,
        "elementwise",
        summary,
        formula,
        _PAIR,
        _BROADCAST,
        same(types, 2, result=result),
    )


def _float(name: str, default: float, summary: str) -> Attribute:
    return Attribute(name, "float", summary, default)


_UNARY: Final = (
    _unary("abs", "The absolute value", "|x|", NUMBERS),
    _unary("negative", "The negated value", "-x", (*FLOATS, *SIGNED)),
    _unary("sign", "-1, 0 or 1 by the sign", "sgn(x)", NUMBERS),
    _unary("reciprocal", "One divided by each element", "1 / x"),
    _unary("sqrt", "The square root", "√x"),
    _unary("exp", "The exponential", "eˣ"),
    _unary("log", "The natural logarithm", "ln x"),
    _unary("sin", "The sine of radians", "sin x"),
    _unary("cos", "The cosine of radians", "cos x"),
    _unary("tanh", "The hyperbolic tangent", "tanh x"),
    _unary("erf", "The error function", "erf x"),
    _unary("floor", "The next integer below", "⌊x⌋"),
    _unary("ceil", "The next integer above", "⌈x⌉"),
    _unary("round", "The nearest integer, ties to even", "round(x)"),
    _unary("is_nan", "Whether an element is not a number", "x ≠ x", result="bool"),
    _unary("logical_not", "Not", "¬x", _BOOL),
    _unary("relu", "What is positive, else zero", "max(x, 0)", (*FLOATS, DType.INT8, DType.INT32)),
    _unary("sigmoid", "The logistic function", "1 / (1 + e⁻ˣ)"),
    _unary(
        "gelu",
        "The Gaussian error linear unit; approximate: by tanh",
        "x/2 · (1 + erf(x/√2))",
        attributes=(Attribute("approximate", "bool", "by tanh", False),),
    ),
    _unary("silu", "x weighed by its own logistic, also called swish", "x / (1 + e⁻ˣ)"),
    _unary("mish", "x weighed by the tanh of its softplus", "x · tanh(ln(1 + eˣ))"),
    _unary("softplus", "A smooth relu", "ln(1 + eˣ)"),
    _unary("softsign", "x by one more than its size", "x / (1 + |x|)"),
    _unary("hard_swish", "x by a clipped line", "x · min(max(x/6 + 1/2, 0), 1)"),
    _unary(
        "elu",
        "What is positive, else an exponential that ends at -alpha",
        "x > 0: x, else alpha · (eˣ - 1)",
        attributes=(_float("alpha", 1.0, "where the negative side ends"),),
    ),
    _unary(
        "leaky_relu",
        "What is positive, else a share of it",
        "x > 0: x, else alpha · x",
        attributes=(_float("alpha", 0.01, "slope of the negative side"),),
    ),
    _unary(
        "clip",
        "Each element held between two bounds",
        "min(max(x, low), high)",
        NUMBERS,
        (
            _float("low", float("-inf"), "the least"),
            _float("high", float("inf"), "the most"),
        ),
    ),
    Kernel(
        "cast",
        "elementwise",
        "Each element in another type; floats are cut to integers, and rounded to floats",
        "to(x)",
        _X,
        _RESULT,
        (Types(("T",), ("=to",), {"T": ALL}),),
        (Attribute("to", "dtype", "the type", None, tuple(t.value for t in ALL)),),
    ),
)

_BINARY: Final = (
    _binary("add", "The sum; integers wrap around", "a + b"),
    _binary("subtract", "The difference; integers wrap around", "a - b"),
    _binary("multiply", "The product of elements; integers wrap around", "a · b"),
    _binary("divide", "The quotient", "a / b", FLOATS),
    _binary("power", "A power", "aᵇ", FLOATS),
    _binary("fmod", "The rest of a division, with the dividend's sign", "a - b·trunc(a/b)", FLOATS),
    _binary("minimum", "The lesser of two", "min(a, b)"),
    _binary("maximum", "The greater of two", "max(a, b)"),
    _binary("equal", "Whether elements are equal", "a = b", ALL, "bool"),
    _binary("less", "Whether a is less", "a < b", result="bool"),
    _binary("less_equal", "Whether a is less or equal", "a ≤ b", result="bool"),
    _binary("greater", "Whether a is greater", "a > b", result="bool"),
    _binary("greater_equal", "Whether a is greater or equal", "a ≥ b", result="bool"),
    _binary("logical_and", "And", "a ∧ b", _BOOL),
    _binary("logical_or", "Or", "a ∨ b", _BOOL),
    _binary("logical_xor", "One of two and not both", "a ⊻ b", _BOOL),
)

_WHERE: Final = Kernel(
    "where",
    "elementwise",
    "Elements of a where the condition holds, of b elsewhere",
    "condition: a, else b",
    (Operand("condition", "…"), *_PAIR),
    _BROADCAST,
    (Types(("bool", "T", "T"), ("T",), {"T": NUMBERS}),),
)

KERNELS: Final = (*_UNARY, *_BINARY, _WHERE)
