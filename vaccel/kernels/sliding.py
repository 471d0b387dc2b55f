"""Pooling: what a window over an image gives."""

from __future__ import annotations

from typing import Final

from vaccel.kernels.declaration import Attribute, Case, Kernel, Operand
from vaccel.kernels.products import check_window, spread, window
from vaccel.kernels.types import BYTES, FLOATS, same

_X: Final = (Operand("x", "n, c, s…"),)
_RESULT: Final = (Operand("result", "n, c, o…"),)
_KERNEL: Final = Attribute("kernel", "ints", "the window's sides: one, or one an axis")


def _check(case: Case) -> str:
    rank = len(case.dims["x"]) - 2
    if not 1 <= rank <= 3:
        return f"x has {rank} axes beyond n and c, expected 1 to 3"
    sides = spread(case.settings["kernel"], rank, "kernel")
    if isinstance(sides, str):
        return sides
    pads = spread(case.settings["padding"], rank, "padding")
    if not isinstance(pads, str) and any(
        pads[axis] >= side or pads[axis + rank] >= side for axis, side in enumerate(sides)
    ):
        return f"padding {list(pads)} is not less than the window {list(sides)}"
    return check_window(case, "x", sides)


def _check_global(case: Case) -> str:
    rank = len(case.dims["x"]) - 2
    return "" if rank > 0 else "x has no axes beyond n and c"


KERNELS: Final = (
    Kernel(
        "max_pool",
        "pooling",
        "The greatest element of each window; zeros around do not count",
        "result[n, c, p] = maxₜ x[n, c, p·stride + t·dilation - padding]",
        _X,
        _RESULT,
        same((*FLOATS, *BYTES)),
        (_KERNEL, *window(None)),
        check=_check,
    ),
    Kernel(
        "average_pool",
        "pooling",
        "The mean of each window",
        "result[n, c, p] = meanₜ x[n, c, p·stride + t - padding]",
        _X,
        _RESULT,
        same(FLOATS),
        (
            _KERNEL,
            *window(None, dilation=False),
            Attribute("count_padding", "bool", "whether zeros around count", False),
        ),
        check=_check,
    ),
    Kernel(
        "global_max_pool",
        "pooling",
        "The greatest element of each channel",
        "result[n, c, 1…] = maxₚ x[n, c, p]",
        _X,
        _RESULT,
        same(FLOATS),
        check=_check_global,
        empty=(),
    ),
    Kernel(
        "global_average_pool",
        "pooling",
        "The mean of each channel",
        "result[n, c, 1…] = meanₚ x[n, c, p]",
        _X,
        _RESULT,
        same(FLOATS),
        check=_check_global,
        empty=(),
    ),
)
