"""Convolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from vaccel.kernels import find
from vaccel.ops.calls import Given, Ints, kernel, named, result

if TYPE_CHECKING:
    from vaccel.client import Device
    from vaccel.model import Array


class Convolution(Protocol):
    """A kernel that moves a window over any number of axes."""

    def __call__(
        self,
        device: Device,
        x: Given,
        weight: Given,
        bias: Given | None = None,
        *,
        stride: Ints = 1,
        padding: Ints = 0,
        dilation: Ints = 1,
        group: int = 1,
        arithmetic: str = "",
    ) -> Array:
        """Run it."""


def convolution(name: str, example: str) -> Convolution:
    """The function of a convolution, with an example."""

    def call(
        device: Device,
        x: Given,
        weight: Given,
        bias: Given | None = None,
        *,
        stride: Ints = 1,
        padding: Ints = 0,
        dilation: Ints = 1,
        group: int = 1,
        arithmetic: str = "",
    ) -> Array:
        operands = {"x": x, "weight": weight, "bias": bias}
        window = {"stride": stride, "padding": padding, "dilation": dilation, "group": group}
        return result(device, name, operands, **window, arithmetic=arithmetic)

    return named(call, find(name), example)


conv1d = convolution(
    "conv1d",
    """\
>>> x, weight = np.float32([[[1, 2, 4]]]), np.float32([[[1, 1]]])
>>> print(ops.conv1d(device, x, weight))
[[[3. 6.]]]""",
)
conv2d = convolution(
    "conv2d",
    """\
>>> x, weight = np.int8(np.arange(9)).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2), np.int8)
>>> print(ops.conv2d(device, x, weight, stride=(1, 1), padding=1)[0, 0])
[[ 0  1  3  2]
 [ 3  8 12  7]
 [ 9 20 24 13]
 [ 6 13 15  8]]""",
)
conv3d = convolution(
    "conv3d",
    """\
>>> x, weight = np.ones((1, 1, 2, 2, 2), np.float32), np.ones((1, 1, 2, 2, 2), np.float32)
>>> print(ops.conv3d(device, x, weight).ravel())
[8.]""",
)


@kernel
def depthwise_conv2d(
    device: Device,
    x: Given,
    weight: Given,
    bias: Given | None = None,
    *,
    stride: Ints = 1,
    padding: Ints = 0,
    dilation: Ints = 1,
    arithmetic: str = "",
) -> Array:
    """A convolution of each channel by itself.

    >>> x, weight = np.ones((1, 2, 2, 2), np.float32), np.float32([1, 3]).reshape(2, 1, 1, 1)
    >>> print(ops.depthwise_conv2d(device, x, weight)[0, :, 0])
    [[1. 1.]
     [3. 3.]]
    """
    return result(
        device,
        "depthwise_conv2d",
        {"x": x, "weight": weight, "bias": bias},
        stride=stride,
        padding=padding,
        dilation=dilation,
        arithmetic=arithmetic,
    )


@kernel
def conv_transpose2d(
    device: Device,
    x: Given,
    weight: Given,
    bias: Given | None = None,
    *,
    stride: Ints = 1,
    padding: Ints = 0,
    dilation: Ints = 1,
    group: int = 1,
) -> Array:
    """A convolution backwards: an image grows.

    >>> x, weight = np.float32([[1, 2]]).reshape(1, 1, 1, 2), np.ones((1, 1, 1, 2), np.float32)
    >>> print(ops.conv_transpose2d(device, x, weight, stride=2).ravel())
    [1. 1. 2. 2.]
    """
    return result(
        device,
        "conv_transpose2d",
        {"x": x, "weight": weight, "bias": bias},
        stride=stride,
        padding=padding,
        dilation=dilation,
        group=group,
    )
