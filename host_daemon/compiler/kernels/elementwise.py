"""Kernels of single elements: the ONNX operator of each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from host_daemon.compiler.kernels.draft import Draft
from host_daemon.compiler.signature import TO_ONNX
from vaccel.errors import InvalidArgument
from vaccel.model import Array, DType

_UNARY: Final = {
    "abs": "Abs",
    "negative": "Neg",
    "sign": "Sign",
    "reciprocal": "Reciprocal",
    "sqrt": "Sqrt",
    "exp": "Exp",
    "log": "Log",
    "sin": "Sin",
    "cos": "Cos",
    "tanh": "Tanh",
    "erf": "Erf",
    "floor": "Floor",
    "ceil": "Ceil",
    "round": "Round",
    "is_nan": "IsNaN",
    "logical_not": "Not",
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "mish": "Mish",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "hard_swish": "HardSwish",
}
_BINARY: Final = {
    "add": "Add",
    "subtract": "Sub",
    "multiply": "Mul",
    "divide": "Div",
    "power": "Pow",
    "minimum": "Min",
    "maximum": "Max",
    "equal": "Equal",
    "less": "Less",
    "less_equal": "LessOrEqual",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
    "logical_and": "And",
    "logical_or": "Or",
    "logical_xor": "Xor",
}


def _one(op: str) -> Callable[[Draft], None]:
    return lambda draft: draft.node(op, ["x"])


def _two(op: str) -> Callable[[Draft], None]:
    return lambda draft: draft.node(op, ["a", "b"])


def _alpha(op: str) -> Callable[[Draft], None]:
    return lambda draft: draft.node(op, ["x"], alpha=draft.number("alpha"))


def _gelu(draft: Draft) -> None:
    draft.node("Gelu", ["x"], approximate="tanh" if draft.integer("approximate") else "none")


def _silu(draft: Draft) -> None:
    draft.opset = 24
    draft.node("Swish", ["x"])


def _cast(draft: Draft) -> None:
    draft.node("Cast", ["x"], to=TO_ONNX[DType(str(draft.settings["to"]))])


def _clip(draft: Draft) -> None:
    low, high = draft.number("low"), draft.number("high")
    if low > high:
        raise InvalidArgument(f"kernel clip: low {low} is more than high {high}")
    bounds = [("low", low), ("high", high)]
    inputs = [
        draft.constant(name, scalar(draft, name, value)) if math.isfinite(value) else ""
        for name, value in bounds
    ]
    if math.inf in (low, -high):
        raise InvalidArgument(f"kernel clip: nothing is between {low} and {high}")
    while inputs and not inputs[-1]:
        inputs.pop()
    draft.node("Clip", ["x", *inputs])


def scalar(draft: Draft, name: str, value: float) -> Array:
    """A setting in the type of x. Raises InvalidArgument where that has no such value."""
    dtype: np.dtype[Any] = draft.dtype("x").numpy
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype.kind in "iub":
            limits = np.iinfo(dtype) if dtype.kind in "iu" else None
            least, most = (limits.min, limits.max) if limits else (0, 1)
            if value != round(value) or not least <= value <= most:
                raise InvalidArgument(
                    f"kernel {draft.kernel.name}: attribute {name} {value} is no {dtype.name}",
                    hint=f"an integer from {least} to {most}",
                )
        found = np.asarray(value).astype(dtype)
    if not np.isfinite(found).all():
        raise InvalidArgument(
            f"kernel {draft.kernel.name}: attribute {name} {value} is beyond {dtype.name}"
        )
    return np.asarray(found)


ELEMENTWISE: Final[dict[str, Callable[[Draft], None]]] = {
    **{name: _one(op) for name, op in _UNARY.items()},
    **{name: _two(op) for name, op in _BINARY.items()},
    "fmod": lambda draft: draft.node("Mod", ["a", "b"], fmod=1),
    "where": lambda draft: draft.node("Where", ["condition", "a", "b"]),
    "gelu": _gelu,
    "silu": _silu,
    "elu": _alpha("Elu"),
    "leaky_relu": _alpha("LeakyRelu"),
    "clip": _clip,
    "cast": _cast,
}
