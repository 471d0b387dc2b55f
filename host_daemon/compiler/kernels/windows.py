"""Convolutions and pooling: windows over the last axes of an image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from host_daemon.compiler.kernels.draft import Draft
from vaccel.errors import InvalidArgument
from vaccel.kernels.products import spread
from vaccel.model import DType

_BYTES: Final = (DType.INT8, DType.UINT8)


def _rank(draft: Draft) -> int:
    rank = draft.rank("x")
    if rank is None:
        raise InvalidArgument(
            f"kernel {draft.kernel.name}: the rank of x is not known",
            hint="give x with a shape; its dimensions may be symbols",
        )
    return rank - 2


def _setting(draft: Draft, name: str, rank: int) -> list[int]:
    values = spread(draft.settings[name], rank, name)
    if isinstance(values, str):
        raise InvalidArgument(f"kernel {draft.kernel.name}: {values}")
    return list(values)


def _window(draft: Draft, rank: int, *, dilation: bool = True) -> dict[str, Any]:
    found = {
        "strides": _setting(draft, "stride", rank),
        "pads": _setting(draft, "padding", rank),
    }
    if dilation:
        found["dilations"] = _setting(draft, "dilation", rank)
    return found


def _convolution(draft: Draft, group: int) -> None:
    settings = _window(draft, _rank(draft)) | {"group": group}
    sides = (draft.ports["weight"].shape or ())[2:]
    if sides and all(isinstance(side, int) for side in sides):
        settings["kernel_shape"] = list(sides)
    if draft.dtype("x") in _BYTES:
        draft.node("ConvInteger", ["x", "weight"], **settings)
    else:
        draft.node("Conv", draft.given("x", "weight", "bias"), **settings)
    draft.state()


def _conv(draft: Draft) -> None:
    _convolution(draft, draft.integer("group"))


def _depthwise(draft: Draft) -> None:
    channels = draft.size("x", 1)
    if channels is None:
        raise InvalidArgument(
            "kernel depthwise_conv2d: the channels of x are not known",
            hint="give x[n, c, h, w] with c as a number; the others may be symbols",
        )
    _convolution(draft, channels)


def _transposed(draft: Draft) -> None:
    settings = _window(draft, 2) | {"group": draft.integer("group")}
    draft.node("ConvTranspose", draft.given("x", "weight", "bias"), **settings)


def _max_pool(draft: Draft) -> None:
    rank = _rank(draft)
    sides = _setting(draft, "kernel", rank)
    draft.node("MaxPool", ["x"], kernel_shape=sides, **_window(draft, rank))


def _average_pool(draft: Draft) -> None:
    rank = _rank(draft)
    draft.node(
        "AveragePool",
        ["x"],
        kernel_shape=_setting(draft, "kernel", rank),
        count_include_pad=draft.integer("count_padding"),
        **_window(draft, rank, dilation=False),
    )


WINDOWS: Final[dict[str, Callable[[Draft], None]]] = {
    "conv1d": _conv,
    "conv2d": _conv,
    "conv3d": _conv,
    "depthwise_conv2d": _depthwise,
    "conv_transpose2d": _transposed,
    "max_pool": _max_pool,
    "average_pool": _average_pool,
    "global_max_pool": lambda draft: draft.node("GlobalMaxPool", ["x"]),
    "global_average_pool": lambda draft: draft.node("GlobalAveragePool", ["x"]),
}
